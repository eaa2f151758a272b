/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "render/render.h"

#include <string.h>

const struct render_format render_formats[] = {
	{ "text", "for people", render_text },
	{ "json", "one object a report, one a line", render_json },
	{ NULL, NULL, NULL },
};

const struct render_format *render_format__find(const char *name)
{
	for (const struct render_format *format = render_formats; format->name; format++) {
		if (strcmp(format->name, name) == 0)
			return format;
	}
	return NULL;
}
