/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "sampled_set.h"

#define FULL_MARK UINT8_MAX /* counted no further, up or down */

static uintptr_t *window_of(struct sampled_set *set, uintptr_t address)
{
	return &set->slots[address * 0x9e3779b97f4a7c15 >> 47 & (SAMPLED_SET_SLOTS - 1)];
}

static void change_mark(uint8_t *mark, int by)
{
	uint8_t old = __atomic_load_n(mark, __ATOMIC_RELAXED);

	while (old != FULL_MARK &&
	       !__atomic_compare_exchange_n(mark, &old, (uint8_t)(old + by), true, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED))
		;
}

static bool replace(uintptr_t *slot, uintptr_t from, uintptr_t to)
{
	return __atomic_load_n(slot, __ATOMIC_ACQUIRE) == from &&
	       __atomic_compare_exchange_n(slot, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static bool has(const uintptr_t *window, uintptr_t address)
{
	for (int i = 0; i < SAMPLED_SET_WINDOW; i++)
		if (__atomic_load_n(&window[i], __ATOMIC_ACQUIRE) == address)
			return true;
	return false;
}

bool sampled_set__add(struct sampled_set *set, uintptr_t address)
{
	uintptr_t *window = window_of(set, address);

	/* Freed unseen, and handed out again. */
	if (sampled_set__may_have(set, address) && has(window, address))
		return true;
	change_mark(sampled_set__mark(set, address), 1);
	for (int i = 0; i < SAMPLED_SET_WINDOW; i++)
		if (replace(&window[i], 0, address))
			return true;
	change_mark(sampled_set__mark(set, address), -1);
	return false;
}

bool sampled_set__remove(struct sampled_set *set, uintptr_t address)
{
	uintptr_t *window = window_of(set, address);

	for (int i = 0; i < SAMPLED_SET_WINDOW; i++) {
		if (!replace(&window[i], address, 0))
			continue;
		change_mark(sampled_set__mark(set, address), -1);
		return true;
	}
	return false;
}
