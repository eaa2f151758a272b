/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * How a table comes about: the FDEs of a section that lie in executable segments
 * are put in the order of the file; each is cut where the next begins, so that
 * every byte has at most one (unwinders search the last FDE that begins before an
 * address, too; of several that begin at one address the section's first counts).
 * Each program's rows become rules, gaps between FDEs a row UF_CFA_NONE, and equal
 * neighbours one. .debug_frame fills the gaps that .eh_frame has. In the end the
 * rows that no return address can hit go, unless all are asked for.
 *
 * An FDE that cannot be read to its end is UF_CFA_UNSUPPORTED from the bad
 * instruction on; what comes before holds, as it does for unwinders that run a
 * program only up to the address that they are asked for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unwind/call_sites.h"
#include "unwind/cfi.h"
#include "unwind/row_list.h"
#include "unwind/unwind_rule.h"
#include "unwind/unwind_source.h"
#include "unwind/unwind_table.h"

/* An FDE's place in the file. */
struct span {
	uint32_t offset, end;
	uint32_t fde;
};

struct span_list {
	struct span *spans;
	uint32_t cnt;
};

/* For the rows of one FDE. */
struct emitter {
	struct row_list *rows;
	struct unwind_stats *stats;
	uint64_t start; /* address of the FDE, and its offset */
	uint32_t offset;
	uint32_t reached; /* where the last row ends */
};

static int compare_spans(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->fde < y->fde ? -1 : x->fde > y->fde;
}

static bool is_sorted(const struct span_list *list)
{
	for (uint32_t i = 1; i < list->cnt; i++)
		if (compare_spans(&list->spans[i - 1], &list->spans[i]) > 0)
			return false;
	return true;
}

/* Cut at the next one's start; those that nothing is left of go. */
static void cut_overlaps(struct span_list *list)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < list->cnt; i++) {
		struct span span = list->spans[i];

		if (kept && list->spans[kept - 1].offset == span.offset)
			continue;
		if (kept && list->spans[kept - 1].end > span.offset)
			list->spans[kept - 1].end = span.offset;
		list->spans[kept++] = span;
	}
	list->cnt = kept;
}

/* Segments end below 4 GiB: checked. */
static int find_spans(const struct cfi *cfi, const struct unwind_source *source,
		      struct span_list *list)
{
	list->spans = calloc(cfi->fde_cnt + !cfi->fde_cnt, sizeof(*list->spans));
	if (!list->spans)
		return -ENOMEM;
	for (uint32_t i = 0; i < cfi->fde_cnt; i++) {
		const struct cfi_fde *fde = &cfi->fdes[i];
		const struct source_segment *seg =
			unwind_source__find_segment(source, fde->start);
		uint64_t skip, size;

		if (!seg)
			continue;
		skip = fde->start - seg->vaddr;
		size = fde->end - fde->start;
		if (size > seg->size_bytes - skip)
			size = seg->size_bytes - skip;
		list->spans[list->cnt].offset = (uint32_t)(seg->offset + skip);
		list->spans[list->cnt].end = (uint32_t)(seg->offset + skip + size);
		list->spans[list->cnt++].fde = i;
	}
	if (!is_sorted(list))
		qsort(list->spans, list->cnt, sizeof(*list->spans), compare_spans);
	cut_overlaps(list);
	return 0;
}

static int push(const struct emitter *em, uint32_t offset, uint32_t rule)
{
	em->stats->full_row_cnt++;
	return row_list__push(em->rows, offset, rule);
}

static int emit_row(void *arg, uint64_t start, uint64_t end, const struct cfi_cie *cie,
		    const struct cfi_state *state)
{
	struct emitter *em = arg;

	em->reached = em->offset + (uint32_t)(end - em->start);
	return push(em, em->offset + (uint32_t)(start - em->start),
		    unwind_rule__from_state(cie, state, em->stats));
}

static int emit_span(struct emitter *em, const struct cfi *cfi, const struct span *span)
{
	const struct cfi_fde *fde = &cfi->fdes[span->fde];
	int err;

	em->start = fde->start;
	em->offset = em->reached = span->offset;
	err = cfi__run(cfi, fde, fde->start + (span->end - span->offset), emit_row, em);
	if (err != -EBADMSG)
		return err;
	em->stats->malformed_cnt++;
	return push(em, em->reached, UF_RULE(UF_CFA_UNSUPPORTED, 0, UF_RBP_SAME, 0));
}

