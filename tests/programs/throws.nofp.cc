/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Allocations while C++ unwinds: in destructors that an exception runs, in
 * handlers, of exceptions themselves, and after them. One block of 1,000 bytes
 * is left at each; test_stacks.py has the stacks.
 */
#include <exception>
#include "gate.h"

#define NOIPA	__attribute__((noipa))
#define KEEP(x) __asm__ volatile("" ::"r"(x) : "memory")

struct failure {
	char text[5000];
};

static std::exception_ptr kept;

static NOIPA void leak()
{
	sink = malloc(1000);
}

struct guard {
	NOIPA ~guard()
	{
		leak();
		KEEP(this);
	}
};

static NOIPA void throws(int depth)
{
	char room[100];

	KEEP(room);
	if (!depth)
		throw failure();
	throws(depth - 1);
	KEEP(room);
}

/* The destructor runs on the way of the exception through here. */
static NOIPA void passes_through()
{
	guard on_the_way;

	throws(3);
	KEEP(&on_the_way);
}

static NOIPA void destroys()
{
	try {
		passes_through();
	} catch (const failure &) {
	}
	KEEP(0);
}

static NOIPA void handles()
{
	try {
		throws(5);
	} catch (const failure &) {
		leak();
		KEEP(0);
	}
	KEEP(0);
}

static NOIPA void rethrows()
{
	try {
		throws(1);
	} catch (const failure &) {
		leak();
		throw;
	}
}

static NOIPA void handles_again()
{
	try {
		rethrows();
	} catch (...) {
		leak();
		KEEP(0);
	}
	KEEP(0);
}

static NOIPA void continues()
{
	try {
		throws(2);
	} catch (const failure &) {
		KEEP(0);
	}
	leak();
	KEEP(0);
}

/* The exception itself stays: about 5,000 bytes. */
static NOIPA void keeps()
{
	try {
		throws(0);
	} catch (...) {
		kept = std::current_exception();
	}
	KEEP(0);
}

int main()
{
	gate("READY");
	destroys();
	handles();
	handles_again();
	continues();
	keeps();
	gate("DONE throws");
	return 0;
}
