/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_STR_POOL_H
#define UNFREED_SYM_STR_POOL_H

#include <stddef.h>

/*
 * Interned strings: equal text gives the same pointer, which lives as long as
 * the pool. Debug information comes and goes with the cache; the names that
 * were handed out stay here.
 */

struct str_pool;

/* Returns NULL with errno on failure. */
struct str_pool *str_pool__new(void);
/* Takes NULL. Frees every string. */
void str_pool__free(struct str_pool *pool);

/*
 * The pool's copy of the first len bytes of text (or up to its NUL), cut at
 * STR_POOL_MAX_LEN. "" when memory or the pool's maximum is used up: a lost
 * name must not end a report.
 */
const char *str_pool__intern(struct str_pool *pool, const char *text, size_t len);

size_t str_pool__bytes(const struct str_pool *pool);

#define STR_POOL_MAX_LEN   4096
#define STR_POOL_MAX_BYTES ((size_t)256 << 20)

#endif
