/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "render/application.h"

#include <string.h>

#include "snapshot/snapshot.h"

/* Where distributions, pip, virtual environments and pyenv put what they install. */
static const char *const installed[] = {
	"/site-packages/", "/dist-packages/", "/lib/python3", "/lib64/python3", "/lib/pypy3",
};

/* /usr/bin/gunicorn, venv/bin/celery: made by the installer, and outermost in every stack. */
static bool is_in_bin(const char *path)
{
	const char *name = strrchr(path, '/');

	return name && name - path >= 4 && !memcmp(name - 4, "/bin", 4);
}

/* <frozen importlib._bootstrap> and generated code, but not what was typed or given by -c. */
static bool is_made_up(const char *path)
{
	return path[0] == '<' && strcmp(path, "<string>") && strcmp(path, "<stdin>");
}

static bool is_application(const struct snapshot_frame *frame)
{
	if (frame->kind != FRAME_PYTHON || !*frame->file || is_made_up(frame->file) ||
	    is_in_bin(frame->file))
		return false;
	for (size_t i = 0; i < sizeof(installed) / sizeof(installed[0]); i++)
		if (strstr(frame->file, installed[i]))
			return false;
	return true;
}

struct application application__find(const struct snapshot_site *site)
{
	struct application app = {0};

	for (uint32_t i = 0; site->frames && i < site->frame_cnt; i++) {
		const struct snapshot_frame *frame = &site->frames[i];

		if (is_application(frame)) {
			app.innermost = app.is_known ? app.innermost : i;
			app.outermost = i;
			app.is_known = true;
		} else if (frame->kind == FRAME_PYTHON && !app.has_python && !app.is_known) {
			app.innermost = app.outermost = i;
		}
		app.has_python |= frame->kind == FRAME_PYTHON;
	}
	return app;
}
