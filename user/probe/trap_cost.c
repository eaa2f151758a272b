/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "probe/trap_cost.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <link.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "probe/uprobe_link.h"

#define BATCH_CNT     15 /* the middle one counts: others are interrupted */
#define CALLS         200
#define STEPPED_CALLS 20 /* each takes ten times as long */

/*
 * Three functions that do nothing: they begin as malloc() does, with an instruction that the kernel
 * emulates, or with one that it does not.
 */
void probed_entry(void);
void probed_return(void);
void probed_stepped(void);

#if defined(__x86_64__)
#define EMULATED "push %rbp\n pop %rbp\n ret\n"
#define STEPPED  "test %rdi, %rdi\n ret\n"
#elif defined(__aarch64__)
#define EMULATED "nop\n ret\n"
#define STEPPED  "mov x9, x0\n ret\n"
#endif

#define FUNCTION(name, body)                                                                       \
	__asm__(".pushsection .text\n .balign 16\n .globl " #name "\n .type " #name                \
		", @function\n" #name ":\n" body ".size " #name ", . - " #name "\n .popsection\n")

FUNCTION(probed_entry, EMULATED);
FUNCTION(probed_return, EMULATED);
FUNCTION(probed_stepped, STEPPED);

enum place { PLACE_ENTRY, PLACE_RETURN, PLACE_STEPPED, PLACE_CNT };

static void (*const functions[PLACE_CNT])(void) = {probed_entry, probed_return, probed_stepped};

/* Everything that is open while it is measured; -1: not. */
struct trial {
	enum attach_mode mode;
	int prog, return_prog;
	int links[2 * PLACE_CNT + 2];
	uint32_t link_cnt;
	uint64_t offsets[PLACE_CNT];
};

/* The file offset of an address in this program. */
struct own_place {
	uintptr_t address;
	uint64_t offset;
};

/* A callback of dl_iterate_phdr: the program comes first, and ends the search. */
static int find_offset(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct own_place *place = arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || place->address - start >= segment->p_filesz)
			continue;
		place->offset = place->address - start + segment->p_offset;
		return 1;
	}
	return -1;
}

/* An empty program; of a session, one that has the return skipped if the cookie says so. */
static int load_program(enum attach_mode mode)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_attach_cookie},
		{.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	}, empty[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	bool is_session = mode == ATTACH_SESSION;
	LIBBPF_OPTS(bpf_prog_load_opts, opts);

	if (mode != ATTACH_PERF)
		opts.expected_attach_type = (enum bpf_attach_type)(
			is_session ? UPROBE_ATTACH_SESSION : UPROBE_ATTACH_MULTI);
	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "unfreed_empty", "Dual BSD/GPL",
			     is_session ? insns : empty,
			     is_session ? sizeof(insns) / sizeof(insns[0])
					: sizeof(empty) / sizeof(empty[0]),
			     &opts);
}

static int attach(struct trial *trial, int prog, bool is_return, enum place first, uint32_t cnt)
{
	static const uint64_t skips_return[PLACE_CNT] = {[PLACE_ENTRY] = 1, [PLACE_STEPPED] = 1};
	const struct uprobe_places places = {
		.path = "/proc/self/exe",
		.offsets = trial->offsets + first,
		.cookies = skips_return + first,
		.cnt = cnt,
		.pid = getpid(),
	};
	int *links = trial->links + trial->link_cnt;

	if (trial->mode == ATTACH_PERF) {
		int err = uprobe_link__perf(prog, is_return, &places, links);

		trial->link_cnt += err ? 0 : 2 * cnt;
		return err;
	}
	links[0] = uprobe_link__multi(prog, trial->mode == ATTACH_SESSION ? UPROBE_ATTACH_SESSION
									  : UPROBE_ATTACH_MULTI,
				      is_return, &places);
	if (links[0] < 0)
		return links[0];
	trial->link_cnt++;
	return 0;
}

static int attach_all(struct trial *trial)
{
	int err = attach(trial, trial->prog, false, PLACE_ENTRY, PLACE_CNT);

	if (err || trial->mode == ATTACH_SESSION)
		return err;
	return attach(trial, trial->return_prog, true, PLACE_RETURN, 1);
}

