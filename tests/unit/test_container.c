/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/container.h"

#include <pthread.h>
#include <stdarg.h>

#include "target_fixture.h"

/*
 * Goal of this test: a process's container has the name that its runtime wrote down, in the files
 * as each of them writes them; nobody else can give it a name; and a broken file is no name.
 *
 * The trees are made here: ROOT/proc with the processes, ROOT/host with the runtimes' files.
 */

#define A	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define B	"0123456789abfedcba9876543210fedcba9876543210fedcba98765432100000"
#define C	"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define POD	"8dbc41fd-5c44-4c2a-bb69-0f2d3a2d5b7c"
#define POD_	"8dbc41fd_5c44_4c2a_bb69_0f2d3a2d5b7c"
#define TASKS	"run/containerd/io.containerd.runtime.v2.task"
#define HOST_NS 4026531836

static struct containers *containers;

static void make_parents(const char *path)
{
	char copy[PATH_MAX];

	strcpy(copy, path);
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(copy, 0755);
		*slash = '/';
	}
}

/* A file of a runtime, below ROOT/host. */
static const char *host(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/host/%s", test_dir, name);
	make_parents(path);
	return path;
}

static void put(const char *name, const char *text)
{
	write_file(host(name), text, strlen(text), 0600);
}

static void put_proc(pid_t pid, const char *name, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/proc/%d/%s", test_dir, (int)pid, name);
	make_parents(path);
	write_file(path, text, strlen(text), 0644);
}

static void put_namespace(pid_t pid, const char *name, unsigned int inode)
{
	char path[PATH_MAX], target[32];

	snprintf(path, sizeof(path), "%s/proc/%d/ns/%s", test_dir, (int)pid, name);
	make_parents(path);
	unlink(path);
	snprintf(target, sizeof(target), "%s:[%u]", name, inode);
	ck_assert_int_eq(symlink(target, path), 0);
}

/* A process with these lines of /proc/PID/cgroup in these namespaces. */
static void put_process(pid_t pid, const char *cgroup, unsigned int pid_ns, unsigned int mnt_ns)
{
	put_proc(pid, "cgroup", cgroup);
	put_namespace(pid, "pid", pid_ns);
	put_namespace(pid, "mnt", mnt_ns);
}

static void put_in_cgroup(pid_t pid, const char *path)
{
	char line[PATH_MAX];

	snprintf(line, sizeof(line), "0::%s\n", path);
	put_process(pid, line, HOST_NS + 100 + pid, HOST_NS + 100 + pid);
}

static void start(void)
{
	containers__free(containers);
	containers = containers__new(test_path("host"), test_path("proc"));
	ck_assert_ptr_nonnull(containers);
}

static void set_up(void)
{
	make_test_dir();
	mkdir(test_path("host"), 0755);
	put_process(1, "0::/init.scope\n", HOST_NS, HOST_NS);
	start();
}

static void tear_down(void)
{
	containers__free(containers);
	containers = NULL;
	remove_test_dir();
}

static const struct container *of(pid_t pid)
{
	const struct container *container = containers__of(containers, pid, NULL, 0);

	ck_assert_ptr_nonnull(container);
	return container;
}

static void check(pid_t pid, const char *runtime, const char *id, const char *name)
{
	const struct container *container = of(pid);

	ck_assert_str_eq(container->runtime, runtime);
	ck_assert_str_eq(container->id, id);
	ck_assert_str_eq(container->name, name);
}

static void check_pod(pid_t pid, const char *namespace, const char *pod)
{
	const struct container *container = of(pid);

	ck_assert_str_eq(container->pod_namespace, namespace);
	ck_assert_str_eq(container->pod, pod);
}

/* ---- each runtime ---- */

static void put_docker(const char *folder, const char *id, const char *name)
{
	char path[512], text[2048];

	snprintf(path, sizeof(path), "%s/containers/%s/config.v2.json", folder, id);
	snprintf(
		text, sizeof(text),
		"{\"StreamConfig\":{},\"State\":{\"Running\":true,\"Paused\":false,\"Pid\":4711,"
		"\"ExitCode\":0,\"Error\":\"\"},\"ID\":\"%s\",\"Created\":\"2024-05-01T12:00:00Z\","
		"\"Managed\":false,\"Path\":\"sleep\",\"Args\":[\"60\"],\"Config\":{\"Hostname\":"
		"\"0123456789ab\",\"Env\":[\"PATH=/bin\"],\"Labels\":{\"a\":\"b\"}},"
		"\"Name\":\"/%s\",\"Driver\":\"overlay2\",\"RestartCount\":0}",
		id, name);
	put(path, text);
}

START_TEST(docker)
{
	put_docker("var/lib/docker", A, "web");
	put_in_cgroup(10, "/docker/" A);
	put_in_cgroup(11, "/system.slice/docker-" A ".scope/init.scope");
	check(10, "docker", A, "web");
	check(11, "docker", A, "web");
	check_pod(11, "", "");
	/* A custom --cgroup-parent. */
	put_in_cgroup(12, "/my.slice/own/" A);
	check(12, "docker", A, "web");
}
END_TEST

START_TEST(docker_with_its_data_elsewhere)
{
	put("etc/docker/daemon.json", "{\"log-driver\":\"local\",\"data-root\":\"/srv/docker\"}");
	put_docker("srv/docker", A, "web");
	put_in_cgroup(10, "/docker/" A);
	check(10, "docker", A, "web");
	put_docker("var/snap/docker/common/var-lib-docker", C, "snap");
	put_in_cgroup(11, "/docker/" C);
	check(11, "docker", C, "snap");
}
END_TEST

