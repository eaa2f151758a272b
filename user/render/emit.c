/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "render/emit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Code points that show nothing of their own but change how the rest is shown. Ascending. */
static const struct {
	uint32_t first, last;
} hidden_ranges[] = {
	{ 0x0000, 0x001f }, /* C0 controls */
	{ 0x007f, 0x009f }, /* DEL and the C1 controls: 0x9b starts an escape sequence */
	{ 0x00ad, 0x00ad }, /* soft hyphen */
	{ 0x061c, 0x061c }, /* direction mark */
	{ 0x200b, 0x200f }, /* zero-width characters, direction marks */
	{ 0x2028, 0x202e }, /* line and paragraph separators, direction overrides */
	{ 0x2060, 0x206f }, /* invisible operators, direction isolates */
	{ 0xfe00, 0xfe0f }, /* variation selectors */
	{ 0xfeff, 0xfeff }, /* byte order mark */
	{ 0xfff0, 0xfffb }, /* specials, up to but not U+FFFC and U+FFFD */
	{ 0xe0000, 0xe0fff }, /* tags, variation selectors */
};

static bool is_hidden(uint32_t code)
{
	for (size_t i = 0; i < sizeof(hidden_ranges) / sizeof(hidden_ranges[0]); i++) {
		if (code >= hidden_ranges[i].first && code <= hidden_ranges[i].last)
			return true;
	}
	return false;
}

/*
 * Length of the UTF-8 sequence at str (1 - 4) and its code point; 0 if there is none: stray or
 * missing continuation bytes, overlong forms, surrogates, past U+10FFFF. The string's end stops it,
 * as 0 is no continuation byte.
 */
static size_t decode_utf8(const char *str, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char lead = (unsigned char)*str;
	size_t len = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

	if (lead > 0xf4 || !len)
		return 0;
	*code = len == 1 ? lead : lead & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)str[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | ((unsigned char)str[i] & 0x3f);
	}
	if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return len;
}

/* One character of *str, which moves past it. Returns its columns. */
static size_t put_text_unit(FILE *out, const char **str)
{
	uint32_t code = 0;
	size_t len = decode_utf8(*str, &code);
	bool escape = !len || is_hidden(code);
	const char *from = *str;

	if (!len)
		len = 1;
	*str += len;
	if (escape) {
		for (size_t i = 0; out && i < len; i++)
			fprintf(out, "\\x%02x", (unsigned char)from[i]);
		return 4 * len;
	}
	if (code == '\\') {
		if (out)
			fputs("\\\\", out);
		return 2;
	}
	if (out)
		fwrite(from, 1, len, out);
	return 1;
}

/* Columns that the whole would take, counted no further than past the limit. */
static size_t measure(const char *str, size_t limit)
{
	size_t columns = 0;

	while (*str && columns <= limit)
		columns += put_text_unit(NULL, &str);
	return columns;
}

size_t emit__text(FILE *out, const char *str, size_t max_columns)
{
	bool whole = measure(str, max_columns) <= max_columns;
	size_t room = whole ? max_columns : max_columns - 3;
	size_t columns = 0;

	while (*str) {
		const char *next = str;
		size_t width = put_text_unit(NULL, &next);

		if (columns + width > room)
			break;
		columns += put_text_unit(out, &str);
	}
	if (whole)
		return columns;
	if (out)
		fputs("...", out);
	return columns + 3;
}

static void put_json_escape(FILE *out, uint32_t code)
{
	if (code > 0xffff) { /* a surrogate pair */
		fprintf(out, "\\u%04x", 0xd800 + ((code - 0x10000) >> 10));
		code = 0xdc00 + ((code - 0x10000) & 0x3ff);
	}
	fprintf(out, "\\u%04x", code);
}

/* How much of str JSON takes as it is, without a look at what it means: nearly all of nearly all. */
static size_t plain_length(const char *str)
{
	size_t len = 0;

	while (str[len] >= ' ' && str[len] < 0x7f && str[len] != '"' && str[len] != '\\')
		len++;
	return len;
}

/* One character of str. Returns its bytes. */
static size_t put_json_unit(FILE *out, const char *str)
{
	uint32_t code = 0xfffd;
	size_t len = decode_utf8(str, &code);

	if (!len)
		put_json_escape(out, 0xfffd);
	else if (is_hidden(code))
		put_json_escape(out, code);
	else if (code == '"' || code == '\\')
		fprintf(out, "\\%c", (int)code);
	else
		fwrite_unlocked(str, 1, len, out);
	return len ? len : 1;
}

void emit__json_string(FILE *out, const char *str)
{
	putc_unlocked('"', out);
	while (*str) {
		size_t len = plain_length(str);

		if (len)
			fwrite_unlocked(str, 1, len, out);
		else
			len = put_json_unit(out, str);
		str += len;
	}
	putc_unlocked('"', out);
}

void emit__uint(FILE *out, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	fwrite_unlocked(digits + at, 1, sizeof(digits) - at, out);
}

void emit__time(FILE *out, const struct timespec *time)
{
	struct tm tm;
	char text[32];

	if (!gmtime_r(&time->tv_sec, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(out, "%s.%03ldZ", text, time->tv_nsec / 1000000);
}

int emit__finish(FILE *out)
{
	errno = 0;
	if (fflush(out) != 0)
		return errno ? -errno : -EIO;
	return ferror(out) ? -EIO : 0;
}
