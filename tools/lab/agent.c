// SPDX-License-Identifier: GPL-2.0
/*
 * agent - one static program, three jobs in the lab:
 *
 *  - PID 1 of a guest (called as /init): mounts the usual file systems, loads the modules that
 *    /lab/modules lists, sets up the network, reaps orphans, and serves commands over vsock.
 *  - PID 1 of the host under test (`agent init CMD...`): runs CMD, reaps orphans, and powers the
 *    machine off when CMD ends, however it ends.
 *  - labctl, the client (see usage()).
 *
 * A guest's kernel command line:
 *	lab.name=NAME		host name
 *	lab.ip=A.B.C.D		address on eth0 (/24, default route A.B.C.1, IPv6 fd99::D)
 *	lab.nomod		do not load the module under test (/lab/module)
 *	lab.modargs=A=1,B=2	its parameters
 *
 * Protocol, on one vsock connection per command: frames of a type byte, a 32-bit little-endian
 * length and that many bytes.
 *	client: X (flags byte, then argument for sh -c) first; I (stdin bytes), E (end of stdin)
 *		instead of X: P (power off), R (reboot), M (text for the kernel log),
 *		K (the kernel log from the record whose number is given in decimal)
 *	server: O (stdout), e (stderr), S (exit status, 4 bytes) last
 * The command runs in a session of its own, which is killed when the client goes away.  The answer
 * is complete when the command's main process has ended: output that its own background children
 * produce later is not waited for.
 *
 * Nothing here is a secure protocol: both sides belong to the same test.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/ipv6.h>
#include <linux/vm_sockets.h>

#define PORT		1852
#define FRAME_MAX	65536
#define FLAG_STDIN	1

/* Exit codes of the client that are not the command's own. */
#define EXIT_TIMEOUT	124
#define EXIT_TRANSPORT	125

struct frame {
	uint8_t type;
	uint32_t len;
	char data[FRAME_MAX + 1];
};

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n, fd;

	va_start(ap, fmt);
	n = snprintf(line, sizeof(line), "lab: ");
	n += vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fd = dup(2);
	n = write(fd, line, n);
	(void)n;	/* nobody left to tell */
	close(fd);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			poll(&pfd, 1, -1);
			continue;
		}
		if (n <= 0)
			return -1;
		p += n;
		len -= n;
	}
	return 0;
}

static int read_all(int fd, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= n;
	}
	return 0;
}

static int send_frame(int fd, uint8_t type, const void *data, uint32_t len)
{
	char buf[5 + FRAME_MAX];
	uint32_t le = htole32(len);

	if (len > FRAME_MAX)
		return -1;
	buf[0] = type;
	memcpy(buf + 1, &le, 4);
	if (len)
		memcpy(buf + 5, data, len);
	return write_all(fd, buf, 5 + len);
}

static int recv_frame(int fd, struct frame *f)
{
	char head[5];
	uint32_t le;

	if (read_all(fd, head, sizeof(head)))
		return -1;
	f->type = head[0];
	memcpy(&le, head + 1, 4);
	f->len = le32toh(le);
	if (f->len > FRAME_MAX || read_all(fd, f->data, f->len))
		return -1;
	f->data[f->len] = '\0';
	return 0;
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		say("%s: %s", path, strerror(errno));
	close(fd);
}

/*
 * Hand out this machine's kernel log from record SEQ on, one "[seconds] text" per line, and the
 * number of the next record as the last line ("next N").  Overwritten records are announced.
 */
