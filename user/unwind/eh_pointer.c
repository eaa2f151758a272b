/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <dwarf.h>

#include "unwind/eh_pointer.h"

static uint64_t read_format(struct cursor *c, uint8_t encoding)
{
	switch (EH_POINTER_FORMAT(encoding)) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_signed:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		return cursor__uint(c, 8);
	case DW_EH_PE_udata4:
		return cursor__uint(c, 4);
	case DW_EH_PE_sdata4:
		return (uint64_t)(int32_t)cursor__uint(c, 4);
	case DW_EH_PE_udata2:
		return cursor__uint(c, 2);
	case DW_EH_PE_sdata2:
		return (uint64_t)(int16_t)cursor__uint(c, 2);
	case DW_EH_PE_uleb128:
		return cursor__uleb(c);
	case DW_EH_PE_sleb128:
		return (uint64_t)cursor__sleb(c);
	default:
		cursor__fail(c);
		return 0;
	}
}

uint64_t eh_pointer__read(struct cursor *c, uint8_t encoding, uint64_t vaddr)
{
	switch (encoding & ~EH_POINTER_FORMAT(encoding)) {
	case 0:
		return read_format(c, encoding);
	case DW_EH_PE_pcrel:
		return vaddr + read_format(c, encoding);
	default:
		cursor__fail(c);
		return 0;
	}
}

void eh_pointer__skip(struct cursor *c, uint8_t encoding)
{
	if (encoding == DW_EH_PE_omit)
		return;
	if ((encoding & 0x70) == DW_EH_PE_aligned)
		cursor__fail(c);
	read_format(c, encoding);
}
