/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe/placement.h"

/*
 * Goal of this test: the chosen place is the first emulated instruction that
 * every call passes exactly once with its arguments, stack pointer and return
 * address as at the entry; and whatever breaks that sends the probe back to the
 * entry. Code is assembled by hand, so that the answers do not depend on the
 * machine's libraries.
 */

#define STEPPED UINT32_MAX /* the entry, single-stepped */

static void check_code(enum elf_arch arch, const char *asm_text, const void *code, size_t len,
		       int arg_cnt, uint32_t offset)
{
	struct placement p;

	ck_assert_int_eq(placement__choose(arch, code, len, arg_cnt, &p), 0);
	ck_assert_msg(p.emulated == (offset != STEPPED), "%s: emulated %d: %s", asm_text,
		      p.emulated, p.why);
	ck_assert_msg(p.offset == (offset == STEPPED ? 0 : offset), "%s: +%u: %s", asm_text,
		      p.offset, p.why);
	ck_assert_msg(p.insn[0] && p.why[0], "%s: nothing to show", asm_text);
}

/* asm_text documents the bytes. */
#define X86(arg_cnt, offset, asm_text, bytes) \
	check_code(ELF_ARCH_X86_64, asm_text, bytes, sizeof(bytes) - 1, arg_cnt, offset)

#define ARM64(arg_cnt, offset, asm_text, ...)                                             \
	do {                                                                              \
		const uint32_t words_[] = { __VA_ARGS__ };                                \
		check_code(ELF_ARCH_AARCH64, asm_text, words_, sizeof(words_), arg_cnt, offset); \
	} while (0)

START_TEST(emulated_entry_is_used_as_it_is)
{
	X86(3, 0, "push r12; push rbp", "\x41\x54\x55\xc3");
	X86(3, 0, "push rbx", "\x53\xc3");
	X86(3, 0, "push rsp", "\x54\xc3");
	X86(3, 0, "jmp rel32", "\xe9\x00\x01\x00\x00");
	X86(3, 0, "jmp rel8", "\xeb\x10");
	X86(3, 0, "call rel32", "\xe8\x00\x01\x00\x00\xc3");
	X86(3, 0, "jz rel8", "\x74\x10\xc3");
	X86(3, 0, "jnz rel32", "\x0f\x85\x00\x01\x00\x00\xc3");
	X86(3, 0, "nop", "\x90\xc3");
	X86(3, 0, "nop (66 90)", "\x66\x90\xc3");
}
END_TEST

START_TEST(first_emulated_instruction_behind_harmless_ones_is_used)
{
	X86(1, 3, "test rdi,rdi; jz; push rbp", "\x48\x85\xff\x74\x10\x55\xc3");
	X86(3, 7, "cmp byte [rip+x],0; push rbx", "\x80\x3d\x71\x0e\x14\x00\x00\x53\xc3");
	X86(3, 4, "endbr64; push rbp", "\xf3\x0f\x1e\xfa\x55\xc3");
	X86(2, 7, "mov rax,rdi; lea rcx,[rdi+8]; push rbx", "\x48\x89\xf8\x48\x8d\x4f\x08\x53\xc3");
	X86(1, 9, "mov rax,fs:0; jmp", "\x64\x48\x8b\x04\x25\x00\x00\x00\x00\xe9\x00\x01\x00\x00");
	X86(1, 7, "mov rax,[rip]; call", "\x48\x8b\x05\x00\x00\x00\x00\xe8\x00\x01\x00\x00\xc3");
}
END_TEST

START_TEST(instructions_the_kernel_steps_are_never_places)
{
	X86(1, STEPPED, "mov rax,rdi; ret", "\x48\x89\xf8\xc3");
	X86(1, STEPPED, "xor eax,eax; pop rcx; ret", "\x31\xc0\x59\xc3");
	X86(1, STEPPED, "push imm8", "\x6a\x01\x59\xc3");
	X86(1, STEPPED, "push [rip]", "\xff\x35\x00\x00\x00\x00\x59\xc3");
	X86(1, STEPPED, "jmp [rip]", "\xff\x25\x00\x00\x00\x00");
	X86(1, STEPPED, "jrcxz", "\xe3\x10\xc3");
	X86(1, STEPPED, "rex.W push rbp", "\x48\x55\xc3");
	X86(1, STEPPED, "66 push bp", "\x66\x55\xc3");
	X86(1, STEPPED, "66 jmp", "\x66\xe9\x00\x01\x00\x00\xc3");
	X86(1, STEPPED, "xchg r8,rax, a nop but for its REX", "\x49\x90\xc3");
	X86(1, STEPPED, "endbr64; ret", "\xf3\x0f\x1e\xfa\xc3");
}
END_TEST