static int read_kmsg(unsigned long long seq, int (*put)(void *, const char *), void *arg)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	unsigned long long first = seq, us, next = seq;
	char rec[8192], out[8300], *text;
	ssize_t n;

	if (fd < 0)
		return -1;
	for (;;) {
		n = read(fd, rec, sizeof(rec) - 1);
		if (n < 0 && (errno == EPIPE || errno == EINTR))
			continue;	/* overwritten meanwhile: the next read gives the oldest */
		if (n <= 0)
			break;
		rec[n] = '\0';
		if (sscanf(rec, "%*u,%llu,%llu", &seq, &us) != 2 || seq < first)
			continue;
		if (seq > next && next) {
			snprintf(out, sizeof(out), "[lab] %llu records lost\n", seq - next);
			put(arg, out);
		}
		next = seq + 1;
		text = strchr(rec, ';');
		text = text ? text + 1 : rec;
		text[strcspn(text, "\n")] = '\0';	/* then come " KEY=value" lines */
		snprintf(out, sizeof(out), "[%5llu.%06llu] %s\n", us / 1000000, us % 1000000,
			 text);
		if (put(arg, out))
			break;
	}
	close(fd);
	snprintf(out, sizeof(out), "next %llu\n", next);
	return put(arg, out);
}

/* --- the server: one process per connection ------------------------------------------------ */

static int spawn(const char *command, bool want_stdin, int *in, int *out, int *err, pid_t *pid)
{
	int i[2] = { -1, -1 }, o[2], e[2];

	if (pipe2(o, O_CLOEXEC) || pipe2(e, O_CLOEXEC) || (want_stdin && pipe2(i, O_CLOEXEC)))
		return -1;
	*pid = fork();
	if (*pid < 0)
		return -1;
	if (!*pid) {
		setsid();
		if (!want_stdin)
			i[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		dup2(i[0], 0);
		dup2(o[1], 1);
		dup2(e[1], 2);
		signal(SIGPIPE, SIG_DFL);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(o[1]);
	close(e[1]);
	if (want_stdin)
		close(i[0]);
	*in = i[1];
	*out = o[0];
	*err = e[0];
	fcntl(*out, F_SETFL, O_NONBLOCK);
	fcntl(*err, F_SETFL, O_NONBLOCK);
	if (want_stdin)
		fcntl(*in, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Forward what is there; false when the client is gone. Closes *fd at its end. */
static bool forward(int *fd, int sock, uint8_t type, bool drain)
{
	char buf[FRAME_MAX];
	ssize_t n;

	if (*fd < 0)
		return true;
	do {
		n = read(*fd, buf, sizeof(buf));
		if (n > 0 && send_frame(sock, type, buf, n))
			return false;
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			close(*fd);
			*fd = -1;
			return true;
		}
	} while (drain && n > 0);
	return true;
}

static void serve_command(int sock, const char *command, bool want_stdin)
{
	static struct frame f;
	size_t pending = 0, done = 0;	/* bytes of f.data on their way to stdin */
	int in = -1, out, err, pidfd, status;
	uint32_t code;
	pid_t pid;

	if (spawn(command, want_stdin, &in, &out, &err, &pid)) {
		send_frame(sock, 'e', "lab: cannot start a process\n", 28);
		code = htole32(126);
		send_frame(sock, 'S', &code, 4);
		return;
	}
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	for (;;) {
		struct pollfd p[5] = {
			{ .fd = sock, .events = POLLRDHUP | (pending == done ? POLLIN : 0) },
			{ .fd = out, .events = POLLIN },
			{ .fd = err, .events = POLLIN },
			{ .fd = pidfd, .events = POLLIN },
			{ .fd = pending > done ? in : -1, .events = POLLOUT },
		};

		if (poll(p, 5, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents && !forward(&out, sock, 'O', false))
			goto gone;
		if (p[2].revents && !forward(&err, sock, 'e', false))
			goto gone;
		if (p[3].revents)
			break;
		if (p[4].revents) {
			ssize_t n = write(in, f.data + done, pending - done);

			if (n > 0)
				done += n;
			else if (errno != EAGAIN && errno != EINTR)
				done = pending;	/* the command closed its stdin */
		}
		if (p[0].revents & POLLIN) {
			if (recv_frame(sock, &f))
				goto gone;
			if (f.type == 'I' && in >= 0) {
				done = 0;
				pending = f.len;
			} else if (f.type == 'E' && in >= 0) {
				close(in);
				in = -1;
				pending = done = 0;
			}
		} else if (p[0].revents & (POLLHUP | POLLRDHUP | POLLERR)) {
			goto gone;
		}
	}
	if (waitpid(pid, &status, 0) < 0)
		status = 0xff00;
	forward(&out, sock, 'O', true);
	forward(&err, sock, 'e', true);
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	code = htole32(code);
	send_frame(sock, 'S', &code, 4);
	return;
gone:
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

static int send_line(void *arg, const char *line)
{
	return send_frame(*(int *)arg, 'O', line, strlen(line));
}

static void serve_one(int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	static struct frame f;
	uint32_t ok = 0;

	if (recv_frame(sock, &f))
		return;
	switch (f.type) {
	case 'X':
		if (f.len >= 1)
			serve_command(sock, f.data + 1, f.data[0] & FLAG_STDIN);
		break;
	case 'K':
		read_kmsg(strtoull(f.data, NULL, 10), send_line, &sock);
		send_frame(sock, 'S', &ok, 4);
		break;
	case 'M':
		say("%s", f.data);
		send_frame(sock, 'S', &ok, 4);
		break;
	case 'P':
	case 'R':
		send_frame(sock, 'S', &ok, 4);
		sync();
		/*
		 * What is sent leaves in a work of the kernel's: who asked closes when it is there.
		 */
		if (poll(&p, 1, 5000) == 1)
			recv(sock, &ok, sizeof(ok), 0);
		/* Power off takes ACPI; to a VMM with -action reboot=shutdown this is the same. */
		reboot(RB_AUTOBOOT);
		break;
	}
}

static int serve(void)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = PORT,
	};
	int listener, sock;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(listener, 128)) {
		say("cannot listen on vsock: %s", strerror(errno));
		return 1;
	}
	say("ready");
	for (;;) {
		sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0)
			continue;
		switch (fork()) {
		case 0:
			signal(SIGCHLD, SIG_DFL);
			close(listener);
			serve_one(sock);
			/* the peer must not lose the last bytes */
			shutdown(sock, SHUT_WR);
			_exit(0);
		default:
			close(sock);
		}
	}
}

/* --- PID 1 of a guest ------------------------------------------------------------------------ */

static void mount_at(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL) && errno != EBUSY && errno != ENODEV)
		say("mount %s: %s", dir, strerror(errno));
}

