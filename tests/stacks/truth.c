/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * A Dwfl a process. Modules are added when a walk first comes to them, and
 * dropped when they do not fit the mappings of a sample's time; then the Dwfl
 * is made anew and the walk begins again.
 */
#include "truth.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/mapping_log.h"
#include "target/vdso.h"

#define MAX_PROCESSES 64   /* kept at a time; the oldest goes */
#define MAX_MODULES   1024 /* of a process */
#define MAX_ROUNDS    200  /* of one walk, each with another set of modules */

#define MAX_CODE      8    /* executable segments of a file */

/* An ELF file in a process. */
struct module {
	const struct mapped_file *file; /* NULL: the vDSO */
	uint64_t bias;                  /* added to its virtual addresses */
	uint64_t start, end;            /* where it is loaded */
	struct code {
		uint64_t offset, size, vaddr;
	} code[MAX_CODE];
	uint32_t code_cnt;
	bool is_fixed;                  /* linked for fixed addresses */
};

struct process {
	pid_t pid;
	Dwfl *dwfl;       /* NULL: to be made */
	bool is_outdated; /* the Dwfl has other modules than these */
	struct module *modules;
	uint32_t module_cnt;
	uint64_t vdso_start, vdso_end;
	uint64_t used; /* tick of its last use */
};

struct truth {
	const struct mapping_log *log;
	int self_fd, vdso_fd;
	Elf *self; /* tells libdw the architecture */
	uint64_t tick;
	struct process processes[MAX_PROCESSES];
	/* the walk in progress */
	struct process *process;
	const struct truth_sample *sample;
	struct truth_stack *out;
	bool was_exact; /* the last frame's pc */
};

static int no_debuginfo(Dwfl_Module *mod, void **userdata, const char *modname, Dwarf_Addr base,
			const char *file_name, const char *link, GElf_Word crc, char **out)
{
	(void)mod, (void)userdata, (void)modname, (void)base;
	(void)file_name, (void)link, (void)crc, (void)out;
	return -1;
}

static int no_elf(Dwfl_Module *mod, void **userdata, const char *modname, Dwarf_Addr base,
		  char **file_name, Elf **elf)
{
	(void)mod, (void)userdata, (void)modname, (void)base, (void)file_name, (void)elf;
	return -1;
}

static const Dwfl_Callbacks dwfl_callbacks = {
	.find_elf = no_elf, /* every module comes with its file */
	.find_debuginfo = no_debuginfo,
	.section_address = dwfl_offline_section_address,
};

/* ---- what libdw asks for ---- */

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
	(void)dwfl, (void)tid;
	*thread_arg = arg;
	return true;
}

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
	struct truth *truth = arg;

	(void)dwfl;
	if (*thread_arg)
		return 0;
	*thread_arg = arg;
	return truth->process->pid;
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
	const struct truth *truth = arg;
	Dwarf_Word regs[TRUTH_REG_CNT];

	for (int i = 0; i < TRUTH_REG_CNT; i++)
		regs[i] = truth->sample->regs[i];
	return dwfl_thread_state_registers(thread, 0, TRUTH_REG_CNT, regs);
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *arg)
{
	struct truth *truth = arg;
	const struct truth_sample *sample = truth->sample;
	uint64_t at = address - sample->stack_at;

	(void)dwfl;
	for (uint32_t i = 0; i < sample->slot_cnt && i < TRUTH_MAX_SLOTS; i++) {
		if (sample->slots[i].at != address)
			continue;
		*result = sample->slots[i].address;
		return true;
	}
	if (at >= sample->stack_bytes || at + sizeof(*result) > sample->stack_bytes) {
		truth->out->is_cut |= sample->stack_bytes == TRUTH_STACK_BYTES &&
				      address >= sample->stack_at;
		return false;
	}
	memcpy(result, sample->stack + at, sizeof(*result));
	return true;
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = read_word,
	.set_initial_registers = set_registers,
};

/* ---- modules ---- */

/* Where the file is loaded that has this mapping: UINT64_MAX if it is none of the module's code. */
static uint64_t bias_of(const struct module *module, const struct mapping *mapping)
{
	uint64_t size = mapping->end - mapping->start;

	for (uint32_t i = 0; i < module->code_cnt; i++) {
		const struct code *code = &module->code[i];

		if (mapping->file_offset < code->offset + code->size &&
		    code->offset < mapping->file_offset + size)
			return mapping->start - mapping->file_offset + code->offset - code->vaddr;
	}
	return UINT64_MAX;
}

/*
 * False: libdw cannot know anything about that code. It is not of an ELF file, or of one linked
 * for fixed addresses and mapped at others: V8 maps its built-in functions a second time, near
 * those that it compiles, and libdw would lose both.
 */
