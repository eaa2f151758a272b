/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/kernel_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "contract.h"
#include "snapshot/site_id.h"
#include "snapshot/snapshot.h"
#include "target/clock.h"
#include "sym/kallsyms.h"

#define KERNEL_MODULE "[kernel]"

struct kernel_names {
	struct kallsyms *syms;
	uint64_t time_ns; /* CLOCK_MONOTONIC: all that was there then is in syms */
	bool is_fixed;
};

/*
 * What may stand before the frame that wanted memory: the beginnings of names of functions that
 * lead from the tracepoint to the program, and of allocators. Suffixes (_noprof, _node) vary.
 */
static const char *const machinery[] = {
	"bpf_", "__bpf_", "__traceiter_", "trace_", "perf_trace_", "ftrace_",
	/* objects */
	"kmalloc", "__kmalloc", "__do_kmalloc", "kmem_cache_alloc", "__kmem_cache_alloc",
	"kvmalloc", "__kvmalloc", "krealloc", "__krealloc", "__do_krealloc", "kvrealloc",
	"slab_alloc", "__slab_alloc_node", "__kmem_cache_do_alloc",
	/* pages */
	"alloc_page", "__alloc_page", "alloc_frozen_pages", "__alloc_frozen_pages", "folio_alloc",
	"__folio_alloc", "__get_free_page", "get_free_page", "get_zeroed_page",
	"vmalloc", "__vmalloc", "vzalloc", "vm_area_alloc_pages",
	/* per-CPU memory */
	"pcpu_alloc", "__alloc_percpu", "alloc_percpu",
};

/* Functions that take pages for the smaller things that they hand out. */
static const char *const page_takers[] = {
	"allocate_slab", "new_slab", "___slab_alloc", "__slab_alloc", "alloc_slab_page",
	"___kmalloc_large", "__kmalloc_large", "kmalloc_large", "kmalloc_order", "cache_grow_begin",
	"cache_alloc_refill", "alloc_single_from_new_slab", "refill_objects", "pcpu_alloc_pages",
	"pcpu_populate_chunk", "pcpu_create_chunk",
};

#define CNT(array) (sizeof(array) / sizeof((array)[0]))

static bool begins_with_one_of(const char *name, const char *const *beginnings, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return false;
}

struct kernel_names *kernel_names__of(struct kallsyms *syms)
{
	struct kernel_names *names = calloc(1, sizeof(*names));

	if (!names) {
		kallsyms__free(syms);
		return NULL;
	}
	names->syms = syms;
	names->is_fixed = true;
	return names;
}

struct kernel_names *kernel_names__new(void)
{
	uint64_t now = monotonic_ns();
	struct kallsyms *syms = kallsyms__read();
	struct kernel_names *names = syms ? kernel_names__of(syms) : NULL;

	if (!names)
		return NULL;
	names->time_ns = now;
	names->is_fixed = false;
	return names;
}

void kernel_names__free(struct kernel_names *names)
{
	if (!names)
		return;
	kallsyms__free(names->syms);
	free(names);
}

/* All frames but those that a signal could make are return addresses: the call is before them. */
static bool find_frame(const struct kernel_names *names, uint64_t frame, struct kernel_symbol *out)
{
	if (!kallsyms__find(names->syms, frame - 1, out))
		return false;
	out->offset++;
	return true;
}

static uint32_t frame_cnt(const struct uf_stack *stack)
{
	return stack->frame_cnt <= UF_MAX_FRAMES ? stack->frame_cnt : UF_MAX_FRAMES;
}

/* A stack with frames that are not the kernel's own, of after the list: it is read anew. */
static void keep_up(struct kernel_names *names, const struct uf_stack *stack)
{
	struct kernel_symbol symbol;
	struct kallsyms *syms;
	uint64_t now;
	bool is_known = true;

	if (names->is_fixed || stack->time_ns < names->time_ns)
		return;
	for (uint32_t i = 0; i < frame_cnt(stack); i++)
		is_known &= find_frame(names, stack->frames[i], &symbol) && !*symbol.module;
	if (is_known)
		return;
	now = monotonic_ns();
	syms = kallsyms__read();
	if (!syms)
		return;
	kallsyms__free(names->syms);
	names->syms = syms;
	names->time_ns = now;
}