/* The value of a word of the kernel command line, or NULL; "" for a word without a value. */
static char *parameter(const char *name)
{
	static char line[4096], value[256];
	char *p, *save = NULL, copy[sizeof(line)];
	size_t len = strlen(name);

	if (!line[0]) {
		int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, line, sizeof(line) - 1);

		line[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	strcpy(copy, line);
	for (p = strtok_r(copy, " \n", &save); p; p = strtok_r(NULL, " \n", &save)) {
		if (strncmp(p, name, len) || (p[len] && p[len] != '='))
			continue;
		snprintf(value, sizeof(value), "%s", p[len] ? p + len + 1 : "");
		return value;
	}
	return NULL;
}

static void load_module(const char *path, const char *args)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, args, 0) && errno != EEXIST))
		say("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void load_list(const char *list, const char *last_args)
{
	char line[512], next[512];
	FILE *f = fopen(list, "re");
	bool more;

	if (!f)
		return;
	more = fgets(line, sizeof(line), f);
	while (more) {
		line[strcspn(line, "\n")] = '\0';
		more = fgets(next, sizeof(next), f);
		/* parameters belong to the last one, the others are what it depends on */
		load_module(line, more || !last_args ? "" : last_args);
		strcpy(line, next);
	}
	fclose(f);
}

static void link_up(int sock, const char *name)
{
	struct ifreq ifr = {};

	strcpy(ifr.ifr_name, name);
	if (ioctl(sock, SIOCGIFFLAGS, &ifr))
		say("%s: %s", name, strerror(errno));
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr))
		say("%s: up: %s", name, strerror(errno));
}