START_TEST(docker_under_kubernetes)
{
	put("var/lib/docker/containers/" A "/config.v2.json",
	    "{\"ID\":\"" A "\",\"Name\":\"/k8s_app_shop-1_prod_" POD "_0\",\"Config\":{\"Labels\":{"
	    "\"io.kubernetes.container.name\":\"app\",\"io.kubernetes.docker.type\":\"container\","
	    "\"io.kubernetes.pod.name\":\"shop-1\",\"io.kubernetes.pod.namespace\":\"prod\"}}}");
	put_in_cgroup(10, "/kubepods/burstable/pod" POD "/" A);
	check(10, "docker", A, "app");
	check_pod(10, "prod", "shop-1");
}
END_TEST

START_TEST(containerd_under_kubernetes)
{
	put(TASKS "/k8s.io/" A "/config.json",
	    "{\"ociVersion\":\"1.0.2-dev\",\"process\":{\"args\":[\"/"
	    "app\"]},\"hostname\":\"shop-1\","
	    "\"annotations\":{\"io.kubernetes.cri.container-name\":\"app\","
	    "\"io.kubernetes.cri.container-type\":\"container\","
	    "\"io.kubernetes.cri.image-name\":\"example.org/app:1\","
	    "\"io.kubernetes.cri.sandbox-id\":\"" B "\","
	    "\"io.kubernetes.cri.sandbox-name\":\"shop-1\","
	    "\"io.kubernetes.cri.sandbox-namespace\":\"prod\","
	    "\"io.kubernetes.cri.sandbox-uid\":\"" POD "\"},\"linux\":{\"cgroupsPath\":"
	    "\"kubepods-burstable-pod" POD_ ".slice:cri-containerd:" A "\"}}");
	put(TASKS "/k8s.io/" B "/config.json",
	    "{\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
	    "\"io.kubernetes.cri.sandbox-name\":\"shop-1\","
	    "\"io.kubernetes.cri.sandbox-namespace\":\"prod\"}}");
	put_in_cgroup(10, "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" POD_
			  ".slice/cri-containerd-" A ".scope");
	check(10, "containerd", A, "app");
	check_pod(10, "prod", "shop-1");
	put_in_cgroup(11, "/kubepods/burstable/pod" POD "/" B);
	check(11, "containerd", B, "POD");
	check_pod(11, "prod", "shop-1");
}
END_TEST

START_TEST(k3s_has_its_own_folder)
{
	put("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" A "/config.json",
	    "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"app\"}}");
	put_in_cgroup(10, "/kubepods/pod" POD "/" A);
	check(10, "containerd", A, "app");
	check_pod(10, "", POD);
}
END_TEST

START_TEST(nerdctl_and_ctr)
{
	put(TASKS "/default/" A "/config.json",
	    "{\"annotations\":{\"nerdctl/name\":\"web\","
	    "\"nerdctl/namespace\":\"default\"},\"linux\":{\"cgroupsPath\":\"/default/" A "\"}}");
	put_in_cgroup(10, "/default/" A);
	check(10, "containerd", A, "web");
	put_in_cgroup(11, "/system.slice/nerdctl-" A ".scope");
	check(11, "containerd", A, "web");
	/* ctr run: an id of one's own, and no name. */
	put(TASKS "/default/redis/config.json", "{\"linux\":{\"cgroupsPath\":\"/default/redis\"}}");
	put(TASKS "/default/redis/init.pid", "4712");
	put_in_cgroup(12, "/default/redis");
	check(12, "containerd", "redis", "redis");
}
END_TEST

static void put_podman(const char *folder, const char *id, const char *name)
{
	char path[512], text[2048];

	snprintf(path, sizeof(path), "%s/containers.json", folder);
	snprintf(text, sizeof(text),
		 "[{\"id\":\"%s\",\"names\":[\"other\"],\"image\":\"\",\"layer\":\"\"},"
		 "{\"id\":\"%s\",\"names\":[\"%s\"],\"image\":\"\",\"layer\":\"afe7\",\"metadata\":"
		 "\"{\\\"name\\\":\\\"%s\\\"}\",\"created\":\"2024-05-01T12:00:00Z\",\"flags\":"
		 "{\"MountLabel\":\"\",\"ProcessLabel\":\"\"}}]",
		 C, id, name, name);
	put(path, text);
	snprintf(path, sizeof(path), "%s/%s/userdata/config.json", folder, id);
	put(path, "{\"ociVersion\":\"1.0.2-dev\",\"hostname\":\"0123456789ab\",\"annotations\":{"
		  "\"io.container.manager\":\"libpod\",\"io.kubernetes.cri-o.TTY\":\"false\","
		  "\"io.kubernetes.cri-o.ContainerType\":\"container\"}}");
}

START_TEST(podman)
{
	put_podman("var/lib/containers/storage/overlay-containers", A, "web");
	put_in_cgroup(10, "/machine.slice/libpod-" A ".scope/container");
	check(10, "podman", A, "web");
	check_pod(10, "", "");
	put_in_cgroup(11, "/machine.slice/machine-libpod_pod_" B ".slice/libpod-" A ".scope");
	check(11, "podman", A, "web");
	check_pod(11, "", "0123456789ab");
	put_in_cgroup(12, "/system.slice/shop.service/libpod-payload-" A);
	check(12, "podman", A, "web");
	ck_assert_str_eq(of(12)->unit, "shop.service");
	put_in_cgroup(13, "/machine.slice/libpod-" C ".scope");
	check(13, "podman", C, "other");
}
END_TEST

START_TEST(podman_with_another_storage_driver)
{
	put_podman("var/lib/containers/storage/vfs-containers", A, "web");
	put_in_cgroup(10, "/libpod_parent/libpod-" A);
	check(10, "podman", A, "web");
}
END_TEST

