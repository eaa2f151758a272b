/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * check_tables [-v] [FILE|DIRECTORY...]: the unwind tables of every x86-64 ELF file
 * under the directories (default /usr/lib /usr/bin) against libdw.
 *
 * Goal of this test: every row that libdw knows is ours, every row that we have is
 * libdw's, everywhere in the executable segments; and where a call can end, the
 * table for call sites says what the table of all rows says.
 *
 * libdw tells from where to where each of its answers holds. So one walk through a
 * segment, from one boundary to the next, ours or libdw's, compares everything with
 * one question a row; the middle of every 16th row is asked for again, so as not
 * to rely on the ranges, and where libdw has nothing it is asked every few bytes.
 *
 * One worker a processor; they share the list of files and the counters.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <Zydis/Zydis.h>

#include "libdw_reference.h"
#include "unwind/unwind_table.h"

#define FILES_MAX	 (1u << 20)
#define MISMATCHES_SHOWN 20
#define GAP_STEP	 4 /* bytes between questions where there is no CFI */
#define SAMPLE_EVERY	 16 /* rows */
#define LOADS_MAX	 64

static const char *const cfa_names[UF_CFA_CNT] = {
	"none", "rsp", "rbp", "plt", "*rsp", "*rbp", "signal", "end", "unsupported",
};

/* Shared by all workers. */
struct counters {
	_Atomic uint32_t next_file;
	_Atomic uint64_t files, no_cfi, failed, rows, samples, unknown, call_ends, mismatches;
	/* Rows of the full tables, and of those for call sites. */
	_Atomic uint64_t kinds[UF_CFA_CNT], call_kinds[UF_CFA_CNT];
	_Atomic uint64_t expressions, registers, return_addresses, ranges, malformed, fdes;
	_Atomic uint64_t all_rows, call_rows, all_ns, call_ns, libdw_ns;
};

struct file {
	char *path;
	dev_t dev;
	ino_t ino;
	off_t size;
};

static struct file *files;
static uint32_t file_cnt;
static struct counters *counters;
static bool is_verbose;
static ZydisDecoder decoder;

struct segment {
	uint64_t vaddr, offset, size;
};

/* The file being checked. */
struct subject {
	const char *path;
	const uint8_t *image;
	size_t size;
	struct segment segments[LOADS_MAX];
	uint32_t segment_cnt;
	struct unwind_table all, calls;
	struct reference ref;
};