static void put_in(struct sockaddr *to, uint32_t addr)
{
	*(struct sockaddr_in *)to = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = addr,
	};
}

/* Without a process for each step: under emulation they are what takes time here. */
static void network(void)
{
	struct ifreq ifr = { .ifr_name = "eth0" };
	const uint32_t mask = htonl(0xffffff00);
	struct in6_ifreq ifr6 = { .ifr6_prefixlen = 64 };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), sock6;
	char text[64], *ip;
	uint32_t addr;

	link_up(sock, "lo");
	ip = parameter("lab.ip");
	if (!ip || !*ip)
		goto out;
	load_list("/lab/modules.net", NULL);
	put_file("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0");
	put_file("/proc/sys/net/ipv6/conf/eth0/accept_ra", "0");
	addr = inet_addr(ip);
	put_in(&ifr.ifr_addr, addr);
	if (ioctl(sock, SIOCSIFADDR, &ifr))
		say("eth0: address: %s", strerror(errno));
	put_in(&ifr.ifr_netmask, mask);
	if (ioctl(sock, SIOCSIFNETMASK, &ifr))
		say("eth0: mask: %s", strerror(errno));
	link_up(sock, "eth0");
	put_in(&route.rt_dst, 0);
	put_in(&route.rt_genmask, 0);
	put_in(&route.rt_gateway, (addr & mask) | htonl(1));
	if (ioctl(sock, SIOCADDRT, &route))
		say("eth0: route: %s", strerror(errno));
	sock6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(text, sizeof(text), "fd99::%u", ntohl(addr) & 255);
	inet_pton(AF_INET6, text, &ifr6.ifr6_addr);
	ifr6.ifr6_ifindex = if_nametoindex("eth0");
	if (ioctl(sock6, SIOCSIFADDR, &ifr6))
		say("eth0: %s: %s", text, strerror(errno));
	close(sock6);
out:
	close(sock);
}

/* Parameters of the module under test, of which there is one: also for when it is loaded again. */
static void options(char *text)
{
	FILE *f = fopen("/lab/module", "re");
	char module[512] = "", line[512];
	char *c;

	for (c = text; *c; c++)
		if (*c == ',')
			*c = ' ';
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		snprintf(module, sizeof(module), "%s", basename(line));
	fclose(f);
	module[strcspn(module, ".\n")] = '\0';
	mkdir("/etc/modprobe.d", 0755);
	f = fopen("/etc/modprobe.d/lab.conf", "we");
	if (!f || fprintf(f, "options %s %s\n", module, text) < 0)
		say("/etc/modprobe.d: %s", strerror(errno));
	if (f)
		fclose(f);
}

static int guest_init(void)
{
	bool nomod;
	char *text;
	int fd;

	mount_at("devtmpfs", "/dev");
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 01777);
	mount_at("devpts", "/dev/pts");
	mount_at("tmpfs", "/dev/shm");
	mount_at("tmpfs", "/tmp");
	mount_at("tmpfs", "/run");
	mount_at("debugfs", "/sys/kernel/debug");
	mount_at("tracefs", "/sys/kernel/tracing");
	mount_at("configfs", "/sys/kernel/config");
	mount_at("cgroup2", "/sys/fs/cgroup");
	if (symlink("/proc/self/fd", "/dev/fd") || symlink("fd/0", "/dev/stdin") ||
	    symlink("fd/1", "/dev/stdout") || symlink("fd/2", "/dev/stderr"))
		say("/dev/fd: %s", strerror(errno));
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
	}
	setenv("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	put_file("/proc/sys/kernel/printk_ratelimit", "0");
	put_file("/proc/sys/kernel/printk_devkmsg", "on\n");
	put_file("/proc/sys/net/core/somaxconn", "4096");
	text = parameter("lab.name");
	if (text && sethostname(text, strlen(text)))
		say("hostname: %s", strerror(errno));
	load_list("/lab/modules", NULL);
	network();
	nomod = parameter("lab.nomod");
	text = parameter("lab.modargs");
	if (text)
		options(text);
	if (!nomod)
		load_list("/lab/module", text ? text : "");
	for (;;) {
		pid_t server = fork(), pid;

		if (!server)
			_exit(serve());
		do
			pid = waitpid(-1, NULL, 0);
		while (pid != server && !(pid < 0 && errno == ECHILD));
		say("the command server ended, starting it again");
	}
}

