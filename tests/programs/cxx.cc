/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * C++ containers that a program keeps to its end and never destroys: what
 * valgrind calls "in use at exit". Deterministic: no addresses, no time, no
 * randomness in what is allocated.
 */
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

struct state {
	std::vector<std::string> names;
	std::map<int, std::string> by_number;
	std::unordered_map<std::string, int> numbers;
	std::list<std::vector<char>> buffers;
	std::deque<int> queue;
	std::set<std::string> words;
	std::shared_ptr<std::string> shared;
};

static std::string name(int i)
{
	return "a name that is too long for the small string buffer, number " + std::to_string(i);
}

static void fill(state &state)
{
	for (int i = 0; i < 1009; i++) {
		state.names.push_back(name(i));
		state.by_number[i * 7919 % 1009] = name(i);
		state.numbers[name(i)] = i;
		state.buffers.emplace_back(static_cast<size_t>(i));
		state.queue.push_back(i);
		state.words.insert(std::to_string(i));
	}
	state.shared = std::make_shared<std::string>(name(0));
}

static void drop_some(state &state)
{
	for (int i = 0; i < 1009; i += 3) {
		state.by_number.erase(i);
		state.numbers.erase(name(i));
	}
	state.names.resize(601);
	state.names.shrink_to_fit();
	state.buffers.pop_front();
}

int main()
{
	state *kept = new state;

	fill(*kept);
	drop_some(*kept);
	try {
		throw std::string("exceptions allocate too");
	} catch (const std::string &) {
	}
	return kept->names.size() == 601 ? 0 : 1;
}
