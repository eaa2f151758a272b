/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/groups.h"

#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/growth.h"
#include "arena_fixture.h"
#include "render/render.h"
#include "snapshot/services.h"

/*
 * Goal of this test: every process and every site is in the one group that it belongs to, numbers
 * of the groups add up to the totals, and a group with nothing outstanding is said to be there.
 */

/* Two containers of the same name, the host, and in each some programs. */
static const struct {
	uint32_t pid;
	const char *container, *container_id, *unit, *cgroup, *program;
} processes[] = {
	{ 101, "web", "web-1", "", "/web-1", "/usr/bin/shop" },
	{ 103, "web", "web-1", "", "/web-1", "/usr/bin/shop" },
	{ 107, "web", "web-1", "", "/web-1", "/usr/bin/log" },
	{ 109, "web", "web-2", "", "/web-2", "/usr/bin/shop" },
	{ 113, "", "", "shop.service", "/system.slice/shop.service", "/usr/bin/shop" },
	{ 127, "", "", "log.service", "/system.slice/log.service", "/usr/bin/log" },
	{ 131, "", "", "", "/user.slice", "" },
	{ 137, "idle", "idle-1", "", "/idle-1", "/usr/bin/shop" },
};

#define PROCESS_CNT ((uint32_t)(sizeof(processes) / sizeof(processes[0])))

static struct snapshot *new_snapshot(void)
{
	struct snapshot *snap = snapshot__new();

	if (!snap)
		return NULL;
	for (uint32_t i = 0; i < PROCESS_CNT; i++) {
		struct snapshot_target *target = snapshot__add_target(snap);

		if (!target) {
			snapshot__free(snap);
			return NULL;
		}
		target->id = 1000 + i;
		target->pid = processes[i].pid;
		target->comm = "comm";
		target->container = processes[i].container;
		target->container_id = processes[i].container_id;
		target->unit = processes[i].unit;
		target->cgroup = processes[i].cgroup;
		target->exe = target->program = processes[i].program;
	}
	return snap;
}

/* A site of a process, by its index. */
static void add_site(struct snapshot *snap, uint64_t id, uint32_t target, uint64_t live_bytes)
{
	struct snapshot_site *site = snapshot__add_site(snap);

	ck_assert_ptr_nonnull(site);
	site->id = id;
	site->target = target;
	site->pid = snap->targets[target].pid;
	site->live_bytes = live_bytes;
	site->live_count = live_bytes ? 1 : 0;
	site->alloc_bytes = live_bytes + 1;
	site->alloc_count = 2;
	site->free_bytes = 1;
	site->free_count = 1 + !live_bytes;
	site->oldest_s = live_bytes;
}

/* One place of the code in each process but the last, and one of its own in some. */
static struct snapshot *grouped(enum snapshot_grouping grouping, bool per_process)
{
	struct snapshot *snap = new_snapshot();

	ck_assert_ptr_nonnull(snap);
	for (uint32_t i = 0; i < PROCESS_CNT - 1; i++)
		add_site(snap, 7, i, 11 * (i + 1));
	add_site(snap, 8, 0, 1009);
	add_site(snap, 9, PROCESS_CNT - 1, 0);
	ck_assert_int_eq(snapshot__group(snap, grouping), 0);
	ck_assert_int_eq(snapshot__join_services(snap, per_process), 0);
	snapshot__sum(snap);
	ck_assert_int_eq(snapshot__order_groups(snap, SORT_SIZE), 0);
	return snap;
}

static const struct snapshot_group *group_of(const struct snapshot *snap, uint32_t pid)
{
	for (uint32_t i = 0; i < snap->target_cnt; i++)
		if (snap->targets[i].pid == pid)
			return &snap->groups[snap->targets[i].group];
	return NULL;
}

static void check_group(const struct snapshot *snap, uint32_t pid, uint32_t process_cnt,
			uint64_t live_bytes, uint64_t site_cnt)
{
	const struct snapshot_group *group = group_of(snap, pid);
	uint64_t site_bytes = 0, sites = 0;

	ck_assert_uint_eq(group->process_cnt, process_cnt);
	ck_assert_uint_eq(group->totals.live_bytes, live_bytes);
	ck_assert_uint_eq(group->totals.sites, site_cnt);
	ck_assert_uint_eq(snap->targets[group->target].group, group - snap->groups);
	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		if (snap->sites[i].group != (uint32_t)(group - snap->groups))
			continue;
		site_bytes += snap->sites[i].live_bytes;
		sites += snap->sites[i].live_bytes > 0;
	}
	ck_assert_uint_eq(site_bytes, live_bytes);
	ck_assert_uint_eq(sites, site_cnt);
}

