/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_SITE_ID_H
#define UNFREED_SNAPSHOT_SITE_ID_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A site's id is a hash of what the site is: the executable, the frames by what
 * they name (Python: function, file, line; native: the file's build-id and the
 * offset), how the stack ends, the kind of its blocks. So it is the same in every process of a service,
 * in every report, and in the next trace of the same build. Two sites of one id
 * are one site: with a million of them the chance that any two differ in truth
 * is 1 in 37 million.
 *
 * Numbers and texts are added one after another, beginning with SITE_ID_NEW.
 */
#define SITE_ID_NEW 0x9e3779b97f4a7c15ULL

/* Multiply-xorshift: each bit of the number may change each bit of the id. */
static inline uint64_t site_id__add(uint64_t id, uint64_t number)
{
	id ^= number;
	id *= 0xff51afd7ed558ccdULL;
	id ^= id >> 32;
	id *= 0xc4ceb9fe1a85ec53ULL;
	return id ^ (id >> 29);
}

/* The length counts: "a", "bc" is not "ab", "c". */
static inline uint64_t site_id__add_bytes(uint64_t id, const char *bytes, size_t size)
{
	uint64_t word = 0;

	for (size_t i = 0; i < size; i++) {
		word = word << 8 | (unsigned char)bytes[i];
		if (i % 8 == 7) {
			id = site_id__add(id, word);
			word = 0;
		}
	}
	return site_id__add(site_id__add(id, word), size);
}

static inline uint64_t site_id__add_text(uint64_t id, const char *text)
{
	return site_id__add_bytes(id, text, strlen(text));
}

#endif
