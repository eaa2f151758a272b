/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_WORD_SPACE_H
#define UNFREED_UNWIND_WORD_SPACE_H

#include <stdint.h>

/*
 * Who has which part of a space of words: first fit, neighbours joined again
 * when they are free. Knows nothing of what the words hold.
 */

struct word_space;

/* NULL with errno ENOMEM. */
struct word_space *word_space__new(uint32_t word_cnt);
/* Takes NULL. */
void word_space__free(struct word_space *space);
/* The first word of a range of cnt words (> 0), or -ENOSPC, -ENOMEM. */
int64_t word_space__take(struct word_space *space, uint32_t cnt);
/* Gives back a whole range that was taken. 0, or -ENOMEM: it is lost then. */
int word_space__give(struct word_space *space, uint32_t first, uint32_t cnt);
/* Words that are free. */
uint32_t word_space__free_cnt(const struct word_space *space);

#endif