/* All groups together are the whole, and in their order. */
static void check_sums(const struct snapshot *snap)
{
	uint64_t live = 0, allocated = 0, freed = 0, sites = 0, before = UINT64_MAX;
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < snap->group_cnt; i++) {
		const struct snapshot_group *group = &snap->groups[i];

		ck_assert_uint_le(group->totals.live_bytes, before);
		before = group->totals.live_bytes;
		live += group->totals.live_bytes;
		allocated += group->totals.alloc_count;
		freed += group->totals.free_count;
		sites += group->totals.sites;
		cnt += group->process_cnt;
		for (uint32_t j = 0; j < i; j++)
			ck_assert_uint_ne(group->id, snap->groups[j].id);
	}
	ck_assert_uint_eq(live, snap->totals.live_bytes);
	ck_assert_uint_eq(allocated, snap->totals.alloc_count);
	ck_assert_uint_eq(freed, snap->totals.free_count);
	ck_assert_uint_eq(sites, snap->totals.sites);
	ck_assert_uint_eq(cnt, snap->target_cnt);
}

START_TEST(containers_and_the_host)
{
	struct snapshot *snap = grouped(BY_CONTAINER, false);

	ck_assert_uint_eq(snap->group_cnt, 4);
	check_group(snap, 101, 3, 11 * 6 + 1009, 2);
	check_group(snap, 109, 1, 11 * 4, 1);
	check_group(snap, 113, 3, 11 * (5 + 6 + 7), 1);
	check_group(snap, 137, 1, 0, 0);
	check_sums(snap);
	snapshot__free(snap);
}
END_TEST

START_TEST(services_are_programs_in_control_groups)
{
	struct snapshot *snap = grouped(BY_SERVICE, false);

	ck_assert_uint_eq(snap->group_cnt, 7);
	check_group(snap, 101, 2, 11 * 3 + 1009, 2);
	check_group(snap, 107, 1, 11 * 3, 1);
	check_group(snap, 113, 1, 11 * 5, 1);
	check_group(snap, 131, 1, 11 * 7, 1);
	check_sums(snap);
	snapshot__free(snap);
}
END_TEST

START_TEST(each_process)
{
	struct snapshot *snap = grouped(BY_PROCESS, false);

	ck_assert_uint_eq(snap->group_cnt, PROCESS_CNT);
	check_group(snap, 101, 1, 11 + 1009, 2);
	check_group(snap, 103, 1, 22, 1);
	check_group(snap, 137, 1, 0, 0);
	check_sums(snap);
	snapshot__free(snap);
}
END_TEST

START_TEST(two_programs_of_one_pid_are_two_groups)
{
	struct snapshot *snap = new_snapshot();

	snap->targets[1].pid = snap->targets[0].pid;
	ck_assert_int_eq(snapshot__group(snap, BY_PROCESS), 0);
	ck_assert_uint_ne(snap->targets[0].group, snap->targets[1].group);
	snapshot__free(snap);
}
END_TEST

START_TEST(sites_have_no_groups_and_are_as_ever)
{
	struct snapshot *snap = grouped(BY_SITE, false);

	ck_assert_uint_eq(snap->group_cnt, 0);
	ck_assert_uint_eq(snap->site_cnt, 3);
	ck_assert_uint_eq(snap->sites[0].live_bytes, 11 * 28);
	snapshot__free(snap);
}
END_TEST

START_TEST(processes_stay_apart_within_a_group)
{
	struct snapshot *snap = grouped(BY_CONTAINER, true);

	check_group(snap, 101, 3, 11 * 6 + 1009, 4);
	check_sums(snap);
	snapshot__free(snap);
}
END_TEST