/* Of this thread: what else runs is not measured. */
static double thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double call_ns(enum place place)
{
	int cnt = place == PLACE_STEPPED ? STEPPED_CALLS : CALLS;
	double ns[BATCH_CNT];

	for (int i = 0; i < BATCH_CNT; i++) {
		double start = thread_ns();

		for (int k = 0; k < cnt; k++)
			functions[place]();
		ns[i] = (thread_ns() - start) / cnt;
	}
	qsort(ns, BATCH_CNT, sizeof(ns[0]), compare);
	return ns[BATCH_CNT / 2];
}

static void read_run(int prog, struct bpf_prog_info *info)
{
	uint32_t size = sizeof(*info);

	memset(info, 0, sizeof(*info));
	if (bpf_obj_get_info_by_fd(prog, info, &size))
		memset(info, 0, sizeof(*info));
}

/* What the kernel's statistics say of an empty program: reading the clock takes its time. */
static double run_ns(int prog)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	struct bpf_prog_info before, after;

	if (fd < 0)
		return 0;
	read_run(prog, &before);
	call_ns(PLACE_ENTRY);
	read_run(prog, &after);
	close(fd);
	if (after.run_cnt == before.run_cnt)
		return 0;
	return (double)(after.run_time_ns - before.run_time_ns) / (after.run_cnt - before.run_cnt);
}

static double above(double ns, double base_ns)
{
	return ns > base_ns ? ns - base_ns : 0;
}

static void measure(const struct trial *trial, double untraced_ns, struct trap_costs *out)
{
	double entry_ns = call_ns(PLACE_ENTRY);

	*out = (struct trap_costs){
		.entry_ns = above(entry_ns, untraced_ns),
		.return_ns = above(call_ns(PLACE_RETURN), entry_ns),
		.stepped_ns = above(call_ns(PLACE_STEPPED), untraced_ns),
		.run_ns = run_ns(trial->prog),
	};
}

/* Attached and measured, with all left open. 0 or -errno. */
static int try_out(struct trial *trial, struct trap_costs *out)
{
	double untraced_ns = call_ns(PLACE_ENTRY);
	int err = 0;

	for (int i = 0; i < PLACE_CNT; i++) {
		struct own_place place = {.address = (uintptr_t)functions[i]};

		if (dl_iterate_phdr(find_offset, &place) != 1)
			return -ENOENT;
		trial->offsets[i] = place.offset;
	}
	trial->prog = load_program(trial->mode);
	if (trial->prog < 0)
		return trial->prog;
	if (trial->mode != ATTACH_SESSION) {
		trial->return_prog = load_program(trial->mode);
		err = trial->return_prog < 0 ? trial->return_prog : 0;
	}
	if (!err)
		err = attach_all(trial);
	if (!err)
		measure(trial, untraced_ns, out);
	return err;
}

static void trial__release(struct trial *trial)
{
	while (trial->link_cnt)
		close(trial->links[--trial->link_cnt]);
	if (trial->return_prog >= 0)
		close(trial->return_prog);
	if (trial->prog >= 0)
		close(trial->prog);
}

struct trap_meter {
	pthread_t thread;
	sem_t is_done;
	bool is_known; /* that it is done */
	struct trial trial;
	struct trap_costs costs;
	int err;
};

static void *run(void *arg)
{
	struct trap_meter *meter = arg;

	meter->err = try_out(&meter->trial, &meter->costs);
	sem_post(&meter->is_done);
	trial__release(&meter->trial);
	return NULL;
}

struct trap_meter *trap_meter__start(enum attach_mode mode)
{
	struct trap_meter *meter = calloc(1, sizeof(*meter));

	if (!meter)
		return NULL;
	meter->trial = (struct trial){.mode = mode, .prog = -1, .return_prog = -1};
	sem_init(&meter->is_done, 0, 0);
	errno = pthread_create(&meter->thread, NULL, run, meter);
	if (!errno)
		return meter;
	sem_destroy(&meter->is_done);
	free(meter);
	return NULL;
}

const struct trap_costs *trap_meter__get(struct trap_meter *meter)
{
	while (!meter->is_known)
		meter->is_known = !sem_wait(&meter->is_done);
	return meter->err ? NULL : &meter->costs;
}

void trap_meter__free(struct trap_meter *meter)
{
	if (!meter)
		return;
	pthread_join(meter->thread, NULL);
	sem_destroy(&meter->is_done);
	free(meter);
}
