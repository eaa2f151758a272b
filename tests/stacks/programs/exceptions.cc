/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * exceptions SECONDS: std::thread workers that throw through frames with
 * destructors (which allocate as well), catch, rethrow, and use the library's
 * containers, streams, std::function and std::async.
 */
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> is_over;

struct Random {
	std::minstd_rand engine;

	unsigned below(unsigned n)
	{
		return engine() % n;
	}
};

struct Shape {
	virtual ~Shape() = default;
	virtual std::string name(Random &random, int depth) const = 0;
};

/* Allocates while the stack is unwound. */
struct Guard {
	std::vector<int> &log;

	~Guard()
	{
		std::vector<int> copy(log);

		copy.push_back(1);
		log.swap(copy);
		if (log.size() > 20)
			log.clear();
	}
};

std::string descend(Random &random, int depth);

struct Square : Shape {
	std::string name(Random &random, int depth) const override
	{
		return "square " + descend(random, depth);
	}
};

struct Throwing : Shape {
	std::string name(Random &random, int depth) const override
	{
		std::vector<int> log;
		Guard guard{log};

		if (depth < 3)
			throw std::runtime_error("as deep as it gets: " + std::to_string(depth));
		return descend(random, depth);
	}
};

__attribute__((noinline)) std::string catching(Random &random, int depth)
{
	std::vector<int> log(3);

	try {
		Guard guard{log};

		return Throwing().name(random, depth);
	} catch (const std::runtime_error &error) {
		if (random.below(3) == 0)
			throw std::logic_error(std::string("again: ") + error.what());
		return error.what();
	}
}

__attribute__((noinline)) std::string sorted(Random &random, int depth)
{
	std::vector<std::string> words;

	for (int i = 0; i < 8; i++)
		words.push_back("a rather long word that is not kept in place " +
				std::to_string(random.below(100)));
	std::sort(words.begin(), words.end(), [&](std::string a, std::string b) {
		if (random.below(20) == 0 && depth > 1)
			a += descend(random, depth - 2);
		return a < b;
	});
	return words[0];
}

__attribute__((noinline)) std::string mapped(Random &random, int depth)
{
	std::map<std::string, std::function<std::string()>> table;
	std::ostringstream out;

	table["shape"] = [&random, depth] { return Square().name(random, depth); };
	table["count"] = [&random, depth] { return std::to_string(random.below(depth + 1)); };
	for (auto &row : table)
		out << row.first << '=' << row.second() << ' ' << 1.5 * depth;
	return out.str().substr(0, 100);
}

std::string descend(Random &random, int depth)
{
	if (depth <= 0)
		return std::string(40, 'x');
	switch (random.below(6)) {
	case 0:
		return std::make_shared<Square>()->name(random, depth - 1);
	case 1:
		return catching(random, depth - 1);
	case 2:
		return sorted(random, depth - 1);
	case 3:
		return mapped(random, depth - 1);
	case 4:
		return std::regex_replace(std::string("some words here"), std::regex("[aeiou]+"),
					  "-");
	default:
		return descend(random, depth - 1) + "y";
	}
}

void work(unsigned seed)
{
	Random random{std::minstd_rand(seed)};

	while (!is_over) {
		for (int i = 0; i < 30; i++) {
			try {
				descend(random, 4 + random.below(6));
				if (random.below(100) == 0)
					std::async(std::launch::async, [&] {
						return sorted(random, 3);
					}).get();
			} catch (const std::logic_error &) {
			} catch (...) {
			}
		}
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
}

} // namespace

int main(int argc, char **argv)
{
	std::vector<std::thread> threads;

	for (unsigned i = 1; i <= 3; i++)
		threads.emplace_back(work, i);
	std::this_thread::sleep_for(std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10));
	is_over = true;
	for (auto &thread : threads)
		thread.join();
	return 0;
}