START_TEST(cri_o)
{
	put("var/lib/containers/storage/overlay-containers/" A "/userdata/config.json",
	    "{\"annotations\":{\"io.container.manager\":\"cri-o\",\"io.kubernetes.container.name\":"
	    "\"app\",\"io.kubernetes.cri-o.ContainerType\":\"container\","
	    "\"io.kubernetes.pod.name\":\"shop-1\",\"io.kubernetes.pod.namespace\":\"prod\","
	    "\"io.kubernetes.pod.uid\":\"" POD "\"}}");
	put_in_cgroup(10, "/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" A ".scope");
	check(10, "cri-o", A, "app");
	check_pod(10, "prod", "shop-1");
	/* Without annotations the storage's own name for it says the same. */
	put("var/lib/containers/storage/overlay-containers/containers.json",
	    "[{\"id\":\"" B "\",\"names\":[\"k8s_side_shop-1_prod_" POD "_3\"]}]");
	put_in_cgroup(11, "/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" B ".scope");
	check(11, "cri-o", B, "side");
	check_pod(11, "prod", "shop-1");
}
END_TEST

START_TEST(runc_by_cgroup)
{
	put("run/runc/web/state.json",
	    "{\"id\":\"web\",\"init_process_pid\":4711,\"init_process_start\":1378340,"
	    "\"config\":{\"cgroups\":{\"name\":\"web\",\"path\":\"\"},\"labels\":[\"bundle=/srv/"
	    "web\"]},"
	    "\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/unified/web\",\"cpu\":"
	    "\"/sys/fs/cgroup/cpu,cpuacct/web\",\"memory\":\"/sys/fs/cgroup/memory/box/web\","
	    "\"name=systemd\":\"/sys/fs/cgroup/systemd/web\"}}");
	put("run/runc/db/state.json",
	    "{\"id\":\"db\",\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/dbs/db\"}}");
	put_process(10, "9:name=systemd:/\n4:memory:/box/web\n0::/\n", HOST_NS, HOST_NS);
	put_process(11, "0::/web/worker\n", HOST_NS, HOST_NS + 1);
	put_in_cgroup(12, "/dbs/db");
	put_in_cgroup(13, "/dbs/dbx");
	check(10, "runc", "web", "web");
	check(11, "runc", "web", "web");
	check(12, "runc", "db", "db");
	ck_assert_str_ne(of(13)->name, "db");
	put_in_cgroup(14, "/system.slice/runc-by-systemd.scope");
	check(14, "runc", "by-systemd", "by-systemd");
}
END_TEST

START_TEST(runc_by_the_namespace_of_its_first_process)
{
	put("run/runc/web/state.json", "{\"id\":\"web\",\"init_process_pid\":4711,"
				       "\"init_process_start\":1378340,\"cgroup_paths\":{}}");
	put_process(4711, "0::/user.slice/session-1.scope\n", HOST_NS + 7, HOST_NS + 7);
	put_proc(4711, "stat",
		 "4711 (a) b) c) S 1 4711 4711 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 "
		 "1378340 2000000 100\n");
	put_process(10, "0::/user.slice/session-1.scope\n", HOST_NS + 7, HOST_NS + 7);
	put_process(11, "0::/user.slice/session-1.scope\n", HOST_NS + 8, HOST_NS + 8);
	check(10, "runc", "web", "web");
	check(11, "namespace", "pidns-4026531844", "pidns-4026531844");
	/* Its number is another process's now. */
	put_proc(4711, "stat",
		 "4711 (x) S 1 4711 4711 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 "
		 "1378341 2000000 100\n");
	start();
	check(10, "namespace", "pidns-4026531843", "pidns-4026531843");
}
END_TEST

START_TEST(runc_called_by_podman)
{
	put_podman("var/lib/containers/storage/overlay-containers", A, "web");
	put("run/runc/" A "/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/odd/place\"}}");
	put_in_cgroup(10, "/odd/place");
	check(10, "podman", A, "web");
}
END_TEST

START_TEST(crun)
{
	put("run/crun/web/status",
	    "{\n    \"pid\": 4711,\n    \"process-start-time\": 1378340,\n    \"cgroup-path\": "
	    "\"/web\",\n"
	    "    \"scope\": \"\",\n    \"rootfs\": \"/srv/web/rootfs\",\n    \"systemd-cgroup\": "
	    "false,\n"
	    "    \"bundle\": \"/srv/web\",\n    \"created\": \"2024-05-01T12:00:00.000000Z\",\n"
	    "    \"detached\": true,\n    \"external_descriptors\": \"[]\"\n}\n");
	put_in_cgroup(10, "/web/sub");
	check(10, "crun", "web", "web");
	put_in_cgroup(11, "/system.slice/crun-db.scope/container");
	check(11, "crun", "db", "db");
}
END_TEST

START_TEST(lxc_and_nspawn)
{
	put_in_cgroup(10, "/lxc.payload.box/system.slice/nginx.service");
	check(10, "lxc", "box", "box");
	ck_assert_str_eq(of(10)->unit, "nginx.service");
	put_in_cgroup(11, "/machine.slice/machine-deb\\x2d12.scope/payload");
	check(11, "systemd-nspawn", "deb-12", "deb-12");
}
END_TEST