/* --- PID 1 of the host under test ------------------------------------------------------------ */

static int host_init(char **argv)
{
	pid_t main_pid = fork(), pid;

	if (!main_pid) {
		setsid();
		execvp(argv[0], argv);
		_exit(127);
	}
	do
		pid = waitpid(-1, NULL, 0);
	while (pid != main_pid && !(pid < 0 && errno == ECHILD));
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}

/* --- labctl ---------------------------------------------------------------------------------- */

static int dial(unsigned int cid, double timeout)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_cid = cid,
		.svm_port = PORT,
	};
	struct timeval tv = {
		.tv_sec = (time_t)timeout,
		.tv_usec = (suseconds_t)((timeout - (time_t)timeout) * 1e6),
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

/* Wait until the guest answers, at most TIMEOUT seconds, or its VMM has ended. */
static int ctl_wait(unsigned int cid, double timeout, pid_t vmm)
{
	const struct timespec tick = { .tv_nsec = 20 * 1000 * 1000 };
	double end = now() + timeout;
	int fd;

	while (now() < end) {
		fd = dial(cid, 0.25);
		if (fd >= 0) {
			close(fd);
			return 0;
		}
		if (vmm && kill(vmm, 0) && errno == ESRCH) {
			fprintf(stderr, "labctl: the VMM has ended\n");
			return EXIT_TRANSPORT;
		}
		nanosleep(&tick, NULL);	/* ENODEV and the like come at once */
	}
	fprintf(stderr, "labctl: guest %u does not answer\n", cid);
	return EXIT_TIMEOUT;
}

static int ctl_exec(unsigned int cid, uint8_t type, const char *command, bool want_stdin,
		    double timeout)
{
	static struct frame f;
	double end = now() + timeout;
	uint32_t code;
	int sock;

	sock = dial(cid, timeout < 10 ? timeout : 10);
	if (sock < 0) {
		fprintf(stderr, "labctl: connect to guest %u: %s\n", cid, strerror(errno));
		return errno == ETIMEDOUT && timeout < 10 ? EXIT_TIMEOUT : EXIT_TRANSPORT;
	}
	signal(SIGPIPE, SIG_IGN);
	f.data[0] = want_stdin ? FLAG_STDIN : 0;
	if (strlen(command) + 1 > FRAME_MAX) {
		fprintf(stderr, "labctl: command too long\n");
		return 2;
	}
	strcpy(f.data + 1, command);
	if (send_frame(sock, type, f.data, 1 + strlen(command)))
		goto lost;
	for (;;) {
		struct pollfd p[2] = {
			{ .fd = sock, .events = POLLIN },
			{ .fd = want_stdin ? 0 : -1, .events = POLLIN },
		};
		double left = end - now();
		int n;

		if (left <= 0) {
			fprintf(stderr, "labctl: timeout after %g s: %s\n", timeout, command);
			return EXIT_TIMEOUT;
		}
		n = poll(p, 2, left > 1000 ? 1000000 : (int)(left * 1000) + 1);
		if (n < 0 && errno != EINTR)
			goto lost;
		if (n <= 0)
			continue;
		if (p[0].revents) {
			if (recv_frame(sock, &f))
				goto lost;
			switch (f.type) {
			case 'O':
			case 'e':
				if (write_all(f.type == 'O' ? 1 : 2, f.data, f.len))
					return EXIT_TRANSPORT;
				break;
			case 'S':
				memcpy(&code, f.data, 4);
				return le32toh(code);
			}
		} else if (p[1].revents) {
			ssize_t len = read(0, f.data, 16384);

			if (len > 0 ? send_frame(sock, 'I', f.data, len) :
				      send_frame(sock, 'E', NULL, 0))
				continue;	/* the status may still be on its way */
			want_stdin = len > 0;
		}
	}
lost:
	fprintf(stderr, "labctl: connection to guest %u lost: %s\n", cid, command);
	return EXIT_TRANSPORT;
}

static int print_line(void *arg, const char *line)
{
	return fputs(line, arg) < 0;
}

/* Send each JSON command to a QMP socket; print the answers; fail if one is an error. */
static int ctl_qmp(const char *path, char **commands)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), result = 0;
	char line[65536];
	bool first = true;
	FILE *in;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		fprintf(stderr, "labctl: %s: %s\n", path, strerror(errno));
		return EXIT_TRANSPORT;
	}
	in = fdopen(dup(fd), "r");
	if (!in || !fgets(line, sizeof(line), in))
		return EXIT_TRANSPORT;
	dprintf(fd, "{\"execute\":\"qmp_capabilities\"}\n");
	do {
		do {
			if (!fgets(line, sizeof(line), in))
				return EXIT_TRANSPORT;
		} while (!strncmp(line, "{\"timestamp\"", 12) || strstr(line, "\"event\":"));
		if (!first)
			fputs(line, stdout);
		if (!strncmp(line, "{\"error\"", 8))
			result = 1;
		first = false;
		if (*commands)
			dprintf(fd, "%s\n", *commands);
	} while (*commands++);
	return result;
}