START_TEST(any_write_to_an_argument_register_ends_the_search)
{
	X86(1, STEPPED, "mov rdi,rsi; push", "\x48\x89\xf7\x55\xc3");
	X86(1, STEPPED, "mov edi,1; push", "\xbf\x01\x00\x00\x00\x55\xc3");
	X86(1, STEPPED, "mov dil,1; push", "\x40\xb7\x01\x55\xc3");
	X86(1, STEPPED, "mov di,1; push", "\x66\xbf\x01\x00\x55\xc3");
	X86(2, STEPPED, "mov sil,1; push", "\x40\xb6\x01\x55\xc3");
	X86(3, STEPPED, "mov dh,1; push", "\xb6\x01\x55\xc3");
	X86(3, STEPPED, "cdq; push", "\x99\x55\xc3");
	X86(3, STEPPED, "mul rcx; push", "\x48\xf7\xe1\x55\xc3");
	X86(3, STEPPED, "div rcx; push", "\x48\xf7\xf1\x55\xc3");
	X86(3, STEPPED, "cpuid; push", "\x0f\xa2\x55\xc3");
	X86(3, STEPPED, "rdtsc; push", "\x0f\x31\x55\xc3");
	X86(1, STEPPED, "xchg rax,rdi; push", "\x48\x97\x55\xc3");
	X86(1, STEPPED, "cmovz rdi,rax; push", "\x48\x0f\x44\xf8\x55\xc3");
	X86(1, STEPPED, "lodsb reads and moves rsi, stosb rdi; push", "\xaa\x55\xc3");
	X86(2, STEPPED, "lodsb; push", "\xac\x55\xc3");
	X86(1, STEPPED, "xadd rdi,rax; push", "\x48\x0f\xc1\xc7\x55\xc3");
}
END_TEST

START_TEST(writes_to_registers_that_the_probe_does_not_read_are_harmless)
{
	X86(1, 3, "mov rsi,rdi; push", "\x48\x89\xfe\x55\xc3");
	X86(2, 5, "mov edx,1; push", "\xba\x01\x00\x00\x00\x55\xc3");
	X86(2, 3, "mul rcx; push", "\x48\xf7\xe1\x55\xc3");
	X86(1, 1, "lodsb; push", "\xac\x55\xc3");
	X86(0, 5, "mov edi,1; push", "\xbf\x01\x00\x00\x00\x55\xc3");
}
END_TEST

START_TEST(nothing_behind_a_move_of_the_stack_pointer_is_used)
{
	X86(1, STEPPED, "sub rsp,24; jmp", "\x48\x83\xec\x18\xe9\x00\x01\x00\x00");
	X86(1, STEPPED, "push 0; push rbp", "\x6a\x00\x55\xc3");
	X86(1, STEPPED, "pushf; push rbp", "\x9c\x55\xc3");
	X86(1, STEPPED, "enter; push rbp", "\xc8\x10\x00\x00\x55\xc3");
	X86(1, STEPPED, "mov rsp,rax; push rbp", "\x48\x89\xc4\x55\xc3");
	X86(1, STEPPED, "mov rbp,rsp writes the frame pointer; push rbx", "\x48\x89\xe5\x53\xc3");
}
END_TEST

START_TEST(nothing_behind_a_branch_or_call_is_used)
{
	X86(1, STEPPED, "jrcxz; push", "\xe3\x10\x55\xc3");
	X86(1, STEPPED, "loop; push", "\xe2\x10\x55\xc3");
	X86(1, STEPPED, "call rax; push", "\xff\xd0\x55\xc3");
	X86(1, STEPPED, "jmp rax; push", "\xff\xe0\x55\xc3");
	X86(1, STEPPED, "ret; push", "\xc3\x55\xc3");
	X86(1, STEPPED, "syscall; push", "\x0f\x05\x55\xc3");
	X86(1, STEPPED, "ud2; push", "\x0f\x0b\x55\xc3");
	X86(1, STEPPED, "ud1; push", "\x0f\xb9\xc0\x55\xc3");
	X86(1, STEPPED, "int3; push", "\xcc\x55\xc3");
	X86(1, STEPPED, "xbegin; push", "\xc7\xf8\x00\x01\x00\x00\x55\xc3");
}
END_TEST