/* How many frames the stack begins with that are not worth showing; all but one at the most. */
static uint32_t count_machinery(const struct kernel_names *names, const struct uf_stack *stack)
{
	uint32_t i, cnt = frame_cnt(stack);
	bool is_unknown = true; /* at the beginning: a BPF program that has no name */

	for (i = 0; i + 1 < cnt; i++) {
		struct kernel_symbol symbol;

		if (!find_frame(names, stack->frames[i], &symbol)) {
			if (!is_unknown)
				break;
			continue;
		}
		if (strcmp(symbol.module, "bpf") == 0)
			continue;
		is_unknown = false;
		if (!begins_with_one_of(symbol.name, machinery, CNT(machinery)))
			break;
	}
	return i;
}

/* Are the pages of a stack some other allocator's, that begins to be of interest at first? */
static bool is_page_taker(const struct kernel_names *names, const struct uf_stack *stack,
			  uint32_t first)
{
	for (uint32_t i = 0; i <= first && i < frame_cnt(stack); i++) {
		struct kernel_symbol symbol;

		if (find_frame(names, stack->frames[i], &symbol) &&
		    begins_with_one_of(symbol.name, page_takers, CNT(page_takers)))
			return true;
	}
	return false;
}

uint64_t kernel_names__hash(struct kernel_names *names, const struct uf_stack *stack)
{
	uint64_t id = site_id__add(SITE_ID_NEW, stack->end);
	uint32_t first;

	keep_up(names, stack);
	first = count_machinery(names, stack);
	if (stack->image == UF_SITE_KERNEL_PAGES && is_page_taker(names, stack, first))
		return 0;
	for (uint32_t i = first; i < frame_cnt(stack); i++) {
		struct kernel_symbol symbol;

		if (!find_frame(names, stack->frames[i], &symbol))
			symbol = (struct kernel_symbol){"", "", stack->frames[i]};
		id = site_id__add_text(id, symbol.module);
		id = site_id__add_text(id, symbol.name);
		id = site_id__add(id, symbol.offset);
	}
	return id + !id;
}

/* "[kernel]", "[ext4]"; NULL: no memory. */
static const char *module_name(struct snapshot *snap, const char *module)
{
	char name[128];

	if (!*module)
		return KERNEL_MODULE;
	snprintf(name, sizeof(name), "[%s]", module);
	return snapshot__strdup(snap, name);
}

static int fill_frame(struct snapshot *snap, struct snapshot_frame *frame,
		      const struct kernel_symbol *symbol)
{
	frame->function = snapshot__strdup(snap, symbol->name);
	frame->module = module_name(snap, symbol->module);
	frame->function_offset = symbol->offset;
	return frame->function && frame->module ? 0 : -ENOMEM;
}

int kernel_names__resolve(const struct kernel_names *names, struct snapshot *snap,
			  struct snapshot_site *site, const struct uf_stack *stack)
{
	uint32_t first = count_machinery(names, stack), cnt = frame_cnt(stack) - first;
	int err = 0;

	site->frames = snapshot__alloc(snap, (cnt + 1) * sizeof(*site->frames));
	if (!site->frames)
		return -ENOMEM;
	site->frame_cnt = cnt;
	for (uint32_t i = 0; !err && i < cnt; i++) {
		struct snapshot_frame *frame = &site->frames[i];
		struct kernel_symbol symbol;

		*frame = (struct snapshot_frame){
			.kind = FRAME_KERNEL,
			.offset = stack->frames[first + i],
			.module = "",
			.build_id = "",
			.function = "",
			.file = "",
		};
		if (find_frame(names, stack->frames[first + i], &symbol))
			err = fill_frame(snap, frame, &symbol);
	}
	return err;
}
