// SPDX-License-Identifier: GPL-2.0
/* circuit redirect */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include "circuit.h"

#define SYSCTL	"/proc/sys/net/circuit/redirect"

static int fail(const char *what)
{
	fprintf(stderr, "circuit: redirect: %s: %s\n", what, strerror(errno));
	return EXIT_KERNEL;
}

/* Where the unified hierarchy is mounted, or NULL. */
const char *cgroup_mount(void)
{
	static char path[PATH_MAX];
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *m;

	if (!mounts)
		return NULL;
	while (!*path && (m = getmntent(mounts)))
		if (!strcmp(m->mnt_type, "cgroup2"))
			snprintf(path, sizeof(path), "%s", m->mnt_dir);
	endmntent(mounts);
	return *path ? path : NULL;
}

static int cgroup_id(const char *path, uint64_t *id)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + sizeof(*id)];
	} u = { .handle.handle_bytes = sizeof(*id) };
	struct statfs fs;
	int mount;

	if (statfs(path, &fs))
		return -1;
	if (fs.f_type != CGROUP2_SUPER_MAGIC) {
		errno = ENOTTY;
		return -1;
	}
	if (name_to_handle_at(AT_FDCWD, path, &u.handle, &mount, 0))
		return -1;
	memcpy(id, u.handle.f_handle, sizeof(*id));
	return 0;
}

/* @path may be given from the root of the hierarchy, as systemd names its units. */
int redirect_cgroup(uint8_t cmd, const char *path, bool quiet)
{
	const char *mount = cgroup_mount();
	char full[2 * PATH_MAX];
	struct nlmsghdr *nlh;
	uint64_t id;

	if (cgroup_id(path, &id)) {
		snprintf(full, sizeof(full), "%s/%s", mount ? mount : "", path);
		if (!mount || (errno != ENOENT && errno != ENOTTY) || cgroup_id(full, &id)) {
			if (quiet)
				return EXIT_KERNEL;
			if (errno == ENOTTY)
				fprintf(stderr, "circuit: redirect: %s: not a cgroup of the unified hierarchy\n",
					path);
			else
				fail(path);
			return EXIT_KERNEL;
		}
	}
	nlh = nl_request(&nl_guest, cmd, NLM_F_ACK);
	mnl_attr_put_u64(nlh, CIRCUIT_GUEST_A_CGROUP_ID, id);
	return quiet ? nl_try(nlh, NULL, NULL) : nl_talk(nlh, NULL, NULL);
}

static int with_cgroup(uint8_t cmd, int argc, char **argv)
{
	if (argc != 2 || strcmp(argv[0], "cgroup"))
		return usage_error("redirect: { add | del } cgroup PATH");
	return redirect_cgroup(cmd, argv[1], false);
}

static int redirect_add(int argc, char **argv)
{
	return with_cgroup(CIRCUIT_GUEST_CMD_CGROUP_ADD, argc, argv);
}

static int redirect_del(int argc, char **argv)
{
	return with_cgroup(CIRCUIT_GUEST_CMD_CGROUP_DEL, argc, argv);
}

static int sysctl_set(int argc, const char *value)
{
	int fd, ret = EXIT_OK;

	if (argc)
		return usage_error("redirect: on or off, and nothing else");
	nl_request(&nl_guest, CIRCUIT_GUEST_CMD_STATS_GET, 0);	/* a clear word if it is not there */
	fd = open(SYSCTL, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(SYSCTL);
	if (write(fd, value, 1) != 1)
		ret = fail(SYSCTL);
	close(fd);
	return ret;
}

static int redirect_on(int argc, char **argv)
{
	(void)argv;
	return sysctl_set(argc, "1");
}

static int redirect_off(int argc, char **argv)
{
	(void)argv;
	return sysctl_set(argc, "0");
}

static int print_cgroup(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_GUEST_A_CGROUP_MAX + 1];

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_GUEST_A_CGROUP_MAX);
	out_open();
	out_str("cgroup", "cgroup", nl_str(tb[CIRCUIT_GUEST_A_CGROUP_PATH]));
	out_json_only_u64("id", nl_u64(tb[CIRCUIT_GUEST_A_CGROUP_ID]));
	out_close();
	return MNL_CB_OK;
}

static int redirect_show(int argc, char **argv)
{
	char value[4] = "";
	struct nlmsghdr *nlh;
	int fd, ret;

	(void)argv;
	if (argc)
		return usage_error("redirect show takes no arguments");
	nlh = nl_request(&nl_guest, CIRCUIT_GUEST_CMD_CGROUP_GET, NLM_F_DUMP);
	fd = open(SYSCTL, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, value, sizeof(value) - 1) < 1)
		return fail(SYSCTL);
	close(fd);
	out_begin();
	out_open();
	out_str("netns", "network namespace", *value == '1' ? "on" : "off");
	out_close();
	ret = nl_try(nlh, print_cgroup, NULL);
	if (ret && errno == EPERM) {
		ret = EXIT_OK;
		fputs("circuit: redirect: which cgroups are redirected is the administrator's to see\n",
		      stderr);
	} else if (ret) {
		fail("cgroups");
	}
	out_end();
	return ret;
}

static const struct command redirect_commands[] = {
	{ "show", redirect_show },
	{ "on", redirect_on },
	{ "off", redirect_off },
	{ "add", redirect_add },
	{ "del", redirect_del },
	{}
};

int do_redirect(int argc, char **argv)
{
	return argc ? dispatch(redirect_commands, "redirect", argc, argv) : redirect_show(0, NULL);
}
