/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

#include "unwind/unwind_table.h"

/*
 * Goal of this test: a walk over our own stack, with the tables of the files that
 * are really mapped here, is the one that libgcc's unwinder makes: through libc,
 * realigned frames and a signal trampoline, to the outermost frame.
 */

#define FRAMES_MAX 512
#define MODULES_MAX 64

/* A mapping and the tables of its file. */
struct module {
	uint64_t start, end, offset;
	struct unwind_table all, calls;
};

struct stack {
	uint64_t pcs[FRAMES_MAX];
	size_t cnt;
};

static struct module modules[MODULES_MAX];
static size_t module_cnt;
static struct stack ours, theirs;

static void add_module(const char *line)
{
	struct module m = { 0 };
	char perms[8] = "", path[4096] = "";
	int fd, err;

	if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %4095s", &m.start, &m.end, perms, &m.offset,
		   path) < 5 || perms[2] != 'x' || module_cnt == MODULES_MAX)
		return;
	if (!strcmp(path, "[vdso]")) {
		err = unwind_table__build_memory((void *)m.start, m.end - m.start, true, &m.all);
		err |= unwind_table__build_memory((void *)m.start, m.end - m.start, false,
						  &m.calls);
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		err = unwind_table__build_fd(fd, true, &m.all);
		err |= unwind_table__build_fd(fd, false, &m.calls);
		close(fd);
	}
	ck_assert_int_eq(err, 0);
	modules[module_cnt++] = m;
}

static void load_modules(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4300];

	while (fgets(line, sizeof(line), maps))
		add_module(line);
	fclose(maps);
	ck_assert_uint_ge(module_cnt, 3);
}

static void free_modules(void)
{
	while (module_cnt) {
		unwind_table__release(&modules[--module_cnt].all);
		unwind_table__release(&modules[module_cnt].calls);
	}
}

static uint32_t rule_at(uint64_t pc, bool all_rows)
{
	for (size_t i = 0; i < module_cnt; i++) {
		const struct module *m = &modules[i];

		if (pc >= m->start && pc < m->end)
			return unwind_table__find(all_rows ? &m->all : &m->calls,
						  pc - m->start + m->offset);
	}
	return UF_CFA_NONE;
}

static uint64_t load_word(uint64_t address)
{
	uint64_t value;

	memcpy(&value, (void *)address, sizeof(value));
	return value;
}

static uint64_t cfa_of(uint32_t rule, uint64_t pc, uint64_t sp, uint64_t bp)
{
	switch (UF_RULE_CFA(rule)) {
	case UF_CFA_RSP:
		return sp + UF_RULE_CFA_N(rule);
	case UF_CFA_RBP:
		return bp + UF_RULE_CFA_N(rule);
	case UF_CFA_PLT:
		return sp + 8 + ((pc & 15) >= UF_RULE_CFA_N(rule) / 8 ? 8 : 0);
	case UF_CFA_DEREF_RSP:
		return load_word(sp + (uint64_t)UF_RULE_CFA_S(rule));
	case UF_CFA_DEREF_RBP:
		return load_word(bp + (uint64_t)UF_RULE_CFA_S(rule));
	default:
		return 0;
	}
}

/* As the probe walks, in C. Ends at UF_CFA_END, or where it cannot go on. */
__attribute__((no_sanitize("address", "undefined"))) static void walk(uint64_t pc, uint64_t sp,
								      uint64_t bp, bool all_rows)
{
	bool is_exact = true;

	ours.cnt = 0;
	while (ours.cnt < FRAMES_MAX) {
		/* Frame 0 is in the middle of a function: of all rows whatever the rest is. */
		uint32_t rule = rule_at(pc - !is_exact, all_rows || is_exact);
		uint64_t cfa = cfa_of(rule, pc, sp, bp);

		ours.pcs[ours.cnt++] = pc;
		is_exact = UF_RULE_CFA(rule) == UF_CFA_SIGNAL;
		if (is_exact) {
			pc = load_word(sp + 168);
			bp = load_word(sp + 120);
			sp = load_word(sp + 160);
			continue;
		}
		if (!cfa)
			return;
		if (UF_RULE_RBP(rule) == UF_RBP_AT_CFA)
			bp = load_word(cfa + (uint64_t)UF_RULE_RBP_M(rule));
		else if (UF_RULE_RBP(rule) == UF_RBP_AT_RBP)
			bp = load_word(bp + (uint64_t)UF_RULE_RBP_M(rule));
		pc = load_word(cfa - 8);
		sp = cfa;
	}
}

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *context, void *arg)
{
	struct stack *stack = arg;

	/* Behind the outermost frame comes one without a pc. */
	if (stack->cnt == FRAMES_MAX || !_Unwind_GetIP(context))
		return _URC_END_OF_STACK;
	stack->pcs[stack->cnt++] = _Unwind_GetIP(context);
	return _URC_NO_REASON;
}

