/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/cgroup_path.h"

#include "target_fixture.h"

/*
 * Goal of this test: a cgroup's path, as each runtime makes it, tells the container, its pod and
 * its unit; and nothing that only looks like one does.
 */

#define A    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define B    "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define POD  "8dbc41fd-5c44-4c2a-bb69-0f2d3a2d5b7c"
#define POD_ "8dbc41fd_5c44_4c2a_bb69_0f2d3a2d5b7c"
#define USER "/user.slice/user-1000.slice/user@1000.service"

static const struct {
	const char *path, *runtime, *id, *pod_id, *unit;
	int64_t uid;
} containers[] = {
	{"/docker/" A, "docker", A, "", "", -1},
	{"/system.slice/docker-" A ".scope", "docker", A, "", "", -1},
	{"/system.slice/docker-" A ".scope/init.scope", "docker", A, "", "", -1},
	{"/system.slice/docker-" A ".scope (deleted)", "docker", A, "", "", -1},
	{"/docker/" A "/system.slice/cron.service", "docker", A, "", "cron.service", -1},
	{"/ecs/0a1b2c/" A, "oci", A, "", "", -1},
	{"/../" A, "oci", A, "", "", -1},
	{"/../docker-" A ".scope", "docker", A, "", "", -1},
	{USER "/user.slice/docker-" A ".scope", "docker", A, "", "user@1000.service", 1000},
	/* Kubernetes by cgroupfs and by systemd, guaranteed and burstable; kind */
	{"/kubepods/burstable/pod" POD "/" A, "kubernetes", A, POD, "", -1},
	{"/kubepods/pod" POD "/" A, "kubernetes", A, POD, "", -1},
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" POD_
	 ".slice/cri-containerd-" A ".scope",
	 "containerd", A, POD, "", -1},
	{"/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" A ".scope", "cri-o", A, POD, "", -1},
	{"/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" A, "cri-o", A, POD, "", -1},
	{"/kubepods.slice/kubepods-pod" POD_ ".slice/docker-" A ".scope", "docker", A, POD, "", -1},
	{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
	 "kubelet-kubepods-besteffort-pod" POD_ ".slice/cri-containerd-" A ".scope",
	 "containerd", A, POD, "", -1},
	{"/kubepods.slice/kubepods-burstable.slice/"
	 "kubepods-burstable-podd72b8a3e3ab5b1a5dbd4d0c2e6a1f8b1.slice/cri-containerd-" A ".scope",
	 "containerd", A, "d72b8a3e3ab5b1a5dbd4d0c2e6a1f8b1", "", -1},
	/* Podman */
	{"/machine.slice/libpod-" A ".scope", "podman", A, "", "", -1},
	{"/machine.slice/libpod-" A ".scope/container", "podman", A, "", "", -1},
	{"/libpod_parent/libpod-" A, "podman", A, "", "", -1},
	{"/system.slice/web.service/libpod-payload-" A, "podman", A, "", "web.service", -1},
	{"/machine.slice/machine-libpod_pod_" B ".slice/libpod-" A ".scope", "podman", A, B, "",
	 -1},
	{USER "/user.slice/libpod-" A ".scope/container", "podman", A, "", "user@1000.service",
	 1000},
	{USER "/user.slice/user-libpod_pod_" B ".slice/libpod-" A ".scope", "podman", A, B,
	 "user@1000.service", 1000},
	/* others */
	{"/system.slice/nerdctl-" A ".scope", "containerd", A, "", "", -1},
	{"/default/" A, "oci", A, "", "", -1},
	{"/system.slice/runc-web.scope", "runc", "web", "", "", -1},
	{"/system.slice/crun-web-1.scope/container", "crun", "web-1", "", "", -1},
	{"/system.slice/newruntime-" A ".scope", "oci", A, "", "", -1},
	{"/lxc.payload.web/system.slice/nginx.service", "lxc", "web", "", "nginx.service", -1},
	{"/lxc.payload/web", "lxc", "web", "", "", -1},
	{"/lxc/101/ns/init.scope", "lxc", "101", "", "", -1},
	{"/lxc/web", "lxc", "web", "", "", -1},
	{"/machine.slice/machine-web\\x2d1.scope/payload/system.slice/cron.service",
	 "systemd-nspawn", "web-1", "", "cron.service", -1},
	{"/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn", "web", "", "", -1},
};

START_TEST(a_path_tells_the_container)
{
	for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++) {
		const char *path = containers[i].path;
		struct cgroup_path parsed;

		cgroup_path__parse(path, &parsed);
		ck_assert_msg(parsed.container_cnt == 1, "%s: %u containers", path,
			      parsed.container_cnt);
		ck_assert_str_eq(parsed.containers[0].runtime, containers[i].runtime);
		ck_assert_str_eq(parsed.containers[0].id, containers[i].id);
		ck_assert_str_eq(parsed.containers[0].pod_id, containers[i].pod_id);
		ck_assert_int_eq(parsed.containers[0].uid, containers[i].uid);
		ck_assert_int_eq(parsed.containers[0].has_hash,
				 strlen(containers[i].id) == CGROUP_HASH_LEN);
		ck_assert_msg(!strcmp(parsed.unit, containers[i].unit), "%s: %s", path,
			      parsed.unit);
	}
}
END_TEST