START_TEST(a_users_own_runtimes)
{
	const char *user = "/user.slice/user-0.slice/user@0.service/user.slice/";
	char path[PATH_MAX];

	if (geteuid()) {
		fprintf(stderr, "skipped: root makes the files of two users\n");
		return;
	}
	put("etc/passwd", "daemon:x:1:1::/:/bin/false\nnonsense\nroot:x:0:0:root:/root:/bin/bash\n"
			  "joe:x:1000:1000:Joe,,,:/home/joe:/bin/bash\n");
	put_podman("home/joe/.local/share/containers/storage/overlay-containers", A, "joes");
	put_docker("home/joe/.local/share/docker", B, "joes-too");
	put_podman("root/.local/share/containers/storage/overlay-containers", A, "roots");
	put_docker("var/lib/docker", B, "systems");
	put_in_cgroup(10, "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" A
			  ".scope/container");
	/* Not yet the user's. */
	check(10, "podman", A, "0123456789ab");
	snprintf(path, sizeof(path), "chown -R 1000 '%s/host/home/joe'", test_dir);
	ck_assert_int_eq(system(path), 0);
	start();
	check(10, "podman", A, "joes");
	ck_assert_int_eq(of(10)->uid, 1000);
	put_in_cgroup(11, "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" B
			  ".scope");
	check(11, "docker", B, "joes-too");
	snprintf(path, sizeof(path), "%slibpod-" A ".scope", user);
	put_in_cgroup(12, path);
	check(12, "podman", A, "roots");
	/* A user who calls a cgroup like a container of the system. */
	put_docker("var/lib/docker", C, "payroll");
	put_in_cgroup(13, "/user.slice/user-1000.slice/user@1000.service/docker-" C ".scope");
	check(13, "docker", C, "cccccccccccc");
}
END_TEST

START_TEST(a_user_cannot_lead_elsewhere)
{
	char path[PATH_MAX];

	if (geteuid()) {
		fprintf(stderr, "skipped: root makes the files of two users\n");
		return;
	}
	put("etc/passwd", "joe:x:1000:1000::/home/joe:/bin/sh\nann:x:1001:1001::/home/ann:/bin/sh\n"
			  "bob:x:1002:1002::/home/bob:/bin/sh\n");
	put_podman("var/lib/containers/storage/overlay-containers", A, "secret");
	put("home/joe/x", "");
	put("home/ann/.local/share/x", "");
	/* A link within his home is his own affair. */
	put_podman("home/bob/data/storage/overlay-containers", B, "bobs");
	put("home/bob/.local/share/containers/x", "");
	ck_assert_int_eq(symlink("../../../data/storage",
				 host("home/bob/.local/share/containers/storage")),
			 0);
	ck_assert_int_eq(symlink("/var/lib", host("home/joe/.local")), 0);
	ck_assert_int_eq(symlink("../../../../var/lib/containers",
				 host("home/ann/.local/share/containers")),
			 0);
	snprintf(path, sizeof(path),
		 "cd '%s/host/home' && chown -Rh 1000 joe && "
		 "chown -Rh 1001 ann && chown -Rh 1002 bob",
		 test_dir);
	ck_assert_int_eq(system(path), 0);
	put_in_cgroup(10, "/user.slice/user-1000.slice/user@1000.service/libpod-" A ".scope");
	put_in_cgroup(11, "/user.slice/user-1001.slice/user@1001.service/libpod-" A ".scope");
	check(10, "podman", A, "0123456789ab");
	check(11, "podman", A, "0123456789ab");
	put_in_cgroup(12, "/user.slice/user-1002.slice/user@1002.service/libpod-" B ".scope");
	check(12, "podman", B, "bobs");
	put_in_cgroup(13, "/user.slice/user-1003.slice/user@1003.service/libpod-" C ".scope");
	check(13, "podman", C, "cccccccccccc");
}
END_TEST

/* ---- on the host, and by looks ---- */

START_TEST(services_and_plain_processes_are_in_no_container)
{
	put_process(10, "0::/system.slice/nginx.service\n", HOST_NS, HOST_NS + 5);
	put_process(11, "0::/\n", HOST_NS, HOST_NS);
	put_process(12, "0::/user.slice/app-browser.scope\n", HOST_NS + 5, HOST_NS);
	put_process(13, "", HOST_NS, HOST_NS);
	put_process(14, "garbage\n\n::\n:\n0:\n", HOST_NS, HOST_NS);
	put_proc(15, "cgroup", "0::/x.service\n"); /* namespaces that cannot be read */
	check(10, "", "", "");
	ck_assert_str_eq(of(10)->unit, "nginx.service");
	for (pid_t pid = 11; pid <= 15; pid++)
		check(pid, "", "", "");
	ck_assert_ptr_null(containers__of(containers, 99, NULL, 0));
	ck_assert_int_eq(errno, ESRCH);
}
END_TEST

START_TEST(foreign_pids_and_mounts_are_a_container)
{
	put_process(10, "0::/user.slice/session-3.scope\n", 4026532222U, 4026532223U);
	check(10, "namespace", "pidns-4026532222", "pidns-4026532222");
	ck_assert_str_eq(of(10)->unit, "session-3.scope");
}
END_TEST

START_TEST(where_pid_1_is_closed_to_us_we_are_the_host)
{
	char path[PATH_MAX];

	put_process(10, "0::/x\n", HOST_NS, HOST_NS);
	put_process(11, "0::/x\n", HOST_NS + 1, HOST_NS + 1);
	snprintf(path, sizeof(path), "rm -r '%s/proc/1'; cp -a '%s/proc/10' '%s/proc/self'",
		 test_dir, test_dir, test_dir);
	ck_assert_int_eq(system(path), 0);
	start();
	check(10, "", "", "");
	check(11, "namespace", "pidns-4026531837", "pidns-4026531837");
	/* Nothing is known of it. */
	snprintf(path, sizeof(path), "rm -r '%s/proc/self'", test_dir);
	ck_assert_int_eq(system(path), 0);
	start();
	check(11, "", "", "");
}
END_TEST