START_TEST(top_is_of_each_group_in_the_groups_order)
{
	struct snapshot *snap = grouped(BY_CONTAINER, true);
	uint32_t cnts[4] = { 0 };

	snapshot__select(snap, SORT_SIZE, 2);
	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		cnts[snap->sites[i].group]++;
		if (!i || snap->sites[i].group != snap->sites[i - 1].group)
			continue;
		ck_assert_uint_le(snap->sites[i].live_bytes, snap->sites[i - 1].live_bytes);
	}
	ck_assert_uint_eq(snap->sites[0].live_bytes, 1009);
	ck_assert_uint_eq(snap->sites[0].group, 0);
	ck_assert_uint_eq(cnts[0], 2);
	ck_assert_uint_eq(cnts[1], 2); /* the host's 77 and 66 */
	ck_assert_uint_eq(cnts[2], 1);
	ck_assert_uint_eq(cnts[3], 0);
	snapshot__free(snap);
}
END_TEST

START_TEST(groups_are_ordered_as_sites_are)
{
	struct snapshot *snap = grouped(BY_PROCESS, false);

	ck_assert_int_eq(snapshot__order_groups(snap, SORT_COUNT), 0);
	ck_assert_uint_eq(snap->targets[snap->groups[0].target].pid, 101); /* has two blocks */
	snap->groups[3].growth_bytes_per_s = -1;
	snap->groups[5].growth_bytes_per_s = 2;
	ck_assert_int_eq(snapshot__order_groups(snap, SORT_GROWTH), 0);
	ck_assert_double_eq(snap->groups[0].growth_bytes_per_s, 2);
	ck_assert_double_eq(snap->groups[1].growth_bytes_per_s, -1);
	ck_assert_int_eq(snapshot__order_groups(snap, SORT_AGE), 0);
	ck_assert_double_eq(snap->groups[0].oldest_s, 1009);
	ck_assert_double_eq(snap->groups[1].oldest_s, 77);
	check_group(snap, 101, 1, 11 + 1009, 2);
	snapshot__free(snap);
}
END_TEST

START_TEST(what_is_gone_is_its_groups)
{
	const struct snapshot_retired retired = { .bytes = 211, .count = 13, .pool_bytes = 17,
						  .pool_count = 1 };
	struct snapshot *snap = grouped(BY_CONTAINER, false);
	const struct snapshot_group *group = group_of(snap, 109);

	ck_assert_uint_eq(group->totals.alloc_count, 2);
	snapshot__add_retired(snap, &snap->targets[3], &retired);
	ck_assert_uint_eq(group->totals.alloc_count, 2 + 13);
	ck_assert_uint_eq(group->totals.free_bytes, 1 + 211);
	ck_assert_uint_eq(snap->pools.alloc_bytes, 17);
	check_sums(snap);
	snapshot__free(snap);
}
END_TEST

START_TEST(growth_is_of_a_site_in_its_group_and_of_the_group)
{
	struct growth *growth = growth__new(false);
	struct snapshot *snap = grouped(BY_CONTAINER, false);

	ck_assert_int_eq(growth__update(growth, snap, 1000000000), 0);
	ck_assert_double_nan(snap->groups[0].growth_bytes_per_s);
	snapshot__free(snap);
	snap = grouped(BY_CONTAINER, false);
	for (uint32_t i = 0; i < snap->site_cnt; i++)
		if (&snap->groups[snap->sites[i].group] == group_of(snap, 109))
			snap->sites[i].live_bytes += 1000;
	snapshot__sum(snap);
	ck_assert_int_eq(growth__update(growth, snap, 3000000000), 0);
	for (uint32_t i = 0; i < snap->site_cnt; i++)
		ck_assert_double_eq(snap->sites[i].growth_bytes_per_s,
				    &snap->groups[snap->sites[i].group] == group_of(snap, 109)
					    ? 500 : 0);
	ck_assert_double_eq(group_of(snap, 109)->growth_bytes_per_s, 500);
	ck_assert_double_eq(group_of(snap, 101)->growth_bytes_per_s, 0);
	snapshot__free(snap);
	growth__free(growth);
}
END_TEST

static char *render(int (*renderer)(const struct snapshot *, FILE *), const struct snapshot *snap)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_int_eq(renderer(snap, out), 0);
	fclose(out);
	return text;
}