static int emit_spans(struct emitter *em, const struct cfi *cfi, const struct span_list *list)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < list->cnt; i++) {
		if (i && list->spans[i - 1].end < list->spans[i].offset)
			err = push(em, list->spans[i - 1].end, UF_CFA_NONE);
		if (!err)
			err = emit_span(em, cfi, &list->spans[i]);
	}
	if (!err && list->cnt)
		err = push(em, list->spans[list->cnt - 1].end, UF_CFA_NONE);
	return err;
}

static int add_cfi(const struct cfi_section *section, const struct unwind_source *source,
		   struct unwind_stats *stats, struct row_list *rows)
{
	struct emitter em = { .rows = rows, .stats = stats };
	struct span_list spans = { 0 };
	struct cfi cfi;
	int err = cfi__init(&cfi, section);

	if (!err)
		err = find_spans(&cfi, source, &spans);
	if (!err)
		err = emit_spans(&em, &cfi, &spans);
	stats->fde_cnt += spans.cnt;
	stats->malformed_cnt += cfi.malformed_cnt;
	free(spans.spans);
	cfi__release(&cfi);
	return err;
}

/* -ENODATA if there is no such section. */
static int add_section(const struct unwind_source *source, enum source_section which,
		       struct unwind_stats *stats, struct row_list *rows)
{
	struct source_bytes data;
	struct cfi_section section;
	int err = unwind_source__load_section(source, which, &data);

	if (err)
		return err;
	section = (struct cfi_section){
		.bytes = data.bytes,
		.size_bytes = data.size_bytes,
		.vaddr = which == SOURCE_DEBUG_FRAME ? 0 : data.vaddr,
		.is_debug_frame = which == SOURCE_DEBUG_FRAME,
		.ends_at_zero = data.is_open_ended,
	};
	err = add_cfi(&section, source, stats, rows);
	free(data.bytes);
	return err;
}

static int collect(const struct unwind_source *source, struct unwind_stats *stats,
		   struct row_list *rows)
{
	struct row_list eh = { 0 }, debug = { 0 };
	int eh_err = add_section(source, SOURCE_EH_FRAME, stats, &eh);
	int err = eh_err && eh_err != -ENODATA ? eh_err : 0;

	if (!err)
		err = add_section(source, SOURCE_DEBUG_FRAME, stats, &debug);
	if (err == -ENODATA && !eh_err)
		err = 0; /* one of them is enough */
	if (!err)
		err = row_list__merge(&eh, &debug, rows);
	if (!err && !rows->cnt && !stats->malformed_cnt)
		err = -ENODATA; /* only terminators */
	row_list__release(&eh);
	row_list__release(&debug);
	return err;
}

/* Where executable code is in the file; an offset must fit into a row. */
static int find_limits(const struct unwind_source *source, struct unwind_table *table)
{
	table->low_offset = UINT64_MAX;
	for (uint32_t i = 0; i < source->segment_cnt; i++) {
		const struct source_segment *seg = &source->segments[i];

		if (seg->offset + seg->size_bytes > UINT32_MAX)
			return -EFBIG;
		if (seg->offset < table->low_offset)
			table->low_offset = seg->offset;
		if (seg->offset + seg->size_bytes > table->high_offset)
			table->high_offset = seg->offset + seg->size_bytes;
	}
	return 0;
}

static int build(const struct unwind_source *source, bool all_rows, struct unwind_table *out)
{
	struct unwind_table table = { .has_all_rows = all_rows };
	struct row_list rows = { 0 };
	int err = find_limits(source, &table);

	if (!err)
		err = collect(source, &table.stats, &rows);
	if (!err && !all_rows)
		err = call_sites__filter(&rows, source, table.high_offset);
	if (err) {
		row_list__release(&rows);
		return err;
	}
	table.row_cnt = rows.cnt;
	table.rows = reallocarray(rows.rows, rows.cnt + !rows.cnt, sizeof(*rows.rows));
	if (!table.rows)
		table.rows = rows.rows; /* could not be made smaller */
	*out = table;
	return 0;
}

int unwind_table__build_fd(int fd, bool all_rows, struct unwind_table *out)
{
	struct unwind_source source;
	int err = unwind_source__init_fd(&source, fd);

	return err ? err : build(&source, all_rows, out);
}

int unwind_table__build_memory(const void *image, size_t size_bytes, bool all_rows,
			       struct unwind_table *out)
{
	struct unwind_source source;
	int err = unwind_source__init_memory(&source, image, size_bytes);

	return err ? err : build(&source, all_rows, out);
}

void unwind_table__release(struct unwind_table *table)
{
	free(table->rows);
	*table = (struct unwind_table){ 0 };
}

uint32_t unwind_table__find(const struct unwind_table *table, uint64_t offset)
{
	uint32_t low = 0, high = table->row_cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (table->rows[mid].offset <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? table->rows[low - 1].rule : UF_CFA_NONE;
}