START_TEST(the_line_that_tells_of_a_container_counts)
{
	char path[PATH_MAX], small[5];

	put_docker("var/lib/docker", A, "web");
	put_process(10,
		    "5:pids:/system.slice/docker.service\n4:memory:/docker/" A
		    "\n0::/system.slice/containerd.service\n",
		    HOST_NS + 1, HOST_NS + 1);
	check(10, "docker", A, "web");
	containers__of(containers, 10, path, sizeof(path));
	ck_assert_str_eq(path, "/docker/" A);
	containers__of(containers, 10, small, sizeof(small));
	ck_assert_str_eq(small, "/doc");
	put_process(11, "2:cpu:/\n1:name=systemd:/a.service\n0::/\n", HOST_NS, HOST_NS);
	put_process(12, "1:name=systemd:/a.service\n0::/b.service\n", HOST_NS, HOST_NS);
	put_process(13, "1:name=systemd:/\n0::/\n", HOST_NS, HOST_NS);
	containers__of(containers, 11, path, sizeof(path));
	ck_assert_str_eq(path, "/a.service");
	ck_assert_str_eq(of(11)->unit, "a.service");
	containers__of(containers, 12, path, sizeof(path));
	ck_assert_str_eq(path, "/b.service");
	containers__of(containers, 13, path, sizeof(path));
	ck_assert_str_eq(path, "/");
	containers__of(containers, 99, path, sizeof(path));
	ck_assert_str_eq(path, "");
}
END_TEST

START_TEST(what_is_nested_has_no_name_from_outside)
{
	char label[600];

	put_docker("var/lib/docker", A, "node");
	put_docker("var/lib/docker", C, "payroll");
	put_in_cgroup(10, "/docker/" A "/docker/" C);
	check(10, "docker", C, "cccccccccccc");
	ck_assert_str_eq(of(10)->outer_id, A);
	ck_assert_str_eq(of(10)->outer_name, "node");
	ck_assert_str_eq(container__label(of(10), label, sizeof(label)), "node/cccccccccccc");
	put_in_cgroup(11, "/docker/" A "/system.slice/docker-" C ".scope");
	check(11, "docker", C, "cccccccccccc");
}
END_TEST

START_TEST(in_a_container_ourselves_the_inner_ones_have_names)
{
	put_docker("var/lib/docker", C, "inner");
	put_process(1, "0::/docker/" A "\n", HOST_NS, HOST_NS);
	put_in_cgroup(10, "/docker/" A "/docker/" C);
	put_in_cgroup(11, "/docker/" A "/docker/" C "/docker/" B);
	start();
	check(10, "docker", C, "inner");
	ck_assert_str_eq(of(10)->outer_id, "");
	check(11, "docker", B, "0123456789ab");
	ck_assert_str_eq(of(11)->outer_name, "inner");
}
END_TEST

/* ---- hostile and broken ---- */

START_TEST(a_broken_file_is_no_name)
{
	static const char *const broken[] = {
		"",
		"{",
		"[]",
		"null",
		"7",
		"\"web\"",
		"{\"Name\":",
		"{\"Name\":\"/web",
		"{\"Name\":{}}",
		"{\"Name\":7}",
		"{\"Name\":null}",
		"{\"Name\":\"\"}",
		"{\"Name\":\"/\"}",
		"{\"Config\":[],\"Name\":[\"web\"]}",
		"{\"Config\":{\"Labels\":[1,2]}}",
		"{\"Config\":{\"Labels\":{\"io.kubernetes.container.name\":{}}}}",
		"\xff\xfe{\"Name\":\"web\"}",
	};

	put_in_cgroup(10, "/docker/" A);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		put("var/lib/docker/containers/" A "/config.v2.json", broken[i]);
		start();
		check(10, "docker", A, "0123456789ab");
	}
}
END_TEST

START_TEST(broken_lists_are_no_names)
{
	static const char *const broken[] = {
		"",
		"[",
		"{}",
		"[[]]",
		"[{}]",
		"[null,7,\"x\"]",
		"[{\"id\":7}]",
		"[{\"id\":\"" A "\"}]",
		"[{\"id\":\"" A "\",\"names\":{}}]",
		"[{\"id\":\"" A "\",\"names\":[]}]",
		"[{\"id\":\"" A "\",\"names\":[7]}]",
	};
	static const char *const states[] = {
		"",
		"[]",
		"{\"cgroup_paths\":7}",
		"{\"cgroup_paths\":{\"\":7,\"x\":null}}",
		"{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup\",\"a\":\"/sys/fs/cgroup/a\",\"b\":\"/"
		"\"}}",
		"{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/\",\"memory\":\"/sys/fs/cgroup/memory/"
		"\"}}",
		"{\"init_process_pid\":\"x\",\"init_process_start\":{},\"cgroup_paths\":{}}",
		"{\"init_process_pid\":-1,\"cgroup_paths\":{}}",
	};

	put_in_cgroup(10, "/libpod_parent/libpod-" A);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		put("var/lib/containers/storage/overlay-containers/containers.json", broken[i]);
		start();
		check(10, "podman", A, "0123456789ab");
	}
	put_process(11, "0::/some/where\n", HOST_NS, HOST_NS);
	put_process(12, "1:cpu:/\n0::/\n", HOST_NS, HOST_NS);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		put("run/runc/web/state.json", states[i]);
		put("run/crun/web/status", states[i]);
		put(TASKS "/default/web/config.json", states[i]);
		start();
		check(11, "", "", "");
		check(12, "", "", "");
	}
}
END_TEST

