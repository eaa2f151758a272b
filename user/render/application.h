/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_RENDER_APPLICATION_H
#define UNFREED_RENDER_APPLICATION_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whose code a Python frame is. Of fifty frames of a request in a web service a
 * few are the application's; the framework's, the server's and the standard
 * library's are the same in each. Told apart by where the file is: what was
 * installed is a library, whatever else is the application.
 */

struct snapshot_site;

struct application {
	bool has_python; /* any Python frame */
	bool is_known;   /* a frame of the application */
	uint32_t innermost, outermost; /* indexes of its frames; without any, of the innermost Python frame */
};

struct application application__find(const struct snapshot_site *site);

#endif