/* --- labctl sweep: fetch every kernel log, look for splats ----------------------------------- */

/*
 * RUN/guest/NAME/{cid,pid,console,qemu.log} describe the guests; RUN/{splat,harmless,vmm}.re and
 * RUN/expected.WHO hold extended regular expressions, one a line.  How far a log has been read is
 * kept beside it (host.seq, kmsg.seq, console.seen, qemu.log.seen).  What is fetched is appended
 * to OUT/host.dmesg and OUT/guest.NAME.dmesg.
 */
struct sweep {
	const char *run, *out, *who;
	regex_t splat, harmless, vmm, expected;
	bool has_expected;
	FILE *log;			/* where fetched lines go */
	unsigned long long next;
	char **found;			/* reported already: logs overlap */
	size_t nfound;
	int context;			/* lines that are yet to be printed: the trace is what tells */
};

#define CONTEXT 36

static FILE *open_in(const char *mode, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static FILE *open_in(const char *mode, const char *fmt, ...)
{
	char path[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	return fopen(path, mode);
}

static unsigned long long number_in(const char *dir, const char *file)
{
	unsigned long long n = 0;
	FILE *f = open_in("re", "%s/%s", dir, file);

	if (!f)
		return 0;
	if (fscanf(f, "%llu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

static void save_number(const char *dir, const char *file, unsigned long long n)
{
	FILE *f = open_in("we", "%s/%s", dir, file);

	if (f) {
		fprintf(f, "%llu\n", n);
		fclose(f);
	}
}

/* The lines of a file as one alternation; false when there is none. */
static bool load_regex(regex_t *re, const char *dir, const char *file)
{
	static char all[32768];
	char line[4096];
	size_t used = 0;
	FILE *f = open_in("re", "%s/%s", dir, file);

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && used + strlen(line) + 2 < sizeof(all))
			used += sprintf(all + used, "%s%s", used ? "|" : "", line);
	}
	fclose(f);
	if (!used)
		return false;
	if (regcomp(re, all, REG_EXTENDED | REG_NOSUB)) {
		fprintf(stderr, "labctl: %s/%s: bad regular expression\n", dir, file);
		exit(2);
	}
	return true;
}

static void judge(struct sweep *s, const char *line, const regex_t *re)
{
	size_t i;

	if (regexec(re, line, 0, NULL, 0) || !regexec(&s->harmless, line, 0, NULL, 0) ||
	    (s->has_expected && !regexec(&s->expected, line, 0, NULL, 0))) {
		if (s->context) {
			s->context--;
			printf("%s|  %s\n", s->who, line);
		}
		return;
	}
	for (i = 0; i < s->nfound; i++)
		if (!strcmp(s->found[i], line))
			return;
	s->context = CONTEXT;
	s->found = realloc(s->found, (s->nfound + 1) * sizeof(*s->found));
	s->found[s->nfound++] = strdup(line);
	printf("%s: %s\n", s->who, line);
}

static int sweep_line(void *arg, const char *text)
{
	struct sweep *s = arg;
	char line[8300];

	snprintf(line, sizeof(line), "%s", text);
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "next %llu", &s->next) == 1)
		return 0;
	fprintf(s->log, "%s\n", line);
	judge(s, line, &s->splat);
	return 0;
}

static int fetch_guest(struct sweep *s, unsigned int cid, unsigned long long seq)
{
	const struct timeval patience = { .tv_sec = 10 };
	static struct frame f;
	static char line[FRAME_MAX + 1];
	char text[32];
	int sock = dial(cid, 5);

	if (sock < 0)
		return -1;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	snprintf(text, sizeof(text), "%llu", seq);
	if (send_frame(sock, 'K', text, strlen(text)))
		goto out;
	while (!recv_frame(sock, &f) && f.type == 'O') {
		strcpy(line, f.data);	/* one line a frame */
		sweep_line(s, line);
	}
out:
	close(sock);
	return s->next ? 0 : -1;
}

/* The new part of a file that somebody else appends to. */
static void sweep_file(struct sweep *s, const char *dir, const char *file, const regex_t *re)
{
	FILE *f = open_in("re", "%s/%s", dir, file);
	char line[8192], seen[64];
	unsigned long long from;

	if (!f)
		return;
	snprintf(seen, sizeof(seen), "%s.seen", file);
	from = number_in(dir, seen);
	fseek(f, from, SEEK_SET);
	while (fgets(line, sizeof(line), f)) {
		/* the start of a line that is being written is read again next time */
		if (!strchr(line, '\n') && strlen(line) < sizeof(line) - 1)
			break;
		from = ftell(f);
		line[strcspn(line, "\r\n")] = '\0';
		judge(s, line, re);
	}
	save_number(dir, seen, from);
	fclose(f);
}

static bool running(pid_t pid)
{
	char text[512], *p;
	FILE *f = open_in("re", "/proc/%d/stat", pid);
	size_t n;

	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')');
	return p && p[1] == ' ' && p[2] != 'Z';
}