START_TEST(names_are_cut_to_size_and_deep_json_is_refused)
{
	static char text[1100000];
	size_t n;

	put_in_cgroup(10, "/docker/" A);
	n = sprintf(text, "{\"Name\":\"/");
	memset(text + n, 'x', 5000);
	strcpy(text + n + 5000, "\"}");
	put("var/lib/docker/containers/" A "/config.v2.json", text);
	start();
	ck_assert_uint_ge(strlen(of(10)->name), 200);
	ck_assert_uint_lt(strlen(of(10)->name), CONTAINER_TEXT_SIZE);

	memset(text, '[', 100000);
	strcpy(text + 100000, "{\"Name\":\"/web\"}");
	put("var/lib/docker/containers/" A "/config.v2.json", text);
	start();
	check(10, "docker", A, "0123456789ab");

	/* One byte more than is read. */
	n = sprintf(text, "{\"Name\":\"/web\"}");
	memset(text + n, ' ', (1 << 20) - n);
	text[1 << 20] = 0;
	put("var/lib/docker/containers/" A "/config.v2.json", text);
	start();
	check(10, "docker", A, "web");
	text[1 << 20] = ' ';
	text[(1 << 20) + 1] = 0;
	put("var/lib/docker/containers/" A "/config.v2.json", text);
	start();
	check(10, "docker", A, "0123456789ab");
}
END_TEST

START_TEST(only_regular_files_in_the_tree_are_read)
{
	put_in_cgroup(10, "/docker/" A);
	/* A pipe, which must not be waited for; a folder; a link out of the tree; one in it. */
	ck_assert_int_eq(mkfifo(host("var/lib/docker/containers/" A "/config.v2.json"), 0600), 0);
	start();
	check(10, "docker", A, "0123456789ab");
	unlink(host("var/lib/docker/containers/" A "/config.v2.json"));
	ck_assert_int_eq(mkdir(host("var/lib/docker/containers/" A "/config.v2.json"), 0700), 0);
	start();
	check(10, "docker", A, "0123456789ab");
	rmdir(host("var/lib/docker/containers/" A "/config.v2.json"));
	write_script(test_path("outside.json"), "{\"Name\":\"/outside\"}");
	ck_assert_int_eq(symlink("../../../../../../outside.json",
				 host("var/lib/docker/containers/" A "/config.v2.json")),
			 0);
	start();
	check(10, "docker", A, "0123456789ab");
	unlink(host("var/lib/docker/containers/" A "/config.v2.json"));
	put("inside.json", "{\"Name\":\"/inside\"}");
	ck_assert_int_eq(
		symlink("/inside.json", host("var/lib/docker/containers/" A "/config.v2.json")), 0);
	start();
	check(10, "docker", A, "0123456789ab");
	/* Folders of the system may be links, as /var/lib/docker -> /srv/docker: in the tree. */
	put_docker("srv/docker", C, "web");
	ck_assert_int_eq(rename(host("var/lib/docker"), test_path("old")), 0);
	ck_assert_int_eq(symlink("/srv/docker", host("var/lib/docker")), 0);
	put_in_cgroup(11, "/docker/" C);
	check(11, "docker", C, "web");
	if (!geteuid()) {
		ck_assert_int_eq(
			chown(host("srv/docker/containers/" C "/config.v2.json"), 1000, 1000), 0);
		start();
		check(11, "docker", C, "cccccccccccc");
	}
}
END_TEST

/* ---- what is kept ---- */

START_TEST(a_cgroup_is_looked_up_once)
{
	put_docker("var/lib/docker", A, "web");
	put_in_cgroup(10, "/docker/" A);
	check(10, "docker", A, "web");
	put_docker("var/lib/docker", A, "renamed");
	put_in_cgroup(11, "/docker/" A);
	check(11, "docker", A, "web");
	/* The process goes elsewhere. */
	put_docker("var/lib/docker", C, "other");
	put_in_cgroup(10, "/docker/" C);
	check(10, "docker", C, "other");
}
END_TEST

START_TEST(a_name_that_comes_late_is_seen_when_it_is_looked_for)
{
	put_process(10, "0::/user.slice\n", HOST_NS + 7, HOST_NS + 7);
	put_in_cgroup(11, "/docker/" A);
	check(10, "namespace", "pidns-4026531843", "pidns-4026531843");
	ck_assert_str_ne(of(11)->name, "web");
	put("run/runc/db/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/user.slice\"}}");
	put_docker("var/lib/docker", A, "web");
	check(10, "namespace", "pidns-4026531843", "pidns-4026531843");
	containers__look_again(containers);
	check(10, "runc", "db", "db");
	check(11, "docker", A, "web");
	/* What has a name keeps it. */
	put_docker("var/lib/docker", A, "renamed");
	containers__look_again(containers);
	check(11, "docker", A, "web");
}
END_TEST

START_TEST(more_cgroups_than_are_kept)
{
	char name[32], line[64];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 5000; i++) {
			snprintf(name, sizeof(name), "box%d", i);
			snprintf(line, sizeof(line), "0::/lxc.payload.%s\n", name);
			put_proc(10, "cgroup", line);
			check(10, "lxc", name, name);
		}
	}
}
END_TEST

