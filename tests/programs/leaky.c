/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * leaky [SECONDS]: the demonstration victim, a make-believe web server that
 * leaks twice and is busy otherwise.
 *
 *   session_cache__store   the leak: pages are cached by session, and a session
 *                          that ends is never evicted
 *   log_request            a slow one: one request of 50 is an error whose message
 *                          nobody frees
 *   the rest               requests, headers, bodies, a bounded queue of work: all
 *                          of it freed, some of it minutes later
 *
 * No leak is random: the same request numbers give the same blocks.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE	     __attribute__((noinline))
#define BUCKETS		     1024
#define WORK_MAX	     512
#define REQUESTS_PER_SECOND  2000
#define REQUESTS_PER_BURST   20
#define REQUESTS_PER_SESSION 10

struct page {
	char *body;
	size_t length;
};

struct session {
	struct session *next;
	uint64_t key;
	struct page *page;
};

struct session_cache {
	struct session *buckets[BUCKETS];
	size_t session_cnt;
};

struct request {
	uint64_t number;
	char *path;
	char *headers[8];
};

struct work {
	char *payload;
};

static struct session_cache cache;
static struct work queue[WORK_MAX];
static char *volatile last_error;

static void *must(void *block)
{
	if (!block) {
		fputs("leaky: out of memory\n", stderr);
		exit(1);
	}
	return block;
}

static uint64_t session_of(const struct request *request)
{
	return request->number / REQUESTS_PER_SESSION;
}

static NOINLINE struct page *page__render(const struct request *request)
{
	struct page *page = must(malloc(sizeof(*page)));

	page->length = 200 + request->number * 37 % 1800;
	page->body = must(malloc(page->length));
	memset(page->body, 'x', page->length);
	return page;
}

static NOINLINE void page__free(struct page *page)
{
	if (!page)
		return;
	free(page->body);
	free(page);
}

static NOINLINE struct session *session_cache__find(uint64_t key)
{
	struct session *session = cache.buckets[key % BUCKETS];

	while (session && session->key != key)
		session = session->next;
	return session;
}

/* The leak: there is no session_cache__evict. */
static NOINLINE void session_cache__store(uint64_t key, struct page *page)
{
	struct session *session = must(malloc(sizeof(*session)));

	session->key = key;
	session->page = page;
	session->next = cache.buckets[key % BUCKETS];
	cache.buckets[key % BUCKETS] = session;
	cache.session_cnt++;
}

static NOINLINE struct request *request__parse(uint64_t number)
{
	struct request *request = must(calloc(1, sizeof(*request)));
	char text[64];

	request->number = number;
	snprintf(text, sizeof(text), "/account/%llu", (unsigned long long)(number % 97));
	request->path = must(strdup(text));
	for (int i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "X-Header-%d: %llu", i, (unsigned long long)number);
		request->headers[i] = must(strdup(text));
	}
	return request;
}

static NOINLINE void request__free(struct request *request)
{
	for (int i = 0; i < 8; i++)
		free(request->headers[i]);
	free(request->path);
	free(request);
}

/* A full queue drops its oldest work: memory that stays a while and then goes. */
static NOINLINE void queue__push(const struct request *request)
{
	struct work *slot = &queue[request->number % WORK_MAX];

	free(slot->payload);
	slot->payload = must(malloc(64 + request->number % 512));
	slot->payload[0] = 0;
}

/* The slow leak: the message before the last one is lost. */
static NOINLINE void log_request(const struct request *request)
{
	char *message;

	if (request->number % 50)
		return;
	message = must(malloc(96));
	snprintf(message, 96, "request %llu: upstream timed out",
		 (unsigned long long)request->number);
	last_error = message;
}

static NOINLINE void serve(uint64_t number)
{
	struct request *request = request__parse(number);
	struct session *session = session_cache__find(session_of(request));

	if (!session)
		session_cache__store(session_of(request), page__render(request));
	else if (number % 3 == 0)
		page__free(page__render(request));
	queue__push(request);
	log_request(request);
	request__free(request);
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 10;
	double start = now_s();
	uint64_t number = 0;

	while (now_s() - start < seconds) {
		for (int i = 0; i < REQUESTS_PER_BURST; i++)
			serve(number++);
		usleep(1000000 / (REQUESTS_PER_SECOND / REQUESTS_PER_BURST));
	}
	fprintf(stderr, "leaky: served %llu requests, holds %zu sessions\n",
		(unsigned long long)number, cache.session_cnt);
	return 0;
}