static uint64_t read_clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Of this worker: what others do on the machine does not count. */
static uint64_t cpu_ns(void)
{
	return read_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void print_rule(char *buf, size_t size, uint32_t rule)
{
	static const char *const rbp[] = { "same", "*cfa", "*rbp", "undefined" };

	snprintf(buf, size, "%s%+" PRId64 " rbp %s%+" PRId64,
		 UF_RULE_CFA(rule) < UF_CFA_CNT ? cfa_names[UF_RULE_CFA(rule)] : "?",
		 (int64_t)UF_RULE_CFA_S(rule), rbp[UF_RULE_RBP(rule)],
		 (int64_t)UF_RULE_RBP_M(rule));
}

static void mismatch(const struct subject *s, uint64_t vaddr, const char *what, uint32_t ours,
		     uint32_t theirs)
{
	char a[80], b[80];

	if (counters->mismatches++ >= MISMATCHES_SHOWN)
		return;
	print_rule(a, sizeof(a), ours);
	print_rule(b, sizeof(b), theirs);
	printf("MISMATCH %s %#" PRIx64 ": %s %s, should be %s\n", s->path, vaddr, what, a, b);
}

/* -- all rows against libdw -- */

/* First row that begins behind offset. */
static uint32_t row_after(const struct unwind_table *table, uint64_t offset)
{
	uint32_t low = 0, high = table->row_cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (table->rows[mid].offset <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void compare(const struct subject *s, uint64_t vaddr, uint32_t ours,
		    const struct reference_row *theirs)
{
	if (theirs->is_unknown)
		counters->unknown++;
	else if (ours != theirs->rule)
		mismatch(s, vaddr, "all rows:", ours, theirs->rule);
}

static void sample(struct subject *s, uint64_t vaddr, uint64_t end, uint32_t ours)
{
	struct reference_row row;

	vaddr += (end - vaddr) / 2;
	reference__find(&s->ref, vaddr, &row);
	compare(s, vaddr, ours, &row);
	counters->samples++;
}

static void check_segment(struct subject *s, const struct segment *seg)
{
	uint64_t vaddr = seg->vaddr, end = seg->vaddr + seg->size, rows = 0;
	uint32_t i = row_after(&s->all, seg->offset);
	struct reference_row theirs = { 0 };

	while (vaddr < end) {
		uint64_t offset = vaddr - seg->vaddr + seg->offset, next = end;
		uint32_t ours;

		while (i < s->all.row_cnt && s->all.rows[i].offset <= offset)
			i++;
		ours = i ? s->all.rows[i - 1].rule : UF_CFA_NONE;
		if (i < s->all.row_cnt && s->all.rows[i].offset - seg->offset < seg->size)
			next = seg->vaddr + (s->all.rows[i].offset - seg->offset);
		if (!theirs.has_cfi || vaddr >= theirs.end)
			reference__find(&s->ref, vaddr, &theirs);
		compare(s, vaddr, ours, &theirs);
		if (!theirs.has_cfi && next - vaddr > GAP_STEP)
			next = vaddr + GAP_STEP - vaddr % GAP_STEP;
		else if (theirs.has_cfi && theirs.end > vaddr && theirs.end < next)
			next = theirs.end;
		if (theirs.has_cfi && rows++ % SAMPLE_EVERY == 0)
			sample(s, vaddr, next, ours);
		vaddr = next;
	}
	counters->rows += rows;
}

/* -- call sites against all rows -- */

static void check_call_end(const struct subject *s, const struct segment *seg, uint64_t pos)
{
	uint64_t offset = seg->offset + pos;
	uint32_t calls, all;

	if (pos >= seg->size)
		return;
	calls = unwind_table__find(&s->calls, offset);
	all = unwind_table__find(&s->all, offset);
	counters->call_ends++;
	if (calls != all)
		mismatch(s, seg->vaddr + pos, "call sites:", calls, all);
}

/*
 * The last byte of the indirect call that bytes begin with, by another decoder than ours; or 0.
 * Far calls (FF /3) push a segment, too: no unwinder follows them.
 */
static size_t indirect_call_end(const uint8_t *bytes, size_t left)
{
	ZydisDecodedInstruction insn;

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, left, &insn)) ||
	    insn.mnemonic != ZYDIS_MNEMONIC_CALL || insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NEAR)
		return 0;
	return insn.length - 1u;
}

static void check_calls(const struct subject *s, const struct segment *seg)
{
	const uint8_t *code = s->image + seg->offset;

	for (uint64_t i = 0; i < seg->size; i++) {
		size_t last = 0;

		if (code[i] == 0xe8)
			last = 4;
		else if (code[i] == 0xff)
			last = indirect_call_end(code + i, seg->size - i);
		if (last)
			check_call_end(s, seg, i + last);
	}
}

/* Ascending, neighbours different, inside the limits. */
static void check_order(const struct subject *s, const struct unwind_table *table)
{
	for (uint32_t i = 1; i < table->row_cnt; i++) {
		const struct uf_unwind_row *row = &table->rows[i];

		if (row[-1].offset >= row->offset || row[-1].rule == row->rule ||
		    row->offset > table->high_offset)
			mismatch(s, row->offset, "order:", row->rule, row[-1].rule);
	}
}

/* -- files -- */

static bool read_segments(struct subject *s)
{
	const Elf64_Ehdr *eh = (const void *)s->image;
	const Elf64_Phdr *ph = (const void *)(s->image + eh->e_phoff);

	if (eh->e_phoff + eh->e_phnum * sizeof(*ph) > s->size)
		return false;
	for (unsigned int i = 0; i < eh->e_phnum && s->segment_cnt < LOADS_MAX; i++) {
		if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_X) ||
		    ph[i].p_offset + ph[i].p_filesz > s->size)
			continue;
		s->segments[s->segment_cnt++] =
			(struct segment){ ph[i].p_vaddr, ph[i].p_offset, ph[i].p_filesz };
	}
	return true;
}