static bool module__init(struct module *module, const struct mapping *mapping)
{
	Elf *elf = mapping->file->fd < 0 ? NULL
					 : elf_begin(mapping->file->fd, ELF_C_READ_MMAP, NULL);
	uint64_t low = UINT64_MAX, high = 0;
	GElf_Ehdr header;
	size_t cnt;

	if (!elf || elf_getphdrnum(elf, &cnt))
		cnt = 0;
	for (size_t i = 0; i < cnt; i++) {
		GElf_Phdr phdr;

		if (!gelf_getphdr(elf, i, &phdr) || phdr.p_type != PT_LOAD)
			continue;
		if (phdr.p_vaddr < low)
			low = phdr.p_vaddr;
		if (phdr.p_vaddr + phdr.p_memsz > high)
			high = phdr.p_vaddr + phdr.p_memsz;
		if (phdr.p_flags & PF_X && module->code_cnt < MAX_CODE)
			module->code[module->code_cnt++] =
				(struct code){phdr.p_offset, phdr.p_filesz, phdr.p_vaddr};
	}
	module->is_fixed = elf && gelf_getehdr(elf, &header) && header.e_type == ET_EXEC;
	elf_end(elf);
	module->file = mapping->file;
	module->bias = bias_of(module, mapping);
	module->start = (low + module->bias) & -TRUTH_PAGE_BYTES;
	module->end = (high + module->bias + TRUTH_PAGE_BYTES - 1) & -TRUTH_PAGE_BYTES;
	return module->bias != UINT64_MAX && (!module->is_fixed || !module->bias);
}

static void add_module(struct process *process, const struct module *module)
{
	struct module *modules;

	if (process->module_cnt >= MAX_MODULES)
		return;
	modules = reallocarray(process->modules, process->module_cnt + 1, sizeof(*modules));
	if (!modules)
		return;
	modules[process->module_cnt++] = *module;
	process->modules = modules;
	process->is_outdated = true;
}

/* Drops what was loaded there before. */
static void drop_modules(struct process *process, uint64_t start, uint64_t end)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < process->module_cnt; i++)
		if (process->modules[i].end <= start || process->modules[i].start >= end)
			process->modules[kept++] = process->modules[i];
	process->is_outdated |= kept != process->module_cnt;
	process->module_cnt = kept;
}

static void add_file(struct process *process, const struct mapping *mapping)
{
	struct module module = {0};

	for (uint32_t i = 0; i < process->module_cnt; i++)
		if (process->modules[i].file == mapping->file &&
		    process->modules[i].bias == bias_of(&process->modules[i], mapping))
			return;
	if (!module__init(&module, mapping))
		return;
	drop_modules(process, module.start, module.end);
	add_module(process, &module);
}

static void add_vdso(struct process *process)
{
	const struct module module = {
		.bias = process->vdso_start,
		.start = process->vdso_start,
		.end = process->vdso_end,
	};

	for (uint32_t i = 0; i < process->module_cnt; i++)
		if (!process->modules[i].file)
			return;
	add_module(process, &module);
}

/* Sees to it that libdw will look for an address in the right file. */
static void prepare_module(struct truth *truth, uint64_t address)
{
	struct process *process = truth->process;
	const struct mapping *mapping =
		mapping_log__find(truth->log, process->pid, address, truth->sample->time_ns);

	if (address >= process->vdso_start && address < process->vdso_end)
		add_vdso(process);
	else if (mapping && mapping->file->inode)
		add_file(process, mapping);
	else if (mapping)
		drop_modules(process, address, address + 1);
}

static void report_module(const struct truth *truth, struct process *process,
			  const struct module *module)
{
	const char *name = module->file ? module->file->path : VDSO_NAME;
	int fd = fcntl(module->file ? module->file->fd : truth->vdso_fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0 && !dwfl_report_elf(process->dwfl, name, name, fd, module->bias, true))
		close(fd);
}

static bool make_dwfl(struct truth *truth, struct process *process)
{
	if (process->dwfl)
		dwfl_end(process->dwfl);
	process->dwfl = dwfl_begin(&dwfl_callbacks);
	process->is_outdated = false;
	if (!process->dwfl)
		return false;
	for (uint32_t i = 0; i < process->module_cnt; i++)
		report_module(truth, process, &process->modules[i]);
	dwfl_report_end(process->dwfl, NULL, NULL);
	return dwfl_attach_state(process->dwfl, truth->self, process->pid, &thread_callbacks,
				 truth);
}

/*
 * libdw takes three kinds of pc for exact: the first frame's (as it is: the
 * call has returned), the signal trampoline's, and that of the frame below the
 * trampoline, which the signal has interrupted.
 */
