/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * A Dwfl a process, whose modules are reported when a walk first comes to
 * them: what is mapped at an address depends on the time. A module that does
 * not fit the mappings of a sample's time has the process's Dwfl made anew.
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

#define MAX_PROCESSES 64 /* kept at a time; the oldest goes */

struct process {
	pid_t pid;
	Dwfl *dwfl;
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
	bool was_exact;
	bool is_stale; /* a module does not fit the mappings */
	bool is_retry;
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

/* Where the file was loaded that has this mapping: added to its virtual addresses. */
static bool load_bias(Elf *elf, const struct mapping *mapping, uint64_t *bias)
{
	size_t cnt;

	if (elf_getphdrnum(elf, &cnt))
		return false;
	for (size_t i = 0; i < cnt; i++) {
		GElf_Phdr phdr;

		if (!gelf_getphdr(elf, i, &phdr) || phdr.p_type != PT_LOAD ||
		    !(phdr.p_flags & PF_X) || mapping->file_offset >= phdr.p_offset + phdr.p_filesz ||
		    mapping->file_offset + (mapping->end - mapping->start) <= phdr.p_offset)
			continue;
		*bias = mapping->start - mapping->file_offset + phdr.p_offset - phdr.p_vaddr;
		return true;
	}
	return false;
}

static bool module_fits(Dwfl_Module *module, const struct mapping *mapping)
{
	void **userdata;
	GElf_Addr bias;
	uint64_t wanted;
	Elf *elf;

	dwfl_module_info(module, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
	elf = dwfl_module_getelf(module, &bias);
	return *userdata == mapping->file && elf && load_bias(elf, mapping, &wanted) &&
	       wanted == bias;
}

static void report_file(struct process *process, const struct mapping *mapping)
{
	int fd = mapping->file->fd < 0 ? -1 : fcntl(mapping->file->fd, F_DUPFD_CLOEXEC, 0);
	Dwfl_Module *module = NULL;
	uint64_t bias;
	void **userdata;
	Elf *elf;

	if (fd < 0)
		return;
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (elf && load_bias(elf, mapping, &bias))
		module = dwfl_report_elf(process->dwfl, mapping->file->path, mapping->file->path, fd,
					 bias, true);
	elf_end(elf);
	if (!module) {
		close(fd);
		return;
	}
	dwfl_module_info(module, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
	*userdata = mapping->file;
	dwfl_report_end(process->dwfl, NULL, NULL);
}

static void report_vdso(struct truth *truth, struct process *process)
{
	int fd = fcntl(truth->vdso_fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0 && !dwfl_report_elf(process->dwfl, VDSO_NAME, VDSO_NAME, fd,
					process->vdso_start, true))
		close(fd);
	dwfl_report_end(process->dwfl, NULL, NULL);
}

/* Has libdw look at the right file for this address. False: it has another one. */
static bool prepare_module(struct truth *truth, uint64_t address)
{
	struct process *process = truth->process;
	Dwfl_Module *module = dwfl_addrmodule(process->dwfl, address);
	const struct mapping *mapping;

	if (address >= process->vdso_start && address < process->vdso_end) {
		if (!module)
			report_vdso(truth, process);
		return true;
	}
	mapping = mapping_log__find(truth->log, process->pid, address, truth->sample->time_ns);
	if (!mapping || !mapping->file->inode)
		return !module;
	if (module)
		return module_fits(module, mapping);
	report_file(process, mapping);
	return true;
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

	if (out->cnt == TRUTH_MAX_FRAMES || !dwfl_frame_pc(state, &pc, &is_exact))
		return DWARF_CB_ABORT;
	if (!prepare_module(truth, pc - !is_exact) && !truth->is_retry) {
		truth->is_stale = true;
		return DWARF_CB_ABORT;
	}
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

static bool process__init(struct truth *truth, struct process *process, pid_t pid)
{
	process__release(process);
	process->pid = pid;
	process->dwfl = dwfl_begin(&dwfl_callbacks);
	if (!process->dwfl ||
	    !dwfl_attach_state(process->dwfl, truth->self, pid, &thread_callbacks, truth)) {
		process__release(process);
		return false;
	}
	find_vdso(process);
	return true;
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
	if (!process__init(truth, oldest, pid))
		return NULL;
	oldest->used = ++truth->tick;
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

	out->cnt = 0;
	out->is_cut = false;
	out->error = NULL;
	truth->is_stale = false;
	result = dwfl_getthread_frames(truth->process->dwfl, truth->process->pid, on_frame, truth);
	if (result < 0)
		out->error = dwfl_errmsg(-1);
	else if (result)
		out->error = "stopped at the most frames";
}

void truth__walk(struct truth *truth, const struct truth_sample *sample, struct truth_stack *out)
{
	truth->sample = sample;
	truth->out = out;
	truth->is_retry = false;
	truth->process = process_of(truth, sample->tgid);
	if (truth->process) {
		walk(truth);
		if (!truth->is_stale)
			return;
		truth->is_retry = true;
		if (process__init(truth, truth->process, sample->tgid)) {
			truth->process->used = ++truth->tick;
			walk(truth);
			return;
		}
	}
	*out = (struct truth_stack){.error = "libdw cannot be set up"};
}
