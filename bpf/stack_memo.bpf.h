/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_STACK_MEMO_BPF_H
#define UNFREED_STACK_MEMO_BPF_H

/*
 * The walks that a thread has made, each with everything that its result depends on. A program
 * mostly allocates where it has allocated before: then comparing that is all there is to do, and
 * the site is the one that was found then.
 *
 * What a hit gives is what a walk would give. A walk by the tables does the same whenever these
 * are the same:
 *
 *  - Where it begins: pc, stack pointer, image, the kind of site; and the frame pointer, if it was
 *    ever used before another was found on the stack.
 *  - What it reads from the stack. All of that goes through walk_read(), which notes address and
 *    value in their order. The first address follows from where it begins, each further one from
 *    that and the values before it. So if the noted addresses have the noted values now, they are
 *    the ones that a walk would read, and it would read these values. (That comparing reads them
 *    in that order and by the same windows: as good as a walk if somebody else is writing there.)
 *  - What the kernel has put in place of a return address: walks that met a trampoline of return
 *    probes are not kept. In one that is kept no return address was the trampoline's, whether or
 *    not it was known as such: the code there is in no file, and that alone forbids keeping.
 *  - The mappings. mapping_generation() counts the changes to an address space, and says 0 when it
 *    cannot: then nothing is compared or kept. An image is one address space, and its number is
 *    never used again.
 *  - What user space puts into the kernel: unwind tables, which images have a Python interpreter,
 *    which sites there are. After each change, and in those of tables before it as well,
 *    memo_generation is raised. It is odd while a table is being replaced, of which a probe may
 *    read half and half: wrong for once, it must not be for good.
 *
 * Both generations are looked at before anything else, and a walk is kept as of then. If one moves
 * on in the middle of the walk, nobody asks for the old one again. (x86 shows stores in their
 * order, and loads are made in theirs. Both come back after 2^31 changes.)
 *
 * Only whole walks are kept, to the outermost frame, by files' tables, in processes without an
 * interpreter: Python's frames are in memory that nobody notes. (Such a walk asks user space for
 * nothing either, so that a hit leaves nothing undone.)
 *
 * The site is taken without looking it up. User space takes idle sites out of the index, raises
 * memo_generation, waits for all programs that run, and gives up those that are still idle
 * (user/agent/tracer_reclaim.c). A program from before counts its block before it ends, and so the
 * site is not idle; one that begins later believes no memo from before, and one that is made later
 * still has its site from the index. Sites of an image that is dead are asked for by nobody.
 *
 * A memo is the thread's own: no two programs look at it at a time.
 */

#define MEMO_CNT   8  /* of a thread; power of two */
#define MEMO_WORDS 36 /* of stack that are noted of a walk; one that reads more is not kept */

/* Of a walk that is not to be kept. */
#define READS_NOT_KEPT (MEMO_WORDS + 1)

/* What a walk has read from the stack, in its order. */
struct stack_reads {
	__u32 cnt;
	__u16 at[MEMO_WORDS]; /* in words from where the walk began */
	__u16 pad[2];
	__u64 values[MEMO_WORDS];
};

struct stack_memo {
	__u64 pc, sp;
	__u64 fp; /* if fp_counts */
	uf_image_id image; /* 0: not in use */
	__u32 mapping_generation;
	__u32 memo_generation;
	__u32 site;
	__u16 kind; /* enum uf_site_kind */
	__u16 fp_counts;
	__u32 pad;
	struct stack_reads reads;
};

static __always_inline void reads_note(struct stack_reads *reads, __u64 from, __u64 address,
				       __u64 value)
{
	__u64 i = reads->cnt, at = address - from;

	if (i >= MEMO_WORDS || at & 7 || at >> 3 > 0xffff) {
		reads->cnt = READS_NOT_KEPT;
		return;
	}
	reads->at[i] = at >> 3;
	reads->values[i] = value;
	reads->cnt = i + 1;
}

/* Which of a thread's memos is of a walk that begins there, or gives its place to it. */
static __always_inline __u32 memo_slot(__u64 pc, __u64 sp)
{
	__u64 hash = (pc ^ sp << 20) * 0x9e3779b97f4a7c15ULL;

	return hash >> 32 & (MEMO_CNT - 1);
}

#endif