static bool is_interrupted(const struct truth *truth)
{
	const struct truth_stack *out = truth->out;

	return out->cnt > 1 && truth->was_exact && !out->frames[out->cnt - 1].is_interrupted;
}

static int on_frame(Dwfl_Frame *state, void *arg)
{
	struct truth *truth = arg;
	struct truth_stack *out = truth->out;
	bool is_exact;
	Dwarf_Addr pc;

	if (out->cnt == TRUTH_MAX_FRAMES || !dwfl_frame_pc(state, &pc, NULL))
		return DWARF_CB_ABORT;
	prepare_module(truth, pc - 1);
	/* To tell whether the pc is exact libdw unwinds the frame: not before it has the module. */
	if (truth->process->is_outdated || !dwfl_frame_pc(state, &pc, &is_exact))
		return DWARF_CB_ABORT;
	out->frames[out->cnt].pc = pc;
	out->frames[out->cnt].is_interrupted = is_exact && is_interrupted(truth);
	truth->was_exact = is_exact;
	out->cnt++;
	return DWARF_CB_OK;
}

/* ---- processes ---- */

static void process__release(struct process *process)
{
	if (process->dwfl)
		dwfl_end(process->dwfl);
	free(process->modules);
	*process = (struct process){0};
}

/* Its vDSO is in no log. A process that has ended is taken to have had no frames there. */
static void find_vdso(struct process *process)
{
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)process->pid);
	file = fopen(path, "re");
	while (file && getline(&line, &size, file) > 0)
		if (strstr(line, VDSO_NAME) &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &process->vdso_start,
			   &process->vdso_end) != 2)
			process->vdso_start = process->vdso_end = 0;
	free(line);
	if (file)
		fclose(file);
}

static struct process *process_of(struct truth *truth, pid_t pid)
{
	struct process *oldest = &truth->processes[0];

	for (int i = 0; i < MAX_PROCESSES; i++) {
		struct process *process = &truth->processes[i];

		if (process->pid == pid) {
			process->used = ++truth->tick;
			return process;
		}
		if (process->used < oldest->used)
			oldest = process;
	}
	process__release(oldest);
	oldest->pid = pid;
	oldest->used = ++truth->tick;
	oldest->is_outdated = true;
	find_vdso(oldest);
	return oldest;
}

/* ---- */

/* libdw reads files; the vDSO is none. */
static int make_vdso_file(void)
{
	size_t size;
	const void *image = vdso_image(&size);
	int fd = memfd_create("vdso", MFD_CLOEXEC);

	if (fd >= 0 && image && write(fd, image, size) != (ssize_t)size) {
		close(fd);
		return -1;
	}
	return fd;
}

struct truth *truth__new(const struct mapping_log *log)
{
	struct truth *truth = calloc(1, sizeof(*truth));

	if (!truth)
		return NULL;
	elf_version(EV_CURRENT);
	truth->log = log;
	truth->vdso_fd = make_vdso_file();
	truth->self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	truth->self = elf_begin(truth->self_fd, ELF_C_READ, NULL);
	if (truth->self && truth->vdso_fd >= 0)
		return truth;
	truth__free(truth);
	errno = EIO;
	return NULL;
}

void truth__free(struct truth *truth)
{
	if (!truth)
		return;
	for (int i = 0; i < MAX_PROCESSES; i++)
		process__release(&truth->processes[i]);
	elf_end(truth->self);
	if (truth->self_fd >= 0)
		close(truth->self_fd);
	if (truth->vdso_fd >= 0)
		close(truth->vdso_fd);
	free(truth);
}

static void walk(struct truth *truth)
{
	struct truth_stack *out = truth->out;
	int result;

	*out = (struct truth_stack){0};
	result = dwfl_getthread_frames(truth->process->dwfl, truth->process->pid, on_frame, truth);
	if (result < 0)
		out->error = dwfl_errmsg(-1);
	else if (result)
		out->error = "stopped at the most frames";
}

void truth__walk(struct truth *truth, const struct truth_sample *sample, struct truth_stack *out)
{
	struct process *process = process_of(truth, sample->tgid);

	truth->sample = sample;
	truth->out = out;
	truth->process = process;
	for (int i = 0; i < MAX_ROUNDS; i++) {
		if (process->is_outdated && !make_dwfl(truth, process))
			break;
		walk(truth);
		if (!process->is_outdated)
			return;
	}
	*out = (struct truth_stack){.error = "libdw cannot be set up"};
}

const char *truth__symbol(struct truth *truth, uint64_t address)
{
	Dwfl_Module *module =
		truth->process->dwfl ? dwfl_addrmodule(truth->process->dwfl, address) : NULL;

	return module ? dwfl_module_addrname(module, address) : NULL;
}
