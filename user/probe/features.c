/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "probe/features.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <unistd.h>

#include "probe/uprobe_link.h"

/* A kprobe-type program that returns 0, meant for the attach type. */
static int load_trivial_program(int attach_type)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach_type);

	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "unfreed_try", "Dual BSD/GPL", insns,
			     sizeof(insns) / sizeof(insns[0]), &opts);
}

/*
 * A directory cannot be probed: a kernel that knows the attach type gets as far
 * as finding that out and says EBADF; one that does not says EINVAL before.
 */
static bool attach_type_works(int attach_type)
{
	const uint64_t offset = 0, cookie = 0;
	const struct uprobe_places nowhere = {
		.path = "/",
		.offsets = &offset,
		.cookies = &cookie,
		.cnt = 1,
	};
	int prog_fd = load_trivial_program(attach_type), link_fd;

	if (prog_fd < 0)
		return false;
	link_fd = uprobe_link__multi(prog_fd, attach_type, false, &nowhere);
	if (link_fd >= 0)
		close(link_fd);
	close(prog_fd);
	return link_fd == -EBADF;
}

/*
 * Before 6.1 a sleepable program was refused a map that allocates as it fills, and a tracing
 * program got it with a WARN in the kernel's log. Kernel commits 34dd3bad1a6f and 02cc5aa29e8c
 * allowed both at once; the first is asked for, it leaves no trace in the log.
 */
static bool growing_maps_work(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, map_opts, .map_flags = BPF_F_NO_PREALLOC);
	LIBBPF_OPTS(bpf_prog_load_opts, prog_opts, .prog_flags = BPF_F_SLEEPABLE);
	int map_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "unfreed_try", 4, 4, 1, &map_opts);
	const struct bpf_insn insns[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1,
		 .src_reg = BPF_PSEUDO_MAP_FD, .imm = map_fd},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int prog_fd;

	if (map_fd < 0)
		return false;
	prog_fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "unfreed_try", "Dual BSD/GPL", insns,
				sizeof(insns) / sizeof(insns[0]), &prog_opts);
	close(map_fd);
	if (prog_fd < 0)
		return false;
	close(prog_fd);
	return true;
}

int features__detect(struct features *out)
{
	int fd = load_trivial_program(0);

	if (fd < 0)
		return fd;
	close(fd);
	out->uprobe_multi = attach_type_works(UPROBE_ATTACH_MULTI);
	out->uprobe_session = attach_type_works(UPROBE_ATTACH_SESSION);
	out->grows_maps = growing_maps_work();
	return 0;
}

int features__choose(const struct features *features, enum attach_mode wanted)
{
	const bool can[] = {
		[ATTACH_SESSION] = features->uprobe_session,
		[ATTACH_MULTI] = features->uprobe_multi,
		[ATTACH_PERF] = true,
	};

	if (wanted != ATTACH_AUTO)
		return can[wanted] ? (int)wanted : -EOPNOTSUPP;
	return can[ATTACH_SESSION] ? ATTACH_SESSION : can[ATTACH_MULTI] ? ATTACH_MULTI : ATTACH_PERF;
}