static void check_text(struct snapshot *snap, const char *const *expected)
{
	char *text;

	snapshot__select(snap, SORT_SIZE, 1);
	text = render(render_text, snap);
	for (; *expected; expected++)
		ck_assert_msg(strstr(text, *expected), "no '%s' in:\n%s", *expected, text);
	free(text);
	snapshot__free(snap);
}

START_TEST(text_of_containers)
{
	static const char *const expected[] = {
		"\n\ncontainer web: 1.0 KiB in 4 blocks (81.6%) at 2 sites; 3 processes\n"
		"\n 1. 1009 B in 1 block (76.6%)  pid 101 ",
		"\n\nand 1 more site (--top shows more): 66 B in 3 blocks\n"
		"\nhost: 198 B in 3 blocks (15.0%) at 1 site; 3 processes, 1 without a known "
		"allocator\n\n 1. ",
		"\n\ncontainer web: 44 B in 1 block (3.3%) at 1 site, growth +5 B/s; "
		"1 process, 1 exited\n",
		"\n\nnothing outstanding of\n"
		"  container idle: 2 blocks allocated, none outstanding; 1 process\n",
		NULL,
	};
	struct snapshot *snap = grouped(BY_CONTAINER, false);

	snap->groups[1].untraced_cnt = 1;
	snap->groups[2].growth_bytes_per_s = 5;
	snap->groups[2].exited_cnt = 1;
	check_text(snap, expected);
}
END_TEST

START_TEST(text_of_services_and_processes)
{
	static const char *const services[] = {
		"\nservice shop in container web: 1.0 KiB in 3 blocks",
		"\nservice shop of shop.service: 55 B in 1 block",
		"\nservice comm in /user.slice: 77 B in 1 block",
		"\n  service shop in container idle: 2 blocks allocated, none outstanding; 1 process\n",
		NULL,
	};
	static const char *const each[] = {
		"\npid 101 comm in container web: 1020 B in 2 blocks (77.4%) at 2 sites; running\n",
		"\n  pid 137 comm in container idle: 2 blocks allocated, none outstanding; running\n",
		NULL,
	};

	check_text(grouped(BY_SERVICE, false), services);
	check_text(grouped(BY_PROCESS, false), each);
}
END_TEST

START_TEST(text_tells_clean_from_unseen)
{
	static const char *const expected[] = {
		"\nnothing outstanding of\n"
		"  pid 101 comm in container web: not seen, it has no allocator that is known; "
		"running\n",
		"  pid 103 comm in container web: nothing allocated since the start; exited\n",
		"\nno outstanding allocations: ",
		NULL,
	};
	struct snapshot *snap = new_snapshot();

	snap->targets[0].is_untraced = true;
	snap->targets[1].exited = true;
	snap->target_cnt = 2;
	ck_assert_int_eq(snapshot__group(snap, BY_PROCESS), 0);
	check_text(snap, expected);
}
END_TEST

/* n processes, the first found_cnt with a block. */
static struct snapshot *many_processes(uint32_t n, uint32_t found_cnt)
{
	struct snapshot *snap = snapshot__new();

	for (uint32_t i = 0; i < n; i++) {
		struct snapshot_target *target = snapshot__add_target(snap);

		target->id = target->pid = 1000 + i;
		add_site(snap, 7, i, i < found_cnt ? 100000 - i : 0);
	}
	ck_assert_int_eq(snapshot__group(snap, BY_PROCESS), 0);
	snapshot__sum(snap);
	ck_assert_int_eq(snapshot__order_groups(snap, SORT_SIZE), 0);
	return snap;
}

START_TEST(text_of_many_groups_is_short_unless_wanted)
{
	static const char *const shown[] = {
		"\npid 1019 : 97.6 KiB in 1 block (",
		"\n\nand 11 more groups (-v lists them): 1.0 MiB in 11 blocks\n"
		"\nnothing outstanding of\n",
		"\n  and 49 more (-v lists them)\n", NULL,
	};
	static const char *const all[] = {
		"\npid 1030 : 97.6 KiB in 1 block (", "\n  pid 1031 : 2 blocks allocated",
		"\n  pid 1099 : 2 blocks allocated", NULL,
	};
	struct snapshot *snap = many_processes(100, 31);
	char *text = render(render_text, snap);

	ck_assert_ptr_null(strstr(text, "pid 1020 "));
	free(text);
	check_text(snap, shown);
	snap = many_processes(100, 31);
	snap->wants_all = true;
	check_text(snap, all);
}
END_TEST