static bool walk_all_rows;

/* Both walks begin here; above the first frame they must agree. */
__attribute__((noinline, no_sanitize("address", "undefined"))) static void walk_from_here(void)
{
	uint64_t pc, sp, bp;

	__asm__ volatile("lea 0(%%rip), %0\n\tmov %%rsp, %1\n\tmov %%rbp, %2"
			 : "=&r"(pc), "=&r"(sp), "=&r"(bp));
	walk(pc, sp, bp, walk_all_rows);
	theirs.cnt = 0;
	_Unwind_Backtrace(see_frame, &theirs);
	__asm__ volatile(""); /* no tail call: the frame must be there for both */
}

static void check_walk(size_t least)
{
	ck_assert_uint_gt(theirs.cnt, least);
	ck_assert_uint_eq(ours.cnt, theirs.cnt);
	for (size_t i = 1; i < ours.cnt; i++)
		ck_assert_uint_eq(ours.pcs[i], theirs.pcs[i]);
	ck_assert_uint_eq(UF_RULE_CFA(rule_at(ours.pcs[ours.cnt - 1] - 1, false)), UF_CFA_END);
}

static int compare_and_walk(const void *a, const void *b)
{
	walk_from_here();
	return *(const int *)a - *(const int *)b;
}

/* Realigns its stack and has arguments on it: the CFA is found through memory. */
__attribute__((noinline)) static int aligned(int a, int b, int c, int d, int e, int f, int depth,
					     void (*fn)(void))
{
	_Alignas(64) volatile char space[64];
	volatile char *more = __builtin_alloca((size_t)(depth + a) * 16 + 16);

	space[0] = more[0] = (char)depth;
	if (depth)
		return aligned(b, c, d, e, f, a, depth - 1, fn) + space[0] + more[0];
	fn();
	return space[0] + more[0];
}

START_TEST(walk_through_libc_is_libgccs)
{
	int numbers[] = { 2, 1 };

	walk_all_rows = _i;
	qsort(numbers, 2, sizeof(*numbers), compare_and_walk);
	check_walk(4);
}
END_TEST

START_TEST(walk_through_realigned_frames_is_libgccs)
{
	walk_all_rows = _i;
	aligned(1, 2, 3, 4, 5, 6, 20, walk_from_here);
	check_walk(22);
}
END_TEST

static void *run_thread(void *arg)
{
	(void)arg;
	walk_from_here();
	return NULL;
}

START_TEST(walk_of_a_thread_ends_at_its_start)
{
	pthread_t thread;

	walk_all_rows = _i;
	ck_assert_int_eq(pthread_create(&thread, NULL, run_thread, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	check_walk(2);
}
END_TEST

static void handle_signal(int signal)
{
	(void)signal;
	walk_from_here();
	__asm__ volatile("");
}

static void raise_signal(void)
{
	raise(SIGUSR1);
	__asm__ volatile("");
}

START_TEST(walk_out_of_a_signal_handler_is_libgccs)
{
	struct sigaction action = { .sa_handler = handle_signal };

	walk_all_rows = true;
	sigaction(SIGUSR1, &action, NULL);
	aligned(1, 2, 3, 4, 5, 6, 3, raise_signal);
	check_walk(8);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("unwind_walk");
	TCase *tc = tcase_create("walk");

	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, load_modules, free_modules);
	tcase_add_loop_test(tc, walk_through_libc_is_libgccs, 0, 2);
	tcase_add_loop_test(tc, walk_through_realigned_frames_is_libgccs, 0, 2);
	tcase_add_loop_test(tc, walk_of_a_thread_ends_at_its_start, 0, 2);
	tcase_add_test(tc, walk_out_of_a_signal_handler_is_libgccs);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(suite());
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