/*
 * With MARK: only write it into the log of the host and of every running guest.
 * Exit code: 0 nothing found, 1 splats (printed), 2 the lab is broken.
 */
static int ctl_sweep(const char *run, const char *out, const char *mark)
{
	struct sweep s = { .run = run, .out = out };
	char dir[512], name[32];
	struct dirent *d;
	unsigned int cid;
	DIR *guests;
	int sock;

	if (mark) {
		say("%s", mark);
	} else {
		if (!load_regex(&s.splat, run, "splat.re") ||
		    !load_regex(&s.harmless, run, "harmless.re") ||
		    !load_regex(&s.vmm, run, "vmm.re"))
			return 2;
		s.who = "host";
		s.has_expected = load_regex(&s.expected, run, "expected.host");
		s.log = open_in("ae", "%s/host.dmesg", out);
		if (!s.log || read_kmsg(number_in(run, "host.seq"), sweep_line, &s))
			return 2;
		save_number(run, "host.seq", s.next);
		fclose(s.log);
	}
	snprintf(dir, sizeof(dir), "%s/guest", run);
	guests = opendir(dir);
	while (guests && (d = readdir(guests))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(dir, sizeof(dir), "%s/guest/%s", run, d->d_name);
		cid = number_in(dir, "cid");
		if (mark) {
			if (!running(number_in(dir, "pid")))
				continue;
			sock = dial(cid, 2);
			if (sock < 0)
				continue;
			send_frame(sock, 'M', mark, strlen(mark));
			close(sock);
			continue;
		}
		snprintf(name, sizeof(name), "expected.%.20s", d->d_name);
		s.who = d->d_name;
		s.has_expected = load_regex(&s.expected, run, name);
		s.context = 0;
		s.next = 0;
		s.log = open_in("ae", "%s/guest.%s.dmesg", out, d->d_name);
		/* a guest that is booting, wedged or dead cannot be asked: its console stands in */
		if (s.log && number_in(dir, "pid") && running(number_in(dir, "pid")) &&
		    !fetch_guest(&s, cid, number_in(dir, "kmsg.seq")))
			save_number(dir, "kmsg.seq", s.next);
		if (s.log)
			fclose(s.log);
		sweep_file(&s, dir, "console", &s.splat);
		sweep_file(&s, dir, "qemu.log", &s.vmm);
	}
	return s.nfound ? 1 : 0;
}