START_TEST(no_descriptor_stays_open)
{
	int fds = open_fd_cnt();
	struct container *list;
	uint32_t cnt;

	put_docker("var/lib/docker", A, "web");
	put("run/runc/db/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/dbs/db\"}}");
	put(TASKS "/default/redis/config.json", "{\"linux\":{\"cgroupsPath\":\"/default/redis\"}}");
	put("etc/passwd", "joe:x:1000:1000::/home/joe:/bin/sh\n");
	put_docker("home/joe/.local/share/docker", A, "web");
	put_in_cgroup(10, "/docker/" A);
	put_in_cgroup(11, "/dbs/db");
	put_in_cgroup(12, "/none");
	put_in_cgroup(13, "/user.slice/user@1000.service/docker-" A ".scope");
	for (int i = 0; i < 10; i++) {
		start();
		ck_assert_int_eq(containers__list(containers, &list, &cnt), 0);
		free(list);
	}
	ck_assert_int_eq(open_fd_cnt(), fds);
}
END_TEST

START_TEST(without_files_there_are_no_names)
{
	containers__free(containers);
	containers = containers__new("/nonexistent", test_path("proc"));
	ck_assert_ptr_nonnull(containers);
	put_in_cgroup(10, "/docker/" A);
	check(10, "docker", A, "0123456789ab");
	put_in_cgroup(11, "/x");
	check(11, "namespace", "pidns-4026531947", "pidns-4026531947");
	/* And this system's own. */
	containers__free(containers);
	containers = containers__new(NULL, NULL);
	ck_assert_ptr_nonnull(containers);
	ck_assert_ptr_nonnull(containers__of(containers, getpid(), NULL, 0));
	ck_assert_ptr_null(containers__of(containers, gone_pid(), NULL, 0));
	containers__free(NULL);
}
END_TEST

/* ---- by name ---- */

static void put_many(void)
{
	put_docker("var/lib/docker", A, "web");
	put_docker("var/lib/docker", B, "db");
	put_docker("var/lib/docker", C, B);
	put_in_cgroup(10, "/docker/" A);
	put_in_cgroup(11, "/docker/" A);
	put_in_cgroup(12, "/docker/" B);
	put_in_cgroup(13, "/docker/" C);
	put_in_cgroup(14, "/lxc.payload.box");
	put_process(15, "0::/system.slice/x.service\n", HOST_NS, HOST_NS);
}

static void check_found(const char *text, const char *id)
{
	struct container found;

	ck_assert_msg(!containers__find(containers, text, &found), "%s", text);
	ck_assert_str_eq(found.id, id);
}

START_TEST(a_container_is_found_as_docker_finds_it)
{
	struct container found;

	put_many();
	check_found("web", A);
	check_found(A, A);
	check_found("db", B);
	check_found("c", C);
	check_found("0123456789abc", A);
	check_found("0123456789abf", B);
	check_found("box", "box");
	ck_assert_int_eq(containers__find(containers, "0123456789ab", &found), -ENOTUNIQ);
	/* An id of one, and the name of another. */
	check_found(B, B);
	ck_assert_int_eq(containers__find(containers, "we", &found), -ENOENT);
	ck_assert_int_eq(containers__find(containers, "bo", &found), -ENOENT);
	ck_assert_int_eq(containers__find(containers, "", &found), -ENOENT);
	ck_assert_int_eq(containers__find(containers, A "0", &found), -ENOENT);
	ck_assert_int_eq(containers__find(containers, "x.service", &found), -ENOENT);
}
END_TEST

START_TEST(a_process_matches_or_does_not)
{
	struct container found;

	put_many();
	ck_assert(container__matches(of(10), "web"));
	ck_assert(container__matches(of(10), "0123"));
	ck_assert(container__matches(of(10), A));
	ck_assert(!container__matches(of(10), "db"));
	ck_assert(!container__matches(of(10), ""));
	ck_assert(!container__matches(of(15), ""));
	ck_assert(!container__matches(of(15), "x"));
	ck_assert_int_eq(containers__find(containers, "web", &found), 0);
	ck_assert(container__is_in(of(10), &found));
	ck_assert(!container__is_in(of(12), &found));
	ck_assert(!container__is_in(of(15), &found));
}
END_TEST

START_TEST(pods_tell_containers_of_the_same_name_apart)
{
	struct container found, *list;
	char names[400];
	uint32_t cnt;

	for (int i = 1; i <= 2; i++) {
		char path[256], text[512], id[65];

		memset(id, '0' + i, 64);
		id[64] = 0;
		snprintf(path, sizeof(path), TASKS "/k8s.io/%s/config.json", id);
		snprintf(text, sizeof(text),
			 "{\"annotations\":{\"io.kubernetes.cri.container-name\":"
			 "\"app\",\"io.kubernetes.cri.sandbox-name\":\"shop-%d\","
			 "\"io.kubernetes.cri.sandbox-namespace\":\"prod\"}}",
			 i);
		put(path, text);
		snprintf(path, sizeof(path), "/kubepods/pod%d/%s", i, id);
		put_in_cgroup(10 + i, path);
	}
	ck_assert_int_eq(containers__find(containers, "app", &found), -ENOTUNIQ);
	ck_assert_int_eq(containers__find(containers, "shop-2/app", &found), 0);
	ck_assert_str_eq(found.pod, "shop-2");
	ck_assert_int_eq(containers__find(containers, "prod/shop-1/app", &found), 0);
	ck_assert_str_eq(found.pod, "shop-1");
	ck_assert_int_eq(containers__find(containers, "test/shop-1/app", &found), -ENOENT);
	ck_assert_int_eq(containers__list(containers, &list, &cnt), 0);
	ck_assert_str_eq(container__names(list, cnt, "app", names, sizeof(names)),
			 "prod/shop-1/app, prod/shop-2/app");
	free(list);
}
END_TEST