START_TEST(a_path_tells_that_there_is_none)
{
	static const struct {
		const char *path, *unit;
	} cases[] = {
		{"", ""},
		{"/", ""},
		{"/..", ""},
		{"/init.scope", ""},
		{"/system.slice/nginx.service", "nginx.service"},
		{"/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"},
		{"/system.slice/nginx.service/workers", "nginx.service"},
		{"/system.slice/dbus.socket", "dbus.socket"},
		{"/system.slice/.service", ""},
		{"/user.slice/user-0.slice/session-3.scope", "session-3.scope"},
		{USER "/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
		 "vte-spawn-1.scope"},
		{USER "/init.scope", "user@1000.service"},
		/* who watches a container from outside */
		{"/machine.slice/libpod-conmon-" A ".scope", "libpod-conmon-" A ".scope"},
		{"/kubepods.slice/kubepods-pod" POD_ ".slice/crio-conmon-" A ".scope",
		 "crio-conmon-" A ".scope"},
		{"/system.slice/web.service/supervisor", "web.service"},
		{"/machine.slice/machine-web.scope/supervisor", "machine-web.scope"},
		{"/lxc.monitor.web", ""},
		{"/lxc", ""},
		{"/srv/lxc/web", ""},
		{"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/vcpu0",
		 "machine-qemu\\x2d1\\x2dvm.scope"},
		/* no hashes */
		{"/docker/0123456789abcdef", ""},
		{"/docker/" A "0", ""},
		{"/system.slice/"
		 "docker-0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"
		 ".scope",
		 "docker-0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"
		 ".scope"},
		{"/system.slice/docker.service", "docker.service"},
		{"/system.slice/docker-.scope", "docker-.scope"},
		{"/system.slice/run-r0123456789abcdef.scope", "run-r0123456789abcdef.scope"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cgroup_path parsed;

		cgroup_path__parse(cases[i].path, &parsed);
		ck_assert_msg(!parsed.container_cnt, "%s", cases[i].path);
		ck_assert_msg(!strcmp(parsed.unit, cases[i].unit), "%s: %s", cases[i].path,
			      parsed.unit);
	}
}
END_TEST

START_TEST(nested_containers_are_in_order)
{
	struct cgroup_path parsed;

	cgroup_path__parse("/docker/" A
			   "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" POD_
			   ".slice/cri-containerd-" B ".scope",
			   &parsed);
	ck_assert_uint_eq(parsed.container_cnt, 2);
	ck_assert_str_eq(parsed.containers[0].runtime, "docker");
	ck_assert_str_eq(parsed.containers[0].id, A);
	ck_assert_str_eq(parsed.containers[0].pod_id, "");
	ck_assert_str_eq(parsed.containers[1].runtime, "containerd");
	ck_assert_str_eq(parsed.containers[1].id, B);
	ck_assert_str_eq(parsed.containers[1].pod_id, POD);
	/* A user within a container is no user of ours. */
	cgroup_path__parse("/lxc/box" USER "/user.slice/libpod-" A ".scope", &parsed);
	ck_assert_uint_eq(parsed.container_cnt, 2);
	ck_assert_int_eq(parsed.containers[0].uid, -1);
}
END_TEST

START_TEST(any_depth_and_any_length_will_do)
{
	static char path[100000];
	struct cgroup_path parsed;

	strcpy(path, "/docker/" A);
	for (int i = 0; i < 100; i++)
		strcat(path, "/docker/" B);
	strcat(path, "/lxc.payload.last");
	cgroup_path__parse(path, &parsed);
	ck_assert_uint_eq(parsed.container_cnt, CGROUP_MAX_NESTED);
	ck_assert_str_eq(parsed.containers[0].id, A);
	ck_assert_str_eq(parsed.containers[CGROUP_MAX_NESTED - 1].id, "last");

	memset(path, '/', 70000);
	path[70000] = 0;
	strcat(path, "docker/" A);
	cgroup_path__parse(path, &parsed);
	ck_assert_uint_eq(parsed.container_cnt, 1);

	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	cgroup_path__parse(path, &parsed);
	ck_assert_uint_eq(parsed.container_cnt, 0);
	memcpy(path, "/lxc.payload.", 13);
	path[256] = 0; /* a name of 255 */
	cgroup_path__parse(path, &parsed);
	ck_assert_uint_eq(parsed.container_cnt, 1);
	ck_assert_uint_eq(strlen(parsed.containers[0].id), 255 - strlen("lxc.payload."));
	/* Cut anywhere, nothing is read past the end. */
	for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++)
		for (size_t len = strlen(containers[i].path); len-- > 0;) {
			char *cut = strndup(containers[i].path, len);

			cgroup_path__parse(cut, &parsed);
			free(cut);
		}
}
END_TEST

START_TEST(escapes_of_units_are_undone)
{
	static const struct {
		const char *escaped, *name;
	} cases[] = {
		{"a\\x2db", "a-b"}, {"\\x5c", "\\"},	  {"a\\x2", "a\\x2"},
		{"a\\x", "a\\x"},   {"a\\xzz", "a\\xzz"}, {"a\\x00b", "a\\x00b"},
		{"a\\", "a\\"},	    {"\\x41\\x42", "AB"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cgroup_path parsed;
		char path[256];

		snprintf(path, sizeof(path), "/machine.slice/machine-%s.scope", cases[i].escaped);
		cgroup_path__parse(path, &parsed);
		ck_assert_uint_eq(parsed.container_cnt, 1);
		ck_assert_str_eq(parsed.containers[0].id, cases[i].name);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cgroup_path");
	TCase *tcase = tcase_create("cgroup_path");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, a_path_tells_the_container);
	tcase_add_test(tcase, a_path_tells_that_there_is_none);
	tcase_add_test(tcase, nested_containers_are_in_order);
	tcase_add_test(tcase, any_depth_and_any_length_will_do);
	tcase_add_test(tcase, escapes_of_units_are_undone);
	return run_suite(suite);
}