/* Those in the way of stacks: an unsupported rule where a call is. */
static void list_unsupported(const struct subject *s)
{
	for (uint32_t i = 0; is_verbose && i < s->calls.row_cnt; i++)
		if (UF_RULE_CFA(s->calls.rows[i].rule) == UF_CFA_UNSUPPORTED)
			printf("UNSUPPORTED %s file offset %#x\n", s->path,
			       s->calls.rows[i].offset);
}

static void count(const struct subject *s)
{
	const struct unwind_stats *stats = &s->all.stats;

	for (uint32_t i = 0; i < s->all.row_cnt; i++)
		counters->kinds[UF_RULE_CFA(s->all.rows[i].rule)]++;
	for (uint32_t i = 0; i < s->calls.row_cnt; i++)
		counters->call_kinds[UF_RULE_CFA(s->calls.rows[i].rule)]++;
	list_unsupported(s);
	counters->files++;
	counters->fdes += stats->fde_cnt;
	counters->expressions += stats->expression_cnt;
	counters->registers += stats->register_cnt;
	counters->return_addresses += stats->return_address_cnt;
	counters->ranges += stats->range_cnt;
	counters->malformed += stats->malformed_cnt;
	counters->all_rows += s->all.row_cnt;
	counters->call_rows += s->calls.row_cnt;
}

/* Both tables, timed. */
static int build(struct subject *s, int fd)
{
	uint64_t start = cpu_ns(), middle, end;
	int err = unwind_table__build_fd(fd, true, &s->all);

	middle = cpu_ns();
	if (!err)
		err = unwind_table__build_fd(fd, false, &s->calls);
	end = cpu_ns();
	counters->all_ns += middle - start;
	counters->call_ns += end - middle;
	if (!err && is_verbose)
		printf("%-60s fdes %7u rows %8u %9zu B %6.1f ms, calls %7u %8zu B %6.1f ms\n",
		       s->path, s->all.stats.fde_cnt, s->all.row_cnt,
		       s->all.row_cnt * sizeof(*s->all.rows), (double)(middle - start) / 1e6,
		       s->calls.row_cnt, s->calls.row_cnt * sizeof(*s->calls.rows),
		       (double)(end - middle) / 1e6);
	return err;
}

static void check_subject(struct subject *s, int fd)
{
	uint64_t start = cpu_ns();

	reference__init(&s->ref, fd);
	for (uint32_t i = 0; i < s->segment_cnt; i++)
		check_segment(s, &s->segments[i]);
	reference__release(&s->ref);
	counters->libdw_ns += cpu_ns() - start;
	for (uint32_t i = 0; i < s->segment_cnt; i++)
		check_calls(s, &s->segments[i]);
	check_order(s, &s->all);
	check_order(s, &s->calls);
}

static void check_file(const struct file *file)
{
	struct subject s = { .path = file->path, .size = (size_t)file->size };
	int fd = open(file->path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return;
	s.image = mmap(NULL, s.size, PROT_READ, MAP_PRIVATE, fd, 0);
	err = s.image == MAP_FAILED || !read_segments(&s) ? -ENOEXEC : build(&s, fd);
	if (!err) {
		count(&s);
		check_subject(&s, fd);
	} else if (err == -ENODATA) {
		counters->no_cfi++;
	} else if (err != -ENOEXEC) {
		counters->failed++;
		printf("FAILED %s: %s\n", file->path, strerror(-err));
	}
	unwind_table__release(&s.all);
	unwind_table__release(&s.calls);
	if (s.image != MAP_FAILED)
		munmap((void *)s.image, s.size);
	close(fd);
}

/* -- the list -- */

static bool is_elf(const char *path)
{
	Elf64_Ehdr eh = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool is = fd >= 0 && read(fd, &eh, sizeof(eh)) == sizeof(eh) &&
		  !memcmp(eh.e_ident, ELFMAG, SELFMAG) && eh.e_ident[EI_CLASS] == ELFCLASS64 &&
		  eh.e_machine == EM_X86_64 && (eh.e_type == ET_EXEC || eh.e_type == ET_DYN);

	if (fd >= 0)
		close(fd);
	return is;
}

static int add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size < (off_t)sizeof(Elf64_Ehdr) ||
	    file_cnt == FILES_MAX || !is_elf(path))
		return 0;
	files[file_cnt++] = (struct file){ strdup(path), st->st_dev, st->st_ino, st->st_size };
	return 0;
}

