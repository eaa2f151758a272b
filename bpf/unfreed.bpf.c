// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
/*
 * The kernel side of unfreed. One subject a header, from the ground up:
 *
 *   maps        every shared map and global
 *   stats       counters of the whole trace
 *   private_stack  why none of the uprobe programs may have one
 *   trampoline  return addresses that return probes replaced
 *   vma_search  the kernel's own tree of mappings
 *   mapping     pc -> file, with a cache
 *   stack_window  reading a stack
 *   stack_memo  walks that a thread has made before
 *   unwind      one step up a stack by the unwind tables
 *   python      frames of CPython
 *   live_table  how blocks get into the table of live ones, and out
 *   thread      a thread's pending calls and scratch
 *   stack       walking and keeping stacks
 *   truth       (tests only) copies of what was walked
 *   window      times without probes: --max-cost
 *   site        per-site counters
 *   live        live blocks, fork's heritage
 *   sample      which allocations are recorded, in a trace that samples
 *   alloc       the allocator's probes
 *   place       is a probe's place in a function as good as its entry?
 *   pool        CPython's pools of small objects
 *   gate        what libunfreed-gate.so samples, in place of the allocator's probes
 *   pool_fault  the same where the function that opens them is not known
 *   region      memory that the program maps itself
 *   process     fork, exec, exit, signals
 *   gc          CPython's garbage collections
 *   vma_iter    the executable mappings of a process
 *   kernel      --kernel: the kernel's own memory, without any of the probes above
 *
 * They are headers of one object and not objects of their own because the
 * probes are hot: nearly everything below them is inlined. Functions with a
 * long loop are global (not static): the verifier then looks at them once, and
 * not again for each state in which they are called.
 */
#include "vmlinux.h"
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "contract.h"
#include "unwind_row.h"
#include "python.h"
#include "sampling.h"
#include "usdt_arg.h"

/* From the kernel's errno headers, which cannot be included beside vmlinux.h. */
#define ENOENT 2
#define E2BIG  7
#define EBUSY  16
#define EEXIST 17

#include "maps.bpf.h"
#include "stats.bpf.h"
#include "private_stack.bpf.h"
#include "trampoline.bpf.h"
#include "vma_search.bpf.h"
#include "mapping.bpf.h"
#include "stack_window.bpf.h"
#include "stack_memo.bpf.h"
#include "unwind.bpf.h"
#include "python.bpf.h"
#include "live_table.bpf.h"
#include "thread.bpf.h"
#include "stack.bpf.h"
#ifdef UNFREED_TRUTH
#include "truth.bpf.h"
#endif
#include "window.bpf.h"
#include "site.bpf.h"
#include "live.bpf.h"
#include "sample.bpf.h"
#include "alloc.bpf.h"
#include "place.bpf.h"
#include "pool.bpf.h"
#include "gate.bpf.h"
#include "pool_fault.bpf.h"
#include "region.bpf.h"
#include "process.bpf.h"
#include "gc.bpf.h"
#include "vma_iter.bpf.h"
#include "kernel.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