static const char *string_of(struct json_object *object, const char *name)
{
	struct json_object *value;

	ck_assert_msg(json_object_object_get_ex(object, name, &value), "no field %s", name);
	return value ? json_object_get_string(value) : "null";
}

static struct json_object *array_of(struct json_object *object, const char *name)
{
	struct json_object *value;

	ck_assert_msg(json_object_object_get_ex(object, name, &value), "no field %s", name);
	return value;
}

/* The element of an array whose field has that text. */
static struct json_object *find(struct json_object *array, const char *name, const char *text)
{
	for (size_t i = 0; i < json_object_array_length(array); i++)
		if (!strcmp(string_of(json_object_array_get_idx(array, i), name), text))
			return json_object_array_get_idx(array, i);
	return NULL;
}

START_TEST(json_has_the_groups_and_what_joins_them)
{
	struct snapshot *snap = grouped(BY_SERVICE, false);
	struct json_object *report, *target, *group;
	char *text = render(render_json, snap);

	report = json_tokener_parse(text);
	ck_assert_ptr_nonnull(report);
	ck_assert_str_eq(string_of(report, "group_by"), "service");
	ck_assert_uint_eq(json_object_array_length(array_of(report, "groups")), 7);
	target = find(array_of(report, "targets"), "pid", "113");
	group = find(array_of(report, "groups"), "id", string_of(target, "group"));
	ck_assert_ptr_nonnull(group);
	ck_assert_uint_eq(json_object_object_length(group), 23);
	ck_assert_str_eq(string_of(group, "unit"), "shop.service");
	ck_assert_str_eq(string_of(group, "exe"), "/usr/bin/shop");
	ck_assert_str_eq(string_of(group, "container"), "");
	ck_assert_str_eq(string_of(group, "pid"), "null");
	ck_assert_str_eq(string_of(group, "processes"), "1");
	ck_assert_str_eq(string_of(group, "live_bytes"), "55");
	ck_assert_str_eq(string_of(group, "sites"), "1");
	ck_assert_str_eq(string_of(group, "growth_bytes_per_s"), "null");
	ck_assert_str_eq(string_of(find(array_of(report, "sites"), "group",
					string_of(group, "id")), "live_bytes"), "55");
	json_object_put(report);
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(every_failed_allocation_is_enomem_and_frees_clean)
{
	for (fail_at = 0;; fail_at++) {
		struct snapshot *snap;
		int err = -ENOMEM;

		alloc_cnt = 0;
		snap = new_snapshot();
		if (snap)
			err = snapshot__group(snap, BY_SERVICE);
		if (!err)
			err = snapshot__order_groups(snap, SORT_SIZE);
		snapshot__free(snap);
		if (!err)
			break;
		ck_assert_int_eq(err, -ENOMEM);
	}
	ck_assert_int_gt(fail_at, 5);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("groups");
	TCase *tcase = tcase_create("groups");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, containers_and_the_host);
	tcase_add_test(tcase, services_are_programs_in_control_groups);
	tcase_add_test(tcase, each_process);
	tcase_add_test(tcase, two_programs_of_one_pid_are_two_groups);
	tcase_add_test(tcase, sites_have_no_groups_and_are_as_ever);
	tcase_add_test(tcase, processes_stay_apart_within_a_group);
	tcase_add_test(tcase, top_is_of_each_group_in_the_groups_order);
	tcase_add_test(tcase, groups_are_ordered_as_sites_are);
	tcase_add_test(tcase, what_is_gone_is_its_groups);
	tcase_add_test(tcase, growth_is_of_a_site_in_its_group_and_of_the_group);
	tcase_add_test(tcase, text_of_containers);
	tcase_add_test(tcase, text_of_services_and_processes);
	tcase_add_test(tcase, text_tells_clean_from_unseen);
	tcase_add_test(tcase, text_of_many_groups_is_short_unless_wanted);
	tcase_add_test(tcase, json_has_the_groups_and_what_joins_them);
	tcase_add_test(tcase, every_failed_allocation_is_enomem_and_frees_clean);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