static int usage(void)
{
	fputs("labctl wait CID SECONDS [VMM-PID]\n"
	      "labctl exec [-i] [-t SECONDS] CID COMMAND...	words are joined for sh -c\n"
	      "labctl poweroff|reboot CID\n"
	      "labctl kmsg [SEQ]		this machine's kernel log, from a record on\n"
	      "labctl qmp SOCKET JSON...\n"
	      "labctl sweep RUN OUT		fetch all kernel logs, print splats\n"
	      "labctl mark RUN TEXT		a line into all kernel logs\n"
	      "labctl init CMD...		PID 1 of the host under test\n"
	      "exit codes: the command's, 124 timeout, 125 no connection\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static char command[FRAME_MAX];
	const char *verb = argc > 1 ? argv[1] : "";
	bool want_stdin = false;
	double timeout = 60;
	int i = 2;

	if (getpid() == 1 && !strcmp(verb, "init") && argc > 2)
		return host_init(argv + 2);
	if (getpid() == 1)
		return guest_init();
	if (!strcmp(verb, "wait") && argc >= 4)
		return ctl_wait(atoi(argv[2]), atof(argv[3]), argc > 4 ? atoi(argv[4]) : 0);
	if (!strcmp(verb, "kmsg"))
		return read_kmsg(argc > 2 ? strtoull(argv[2], NULL, 10) : 0, print_line, stdout);
	if (!strcmp(verb, "sweep") && argc > 3)
		return ctl_sweep(argv[2], argv[3], NULL);
	if (!strcmp(verb, "mark") && argc > 3)
		return ctl_sweep(argv[2], NULL, argv[3]);
	if (!strcmp(verb, "qmp") && argc > 3)
		return ctl_qmp(argv[2], argv + 3);
	if (!strcmp(verb, "poweroff") && argc > 2)
		return ctl_exec(atoi(argv[2]), 'P', "", false, 10);
	if (!strcmp(verb, "reboot") && argc > 2)
		return ctl_exec(atoi(argv[2]), 'R', "", false, 10);
	if (strcmp(verb, "exec"))
		return usage();
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "-i")) {
			want_stdin = true;
		} else if (!strcmp(argv[i], "-t") && i + 1 < argc) {
			timeout = atof(argv[++i]);
		} else if (!strcmp(argv[i], "--")) {
			i++;
			break;
		} else {
			return usage();
		}
	}
	if (i + 1 >= argc)
		return usage();
	for (int w = i + 1; w < argc; w++) {
		size_t used = strlen(command);

		if (used + strlen(argv[w]) + 2 > sizeof(command) - 1)
			return usage();
		snprintf(command + used, sizeof(command) - used, "%s%s", w > i + 1 ? " " : "",
			 argv[w]);
	}
	return ctl_exec(atoi(argv[i]), 'X', command, want_stdin, timeout);
}