START_TEST(nothing_behind_a_store_that_others_see_is_used)
{
	X86(1, STEPPED, "mov [rip],rdi; push", "\x48\x89\x3d\x00\x01\x00\x00\x55\xc3");
	X86(1, STEPPED, "lock inc [rsi]; push", "\xf0\xff\x06\x55\xc3");
	X86(1, STEPPED, "mov [rsp],rax overwrites the return address; push",
	    "\x48\x89\x04\x24\x55\xc3");
	X86(1, STEPPED, "mov [rsp-4],rax overlaps it; push", "\x48\x89\x44\x24\xfc\x55\xc3");
	X86(1, 5, "mov [rsp-8],rax does not; push", "\x48\x89\x44\x24\xf8\x55\xc3");
	X86(1, STEPPED, "mov fs:[rsp-8],rax is elsewhere; push",
	    "\x64\x48\x89\x44\x24\xf8\x55\xc3");
	X86(1, STEPPED, "mov [rsp+rcx-8],rax is anywhere; push", "\x48\x89\x44\x0c\xf8\x55\xc3");
}
END_TEST

START_TEST(branches_into_the_stretch_send_the_probe_to_the_entry)
{
	X86(1, STEPPED, "test rdi,rdi; push rbp; pop rbp; jmp -> push",
	    "\x48\x85\xff\x55\x5d\xeb\xfc\xc3");
	X86(1, STEPPED, "mov rax,rdi; test rdi,rdi; push; pop; jz -> test",
	    "\x48\x89\xf8\x48\x85\xff\x55\x5d\x74\xf9\xc3");
	X86(1, STEPPED, "test; push; pop; jmp rel32 -> push",
	    "\x48\x85\xff\x55\x5d\xe9\xf9\xff\xff\xff");
	X86(1, STEPPED, "test; push; pop; jz rel32 -> push",
	    "\x48\x85\xff\x55\x5d\x0f\x84\xf8\xff\xff\xff\xc3");
	X86(1, STEPPED, "test; push; pop; call -> push",
	    "\x48\x85\xff\x55\x5d\xe8\xf9\xff\xff\xff\xc3");
	X86(1, STEPPED, "test; push; pop; jrcxz -> push", "\x48\x85\xff\x55\x5d\xe3\xfc\xc3");
	X86(1, STEPPED, "test; jz -> itself", "\x48\x85\xff\x74\xfe\xc3");
}
END_TEST

START_TEST(branches_to_the_entry_or_past_the_place_are_no_obstacle)
{
	X86(1, 3, "test; push; pop; jmp -> entry", "\x48\x85\xff\x55\x5d\xeb\xf9\xc3");
	X86(1, 3, "test; push; pop; jmp -> pop", "\x48\x85\xff\x55\x5d\xeb\xfd\xc3");
	X86(1, 3, "test; push; pop; jmp -> before the entry", "\x48\x85\xff\x55\x5d\xeb\xf8\xc3");
	X86(1, 0, "push; pop; jmp -> entry", "\x55\x5d\xeb\xfc\xc3");
}
END_TEST

START_TEST(a_branch_is_found_behind_data_and_lost_boundaries)
{
	/* 06 is no instruction in 64-bit mode; the branch behind it starts inside "mov eax, imm" */
	X86(1, STEPPED, "test; push; ret; data; jmp -> push",
	    "\x48\x85\xff\x55\xc3\x06\xb8\xeb\xfa\x90\x90\xc3");
	X86(1, STEPPED, "test; push; ret; data; jrcxz -> push",
	    "\x48\x85\xff\x55\xc3\x06\xb8\xe3\xfa\x90\x90\xc3");
	X86(1, STEPPED, "test; push; ret; data; xbegin -> push",
	    "\x48\x85\xff\x55\xc3\x06\xb8\xc7\xf8\xf6\xff\xff\xff\xc3");
	/* no byte is undecodable, the rel32 jump hides in an immediate */
	X86(1, STEPPED, "test; push; ret; mov rax, imm64 that holds jmp -> push",
	    "\x48\x85\xff\x55\xc3\x48\xb8\x90\xe9\xf6\xff\xff\xff\x90\x90\xc3");
}
END_TEST