START_TEST(nobody_takes_anothers_name_or_id)
{
	const char *user = "/user.slice/user-1000.slice/user@1000.service/docker-" A ".scope";
	struct container found;

	put_many();
	/* A container with a cgroup called like another's, and a user with one. */
	put_in_cgroup(20, "/docker/" C "/docker/" A);
	put_in_cgroup(9, user);
	put_in_cgroup(21, user);
	check_found(A, A);
	check_found("web", A);
	ck_assert_int_eq(containers__find(containers, A, &found), 0);
	ck_assert_int_eq(found.uid, -1);
	ck_assert(container__is_in(of(10), &found));
	ck_assert(!container__is_in(of(20), &found));
	ck_assert(!container__is_in(of(21), &found));
	/* It is in the outer one, whatever it calls itself. */
	check_found("c", C);
	ck_assert_int_eq(containers__find(containers, "c", &found), 0);
	ck_assert(container__is_in(of(20), &found));
	ck_assert(container__matches(of(20), "cccc"));
}
END_TEST

START_TEST(an_outer_container_is_found_by_what_is_nested_in_it)
{
	struct container found;

	put_docker("var/lib/docker", A, "node");
	put_in_cgroup(10, "/docker/" A "/docker/" B);
	put_in_cgroup(11, "/docker/" A "/docker/" C);
	check_found("node", A);
	check_found("0123456789abc", A);
	check_found("cc", C);
	check_found("node/cccccccccccc", C);
	ck_assert_int_eq(containers__find(containers, "node", &found), 0);
	ck_assert_str_eq(found.name, "node");
	ck_assert(container__is_in(of(10), &found) && container__is_in(of(11), &found));
}
END_TEST

START_TEST(the_list_is_what_runs_in_order_each_once)
{
	struct container *list;
	char names[400], small[40];
	uint32_t cnt;

	put_many();
	put_docker("var/lib/docker", B, "web");
	put_process(16, "0::/\n", HOST_NS + 9, HOST_NS + 9);
	ck_assert_int_eq(containers__list(containers, &list, &cnt), 0);
	ck_assert_uint_eq(cnt, 5);
	ck_assert_str_eq(container__names(list, cnt, NULL, names, sizeof(names)),
			 B ", box, pidns-4026531845, web (0123456789ab), web (0123456789ab)");
	ck_assert_str_eq(container__names(list, cnt, "box", names, sizeof(names)), "box");
	ck_assert_str_eq(container__names(list, cnt, "none", names, sizeof(names)), "");
	ck_assert_str_eq(container__names(list + 1, cnt - 1, NULL, small, sizeof(small)),
			 "box, and 3 more");
	ck_assert_str_eq(container__names(list, cnt, NULL, small, sizeof(small)), "5 more");
	free(list);
}
END_TEST

START_TEST(no_containers_is_an_empty_list)
{
	struct container *list;
	uint32_t cnt;
	char names[8] = "x";

	ck_assert_int_eq(containers__list(containers, &list, &cnt), 0);
	ck_assert_uint_eq(cnt, 0);
	ck_assert_str_eq(container__names(list, cnt, NULL, names, sizeof(names)), "");
	free(list);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("container");
	TCase *tcase = tcase_create("container");

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 30);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, docker);
	tcase_add_test(tcase, docker_with_its_data_elsewhere);
	tcase_add_test(tcase, docker_under_kubernetes);
	tcase_add_test(tcase, containerd_under_kubernetes);
	tcase_add_test(tcase, k3s_has_its_own_folder);
	tcase_add_test(tcase, nerdctl_and_ctr);
	tcase_add_test(tcase, podman);
	tcase_add_test(tcase, podman_with_another_storage_driver);
	tcase_add_test(tcase, cri_o);
	tcase_add_test(tcase, runc_by_cgroup);
	tcase_add_test(tcase, runc_by_the_namespace_of_its_first_process);
	tcase_add_test(tcase, runc_called_by_podman);
	tcase_add_test(tcase, crun);
	tcase_add_test(tcase, lxc_and_nspawn);
	tcase_add_test(tcase, a_users_own_runtimes);
	tcase_add_test(tcase, a_user_cannot_lead_elsewhere);
	tcase_add_test(tcase, services_and_plain_processes_are_in_no_container);
	tcase_add_test(tcase, foreign_pids_and_mounts_are_a_container);
	tcase_add_test(tcase, where_pid_1_is_closed_to_us_we_are_the_host);
	tcase_add_test(tcase, the_line_that_tells_of_a_container_counts);
	tcase_add_test(tcase, what_is_nested_has_no_name_from_outside);
	tcase_add_test(tcase, in_a_container_ourselves_the_inner_ones_have_names);
	tcase_add_test(tcase, a_broken_file_is_no_name);
	tcase_add_test(tcase, broken_lists_are_no_names);
	tcase_add_test(tcase, names_are_cut_to_size_and_deep_json_is_refused);
	tcase_add_test(tcase, only_regular_files_in_the_tree_are_read);
	tcase_add_test(tcase, a_cgroup_is_looked_up_once);
	tcase_add_test(tcase, a_name_that_comes_late_is_seen_when_it_is_looked_for);
	tcase_add_test(tcase, more_cgroups_than_are_kept);
	tcase_add_test(tcase, no_descriptor_stays_open);
	tcase_add_test(tcase, without_files_there_are_no_names);
	tcase_add_test(tcase, a_container_is_found_as_docker_finds_it);
	tcase_add_test(tcase, a_process_matches_or_does_not);
	tcase_add_test(tcase, pods_tell_containers_of_the_same_name_apart);
	tcase_add_test(tcase, nobody_takes_anothers_name_or_id);
	tcase_add_test(tcase, an_outer_container_is_found_by_what_is_nested_in_it);
	tcase_add_test(tcase, the_list_is_what_runs_in_order_each_once);
	tcase_add_test(tcase, no_containers_is_an_empty_list);
	return run_suite(suite);
}
