/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/* Much work for a compiler: what it compiles to does not matter. */
#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Fibonacci {
	static constexpr long value = Fibonacci<N - 1>::value + Fibonacci<N - 2>::value;
};
template <> struct Fibonacci<0> {
	static constexpr long value = 0;
};
template <> struct Fibonacci<1> {
	static constexpr long value = 1;
};

template <typename... T> struct Visitor : T... {
	using T::operator()...;
};
template <typename... T> Visitor(T...) -> Visitor<T...>;

template <std::size_t... I> auto make_tuple_of(std::index_sequence<I...>)
{
	return std::make_tuple(std::array<int, I + 1>{}...);
}

template <int N> std::map<std::string, std::vector<std::array<int, N>>> table()
{
	std::map<std::string, std::vector<std::array<int, N>>> result;

	result[std::to_string(N)].emplace_back();
	return result;
}

template <int N> long tables()
{
	std::variant<int, std::string, std::array<double, N + 1>> value = N;
	long sum = std::visit(Visitor{[](int i) { return (long)i; },
				      [](const std::string &text) { return (long)text.size(); },
				      [](const auto &array) { return (long)array.size(); }},
			      value);

	sum += table<N + 1>().size();
	if constexpr (N > 0)
		sum += tables<N - 1>();
	return sum;
}

long run(const std::string &text)
{
	std::unordered_map<std::string, std::function<long(const std::string &)>> functions;
	std::regex pattern("([a-z]+)=([0-9]+)(;|$)");
	std::mt19937_64 random(Fibonacci<60>::value);
	std::set<std::pair<long, std::string>> seen;

	functions["sum"] = [&](const std::string &word) {
		return std::accumulate(word.begin(), word.end(), 0L);
	};
	for (std::sregex_iterator i(text.begin(), text.end(), pattern), end; i != end; ++i)
		seen.emplace(functions["sum"]((*i)[1]) + random(), (*i)[2]);
	return seen.size() + tables<40>() +
	       std::tuple_size_v<decltype(make_tuple_of(std::make_index_sequence<30>()))>;
}