START_TEST(a_branch_at_the_far_end_of_the_code_is_found)
{
	static uint8_t code[(64 << 10) + 1];
	int32_t disp = 3 - (int32_t)sizeof(code) + 1;

	memset(code, 0x90, sizeof(code));
	memcpy(code, "\x48\x85\xff\x55", 4);
	check_code(ELF_ARCH_X86_64, "64 KiB", code, sizeof(code) - 1, 1, 3);
	check_code(ELF_ARCH_X86_64, "too long to look through", code, sizeof(code), 1, STEPPED);
	code[sizeof(code) - 6] = 0xe9;
	memcpy(code + sizeof(code) - 5, &disp, sizeof(disp));
	check_code(ELF_ARCH_X86_64, "jmp back in the last bytes", code, sizeof(code) - 1, 1,
		   STEPPED);
}
END_TEST

START_TEST(a_nop_of_recent_kernels_is_taken_only_if_nothing_better_comes)
{
	X86(1, 9, "endbr64; nopl (5); push", "\xf3\x0f\x1e\xfa\x0f\x1f\x44\x00\x00\x55\xc3");
	X86(1, 4, "endbr64; nopl (5); sub rsp",
	    "\xf3\x0f\x1e\xfa\x0f\x1f\x44\x00\x00\x48\x83\xec\x18\xc3");
	X86(1, 0, "nopw (6); ret", "\x66\x0f\x1f\x44\x00\x00\xc3");
	X86(1, 0, "nopl (3); ret", "\x0f\x1f\x00\xc3");
	X86(1, 0, "nopl (8); ret", "\x0f\x1f\x84\x00\x00\x00\x00\x00\xc3");
	X86(1, STEPPED, "nop dword [rax+1], not the assembler's; ret", "\x0f\x1f\x40\x01\xc3");
	X86(1, 3, "mov rax,rdi; nopl (3); nopl (5); ret",
	    "\x48\x89\xf8\x0f\x1f\x00\x0f\x1f\x44\x00\x00\xc3");
	X86(1, STEPPED, "nopl -> jumped to; ret", "\x48\x89\xf8\x0f\x1f\x00\xeb\xfb\xc3");
}
END_TEST

START_TEST(the_search_ends_within_reach_of_the_entry)
{
	uint8_t code[300];

	for (size_t i = 0; i + 3 <= sizeof(code); i += 3)
		memcpy(code + i, "\x48\x89\xf8", 3); /* mov rax, rdi */
	code[126] = 0x55;
	check_code(ELF_ARCH_X86_64, "push at +126", code, sizeof(code), 1, 126);
	memcpy(code + 126, "\x48\x89\xf8", 3);
	code[129] = 0x55;
	check_code(ELF_ARCH_X86_64, "push at +129", code, sizeof(code), 1, STEPPED);
}
END_TEST

static int choose(enum elf_arch arch, const char *code, size_t len, struct placement *out)
{
	return placement__choose(arch, (const uint8_t *)code, len, 1, out);
}

START_TEST(undecodable_code_is_refused_at_the_entry_and_ends_the_search_later)
{
	struct placement p;

	ck_assert_int_eq(choose(ELF_ARCH_X86_64, "\x06\x55", 2, &p), -EINVAL);
	ck_assert_uint_eq(p.offset, 0);
	ck_assert(!p.emulated);
	ck_assert_int_eq(choose(ELF_ARCH_X86_64, "", 0, &p), -EINVAL);
	ck_assert_int_eq(choose(ELF_ARCH_NONE, "\x55", 1, &p), -EINVAL);
	ck_assert_int_eq(choose(ELF_ARCH_X86_64, "\x48\x85", 2, &p), -EINVAL);
	ck_assert_int_eq(choose(ELF_ARCH_AARCH64, "\0\0\0\0", 4, &p), -EINVAL);
	X86(1, STEPPED, "mov rax,rdi; data; push", "\x48\x89\xf8\x06\x55\xc3");
	X86(1, STEPPED, "mov rax,rdi; half a test", "\x48\x89\xf8\x48\x85");
}
END_TEST