static int by_inode(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return strcmp(x->path, y->path);
}

static int by_size_down(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return x->size == y->size ? strcmp(x->path, y->path) : x->size > y->size ? -1 : 1;
}

/* Each inode once, the big ones first: they would be waited for at the end. */
static void sort_files(void)
{
	uint32_t kept = 0;

	qsort(files, file_cnt, sizeof(*files), by_inode);
	for (uint32_t i = 0; i < file_cnt; i++) {
		if (kept && files[kept - 1].dev == files[i].dev &&
		    files[kept - 1].ino == files[i].ino)
			free(files[i].path);
		else
			files[kept++] = files[i];
	}
	file_cnt = kept;
	qsort(files, file_cnt, sizeof(*files), by_size_down);
}

static void work(void)
{
	uint32_t i;

	elf_version(EV_CURRENT);
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	while ((i = counters->next_file++) < file_cnt)
		check_file(&files[i]);
}

/* Number of workers that did not end well. */
static int run_workers(void)
{
	long cnt = sysconf(_SC_NPROCESSORS_ONLN);
	int status, bad = 0;

	for (long i = 0; i < cnt; i++) {
		pid_t pid = fork();

		if (!pid) {
			work();
			exit(0);
		}
		if (pid < 0)
			bad++;
	}
	while (wait(&status) > 0)
		bad += !WIFEXITED(status) || WEXITSTATUS(status);
	return bad;
}

static void print_kinds(const char *what, const _Atomic uint64_t kinds[UF_CFA_CNT])
{
	printf("%s by kind:", what);
	for (int i = 0; i < UF_CFA_CNT; i++)
		printf(" %s %" PRIu64, cfa_names[i], kinds[i]);
	printf("\n");
}

static void report(uint64_t start)
{
	const struct counters *c = counters;

	print_kinds("all rows", c->kinds);
	print_kinds("call sites", c->call_kinds);
	printf("fdes %" PRIu64 ", samples in between %" PRIu64 ", call ends %" PRIu64
	       ", files without CFI %" PRIu64 ", malformed %" PRIu64
	       ", questions that libdw has no answer to %" PRIu64 "\n",
	       c->fdes, c->samples, c->call_ends, c->no_cfi, c->malformed, c->unknown);
	printf("all rows: %" PRIu64 ", %.1f MB, built in %.2f s; "
	       "call sites: %" PRIu64 ", %.1f MB, built in %.2f s\n",
	       c->all_rows, (double)c->all_rows * 8 / 1e6, (double)c->all_ns / 1e9, c->call_rows,
	       (double)c->call_rows * 8 / 1e6, (double)c->call_ns / 1e9);
	printf("libdw %.2f s; of processor time all of these; elapsed %.2f s\n", (double)c->libdw_ns / 1e9,
	       (double)(read_clock_ns(CLOCK_MONOTONIC) - start) / 1e9);
	printf("%" PRIu64 " files, %" PRIu64 " rows compared, %" PRIu64 " mismatches, %" PRIu64
	       " unsupported (expression %" PRIu64 ", register %" PRIu64
	       ", return address %" PRIu64 ", range %" PRIu64 ")\n",
	       c->files, c->rows, c->mismatches,
	       c->expressions + c->registers + c->return_addresses + c->ranges, c->expressions,
	       c->registers, c->return_addresses, c->ranges);
}

int main(int argc, char **argv)
{
	static const char *const defaults[] = { "/usr/lib", "/usr/bin", NULL };
	uint64_t start = read_clock_ns(CLOCK_MONOTONIC);
	int first = 1, bad;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* the workers' lines stay whole */
	is_verbose = argc > 1 && !strcmp(argv[1], "-v");
	first += is_verbose;
	files = calloc(FILES_MAX, sizeof(*files));
	counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!files || counters == MAP_FAILED)
		return 1;
	for (const char *const *dir = first < argc ? (const char *const *)argv + first : defaults;
	     *dir; dir++)
		nftw(*dir, add_file, 64, FTW_PHYS);
	sort_files();
	bad = run_workers();
	report(start);
	return bad || counters->mismatches || counters->failed || !counters->rows;
}
