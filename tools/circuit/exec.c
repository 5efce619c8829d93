// SPDX-License-Identifier: GPL-2.0
/*
 * circuit exec: run one program with its TCP sockets redirected.
 *
 * The program goes into a cgroup of its own, below the one it would be in, which is
 * redirected: so are its children then, however they are linked. Who may not do that
 * has a library loaded into the program, which asks for circuits in its stead: static
 * programs do not notice it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "circuit.h"

#ifndef LIBDIR
#define LIBDIR	"/usr/lib"
#endif
#define LIBRARY	"libcircuit-preload.so"
#define NAME	"circuit-exec"

/* This process's cgroup, from the root of the unified hierarchy. */
static int own_cgroup(char *path, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX + 8];
	int ret = -1;

	while (f && ret && fgets(line, sizeof(line), f))
		if (!strncmp(line, "0::/", 4)) {
			line[strcspn(line, "\n")] = 0;
			ret = (size_t)snprintf(path, size, "%s", line + 3) < size ? 0 : -1;
		}
	if (f)
		fclose(f);
	return ret;
}

static int enter_cgroup(const char *dir)
{
	char procs[2 * PATH_MAX + 16];
	int fd, ret;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ret = write(fd, "0", 1) == 1 ? 0 : -1;
	close(fd);
	return ret;
}

/* Returns NULL, or what was in the way, with errno. */
static const char *redirect_me(void)
{
	const char *mount = cgroup_mount(), *what = NULL, *last;
	char own[PATH_MAX], dir[2 * PATH_MAX];
	struct stat st;
	bool made;
	int saved;

	errno = ENOENT;
	if (!mount || own_cgroup(own, sizeof(own)))
		return "cgroups of the unified hierarchy";
	/* One program run by another is redirected as it is. */
	last = strrchr(own, '/');
	if (!strcmp(last, "/" NAME))
		snprintf(dir, sizeof(dir), "%s%s", mount, own);
	else
		snprintf(dir, sizeof(dir), "%s%s/" NAME, mount, last[1] ? own : "");
	made = !mkdir(dir, 0755);
	if (!made && errno != EEXIST)
		return "making a cgroup";
	if (!made && (stat(dir, &st) || st.st_uid != geteuid())) {
		errno = EPERM;		/* its owner decides who is in it */
		return "taking a cgroup of somebody else's";
	}
	if (redirect_cgroup(CIRCUIT_GUEST_CMD_CGROUP_ADD, dir, true) && errno != EEXIST) {
		what = "redirecting a cgroup";
	} else if (enter_cgroup(dir)) {
		what = "entering a cgroup";
		saved = errno;
		if (made)
			redirect_cgroup(CIRCUIT_GUEST_CMD_CGROUP_DEL, dir, true);
		errno = saved;
	}
	if (what && made) {
		saved = errno;
		rmdir(dir);
		errno = saved;
	}
	return what;
}

static int preload(void)
{
	const char *library = getenv("CIRCUIT_PRELOAD"), *old = getenv("LD_PRELOAD");
	char value[2 * PATH_MAX];

	if (!library)
		library = LIBDIR "/" LIBRARY;
	if (access(library, R_OK)) {
		fprintf(stderr, "circuit: exec: %s: %s\n", library, strerror(errno));
		return EXIT_KERNEL;
	}
	snprintf(value, sizeof(value), "%s%s%s", library, old && *old ? ":" : "", old ? old : "");
	setenv("LD_PRELOAD", value, 1);
	return EXIT_OK;
}

int do_exec(int argc, char **argv)
{
	bool with_library = argc && !strcmp(argv[0], "--preload");
	const char *what;

	argc -= with_library;
	argv += with_library;
	if (argc && !strcmp(argv[0], "--")) {
		argc--;
		argv++;
	}
	if (!argc)
		return usage_error("exec [ --preload ] -- PROGRAM [ ARG ]...");
	if (!nl_there(&nl_guest)) {
		fprintf(stderr, "circuit: %s\n", nl_guest.missing);
		return EXIT_KERNEL;
	}
	if (!with_library) {
		what = redirect_me();
		if (what) {
			fprintf(stderr, "circuit: exec: %s: %s; trying " LIBRARY
				", which static programs do not notice\n", what, strerror(errno));
			with_library = true;
		}
	}
	if (with_library && preload())
		return EXIT_KERNEL;
	execvp(argv[0], argv);
	fprintf(stderr, "circuit: exec: %s: %s\n", argv[0], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}