START_TEST(the_instruction_and_the_reason_are_told)
{
	struct placement p;

	choose(ELF_ARCH_X86_64, "\x48\x85\xff\x55\xc3", 5, &p);
	ck_assert_str_eq(p.insn, "push rbp");
	choose(ELF_ARCH_X86_64, "\x48\x83\xec\x18\xc3", 5, &p);
	ck_assert_str_eq(p.insn, "sub rsp, 0x18");
	ck_assert_str_eq(p.why, "sub rsp, 0x18 at +0 moves the stack pointer");
	choose(ELF_ARCH_X86_64, "\x48\x89\xf8\xbf\x01\0\0\0\x55", 9, &p);
	ck_assert_str_eq(p.insn, "mov rax, rdi");
	ck_assert_str_eq(p.why, "mov edi, 0x01 at +3 writes an argument register");
}
END_TEST

START_TEST(the_entry_can_be_asked_for)
{
	static const uint8_t stepped[] = { 0x48, 0x85, 0xff, 0x55 }, emulated[] = { 0x55 };
	struct placement p;

	ck_assert_int_eq(placement__at_entry(ELF_ARCH_X86_64, stepped, sizeof(stepped), &p), 0);
	ck_assert_uint_eq(p.offset, 0);
	ck_assert(!p.emulated);
	ck_assert_str_eq(p.insn, "test rdi, rdi");
	ck_assert_int_eq(placement__at_entry(ELF_ARCH_X86_64, emulated, sizeof(emulated), &p), 0);
	ck_assert(p.emulated);
}
END_TEST

START_TEST(arm64_simulated_entry_is_used_as_it_is)
{
	ARM64(3, 0, "cbz x0", 0xb4000880, 0xd65f03c0);
	ARM64(3, 0, "adrp x1", 0xb0000001, 0xd65f03c0);
	ARM64(3, 0, "b", 0x14000010);
	ARM64(3, 0, "bl", 0x94000010, 0xd65f03c0);
	ARM64(3, 0, "b.eq", 0x54000080, 0xd65f03c0);
	ARM64(3, 0, "tbnz w0, #3", 0x37180080, 0xd65f03c0);
	ARM64(3, 0, "br x16", 0xd61f0200);
	ARM64(3, 0, "ret", 0xd65f03c0);
	ARM64(3, 0, "nop; stp", 0xd503201f, 0xa9bc7bfd);
}
END_TEST

START_TEST(arm64_search_passes_what_leaves_arguments_and_stack_alone)
{
	ARM64(1, 4, "mov x3, x0; adrp x4", 0xaa0003e3, 0xb0000004, 0xa9bc7bfd);
	ARM64(2, 4, "cmp x0, x1; b.hi", 0xeb01001f, 0x54000088, 0xd65f03c0);
	ARM64(1, 4, "bti c; cbz x0", 0xd503245f, 0xb4000880, 0xd65f03c0);
	ARM64(1, 8, "mrs x3, tpidr_el0; ldr x4, [x3, #8]; cbz x4",
	    0xd53bd043, 0xf9400464, 0xb4000084);
	ARM64(1, 4, "mov w1, #1 (not an argument); cbz x0", 0x52800021, 0xb4000880, 0xd65f03c0);
	ARM64(1, 4, "subs x3, x0, #8 ; b.eq", 0xf1002003, 0x54000080, 0xd65f03c0);
	ARM64(1, 8, "nop; mov x3, x0; adrp x4, better than the nop",
	    0xd503201f, 0xaa0003e3, 0xb0000004);
}
END_TEST

START_TEST(arm64_search_ends_where_the_probe_would_lose_something)
{
	ARM64(1, STEPPED, "stp x29, x30, [sp, #-64]!; adrp x4", 0xa9bc7bfd, 0xb0000004);
	ARM64(1, STEPPED, "sub sp, sp, #32; adrp x4", 0xd10083ff, 0xb0000004);
	ARM64(1, STEPPED, "mov x0, x1; cbz x2", 0xaa0103e0, 0xb4000082);
	ARM64(2, STEPPED, "mov w1, #1; cbz x0", 0x52800021, 0xb4000880);
	ARM64(1, STEPPED, "mov x29, sp; adrp x4", 0x910003fd, 0xb0000004);
	ARM64(1, STEPPED, "mov x19, x30 copies the return address; adrp x4",
	    0xaa1e03f3, 0xb0000004);
	ARM64(1, STEPPED, "paciasp; adrp x4", 0xd503233f, 0xb0000004);
	ARM64(1, STEPPED, "str x1, [x0]; adrp x4", 0xf9000001, 0xb0000004);
	ARM64(1, STEPPED, "ldr x4, literal; adrp x4", 0x58000084, 0xb0000004);
	ARM64(1, STEPPED, "ldr x0, [x1]; adrp x4", 0xf9400020, 0xb0000004);
	ARM64(1, STEPPED, "ldp x3, x0, [x1]; adrp x4", 0xa9400023, 0xb0000004);
	ARM64(1, STEPPED, "mov x3, x0; bl loses the return address", 0xaa0003e3, 0x94000010);
	ARM64(1, STEPPED, "svc #0; adrp x4", 0xd4000001, 0xb0000004);
}
END_TEST

START_TEST(arm64_branches_into_the_stretch_send_the_probe_to_the_entry)
{
	ARM64(1, STEPPED, "mov; adrp; b -> adrp", 0xaa0003e3, 0xb0000004, 0x17ffffff);
	ARM64(1, STEPPED, "mov; adrp; cbz -> adrp", 0xaa0003e3, 0xb0000004, 0xb4ffffe0);
	ARM64(1, STEPPED, "mov; adrp; tbz -> adrp", 0xaa0003e3, 0xb0000004, 0x3607ffe0);
	ARM64(1, STEPPED, "mov; adrp; b.eq -> adrp", 0xaa0003e3, 0xb0000004, 0x54ffffe0);
	ARM64(1, 4, "mov; adrp; b -> entry", 0xaa0003e3, 0xb0000004, 0x17fffffe);
}
END_TEST

/* Any bytes: no crash, and an answer within them. Seed fixed; sanitizers watch. */
START_TEST(any_bytes_are_survived)
{
	unsigned int seed = 20240607;
	uint8_t code[257];

	for (int round = 0; round < 20000; round++) {
		enum elf_arch arch = round & 1 ? ELF_ARCH_X86_64 : ELF_ARCH_AARCH64;
		size_t len = (size_t)rand_r(&seed) % sizeof(code);
		uint8_t *exact = malloc(len ? len : 1); /* so that reading past it is seen */
		struct placement p;

		for (size_t i = 0; i < len; i++)
			code[i] = (uint8_t)(rand_r(&seed) >> 8);
		memcpy(exact, code, len);
		if (!placement__choose(arch, exact, len, round % 4, &p))
			ck_assert_uint_lt(p.offset, len);
		ck_assert_ptr_nonnull(memchr(p.insn, '\0', sizeof(p.insn)));
		ck_assert_ptr_nonnull(memchr(p.why, '\0', sizeof(p.why)));
		free(exact);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("placement");
	TCase *tcase = tcase_create("placement");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, emulated_entry_is_used_as_it_is);
	tcase_add_test(tcase, first_emulated_instruction_behind_harmless_ones_is_used);
	tcase_add_test(tcase, instructions_the_kernel_steps_are_never_places);
	tcase_add_test(tcase, any_write_to_an_argument_register_ends_the_search);
	tcase_add_test(tcase, writes_to_registers_that_the_probe_does_not_read_are_harmless);
	tcase_add_test(tcase, nothing_behind_a_move_of_the_stack_pointer_is_used);
	tcase_add_test(tcase, nothing_behind_a_branch_or_call_is_used);
	tcase_add_test(tcase, nothing_behind_a_store_that_others_see_is_used);
	tcase_add_test(tcase, branches_into_the_stretch_send_the_probe_to_the_entry);
	tcase_add_test(tcase, branches_to_the_entry_or_past_the_place_are_no_obstacle);
	tcase_add_test(tcase, a_branch_is_found_behind_data_and_lost_boundaries);
	tcase_add_test(tcase, a_branch_at_the_far_end_of_the_code_is_found);
	tcase_add_test(tcase, a_nop_of_recent_kernels_is_taken_only_if_nothing_better_comes);
	tcase_add_test(tcase, the_search_ends_within_reach_of_the_entry);
	tcase_add_test(tcase, undecodable_code_is_refused_at_the_entry_and_ends_the_search_later);
	tcase_add_test(tcase, the_instruction_and_the_reason_are_told);
	tcase_add_test(tcase, the_entry_can_be_asked_for);
	tcase_add_test(tcase, arm64_simulated_entry_is_used_as_it_is);
	tcase_add_test(tcase, arm64_search_passes_what_leaves_arguments_and_stack_alone);
	tcase_add_test(tcase, arm64_search_ends_where_the_probe_would_lose_something);
	tcase_add_test(tcase, arm64_branches_into_the_stretch_send_the_probe_to_the_entry);
	tcase_add_test(tcase, any_bytes_are_survived);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
