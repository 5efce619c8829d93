// SPDX-License-Identifier: GPL-2.0
/*
 * circuit capture: what a circuit carries, as pcapng.
 *
 * There are no packets. So that tools for packets know what to do with it, each piece becomes one
 * of TCP's, with the numbers that the bytes have in their stream. An end that has no IP address
 * gets 127.0.0.1 if it has called, and 127.0.0.2 if it was called.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/circuit_dev.h>
#include "circuit.h"

#define LINKTYPE_RAW	101	/* begins with IP's header */

static struct {
	uint64_t id;
	bool found, v6;
	uint8_t addr[2][16];
	uint16_t port[2];
	char name[2 * END_STRLEN + 32];
	uint32_t next[2];	/* TCP's numbers */
	uint64_t bytes[2];
	unsigned long gaps;
	FILE *to;
} cap;

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* Remember the circuit's ends, when it comes by in a dump. */
static int find_circuit(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_CIRCUIT_MAX + 1], *end[CIRCUIT_A_END_MAX + 1], *addr;
	char text[2][END_STRLEN];
	int i;

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_CIRCUIT_MAX);
	if (nl_u64(tb[CIRCUIT_A_CIRCUIT_ID]) != cap.id)
		return MNL_CB_OK;
	cap.found = true;
	for (i = 0; i < 2; i++) {
		nl_parse_nested(tb[i ? CIRCUIT_A_CIRCUIT_CALLED : CIRCUIT_A_CIRCUIT_CALLER], end,
				CIRCUIT_A_END_MAX);
		end_text(end, text[i]);
		cap.port[i] = nl_u32(end[CIRCUIT_A_END_PORT]);
		addr = end[CIRCUIT_A_END_ADDR];
		if (addr) {
			cap.v6 = mnl_attr_get_payload_len(addr) == 16;
			memcpy(cap.addr[i], mnl_attr_get_payload(addr), cap.v6 ? 16 : 4);
		} else {
			memcpy(cap.addr[i], i ? "\177\0\0\2" : "\177\0\0\1", 4);
		}
	}
	snprintf(cap.name, sizeof(cap.name), "circuit %llu: %s > %s",
		 (unsigned long long)cap.id, text[0], text[1]);
	return MNL_CB_OK;
}

/* --- pcapng ----------------------------------------------------------------------------------- */

static void put32(uint32_t value)
{
	fwrite(&value, sizeof(value), 1, cap.to);
}

static void put16(uint16_t value)
{
	fwrite(&value, sizeof(value), 1, cap.to);
}

static void put_padded(const void *data, size_t len)
{
	fwrite(data, len, 1, cap.to);
	fwrite("\0\0\0", -len & 3, 1, cap.to);
}

static void put_option(uint16_t code, const void *value, uint16_t len)
{
	put16(code);
	put16(len);
	if (len)
		put_padded(value, len);
}

static void put_start(void)
{
	size_t name = strlen(cap.name), padded = (name + 3) & ~3u;

	put32(0x0a0d0d0a);		/* section header */
	put32(28);
	put32(0x1a2b3c4d);
	put16(1);			/* version 1.0 */
	put16(0);
	put32(UINT32_MAX);		/* of unknown length */
	put32(UINT32_MAX);
	put32(28);

	put32(1);			/* interface */
	put32(20 + 4 + padded + 8 + 4);
	put16(LINKTYPE_RAW);
	put16(0);
	put32(0);			/* whole packets */
	put_option(2, cap.name, name);
	put_option(9, "\t", 1);		/* ns */
	put_option(0, NULL, 0);
	put32(20 + 4 + padded + 8 + 4);
}

static void put_packet(uint64_t time, const void *head, size_t head_len, const void *data,
		       size_t data_len)
{
	uint32_t len = head_len + data_len, total = 32 + ((len + 3) & ~3u);

	put32(6);			/* enhanced packet */
	put32(total);
	put32(0);
	put32(time >> 32);
	put32(time);
	put32(len);
	put32(len);
	fwrite(head, head_len, 1, cap.to);
	fwrite(data, data_len, 1, cap.to);
	fwrite("\0\0\0", -len & 3, 1, cap.to);
	put32(total);
}

/*
 * --- packets -----------------------------------------------------------------------------------
 */

static uint32_t sum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (; len > 1; len -= 2, p += 2)
		sum += p[0] << 8 | p[1];
	return len ? sum + (p[0] << 8) : sum;
}

static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static void put_segment(const struct circuit_tap_record *rec, const void *data)
{
	struct {
		uint8_t ip[sizeof(struct ip6_hdr)];
		struct tcphdr tcp;
	} __attribute__((packed, aligned(4))) head = {};
	size_t ip_len = cap.v6 ? sizeof(struct ip6_hdr) : sizeof(struct ip);
	size_t addr_len = cap.v6 ? 16 : 4, tcp_len = sizeof(struct tcphdr) + rec->len;
	unsigned int from = rec->end, to = !from;
	struct tcphdr *tcp = &head.tcp;
	void *start = head.ip + sizeof(head.ip) - ip_len;
	uint32_t pseudo;

	if (cap.v6) {
		struct ip6_hdr *ip = start;

		ip->ip6_flow = htonl(6u << 28);
		ip->ip6_plen = htons(tcp_len);
		ip->ip6_nxt = IPPROTO_TCP;
		ip->ip6_hlim = 64;
		memcpy(&ip->ip6_src, cap.addr[from], 16);
		memcpy(&ip->ip6_dst, cap.addr[to], 16);
	} else {
		struct ip *ip = start;

		ip->ip_v = 4;
		ip->ip_hl = 5;
		ip->ip_len = htons(ip_len + tcp_len);
		ip->ip_ttl = 64;
		ip->ip_p = IPPROTO_TCP;
		memcpy(&ip->ip_src, cap.addr[from], 4);
		memcpy(&ip->ip_dst, cap.addr[to], 4);
		ip->ip_sum = checksum(sum(ip, sizeof(*ip), 0));
	}
	tcp->source = htons(cap.port[from]);
	tcp->dest = htons(cap.port[to]);
	tcp->seq = htonl(rec->offset + 1);
	cap.next[from] = rec->offset + 1 + rec->len;
	tcp->ack_seq = htonl(cap.next[to]);
	tcp->doff = sizeof(*tcp) / 4;
	tcp->ack = 1;
	tcp->psh = rec->len != 0;
	tcp->fin = !!(rec->flags & CIRCUIT_TAP_FIN);
	tcp->rst = !!(rec->flags & CIRCUIT_TAP_RST);
	tcp->window = htons(UINT16_MAX);
	pseudo = sum(cap.addr[from], addr_len, sum(cap.addr[to], addr_len, IPPROTO_TCP + tcp_len));
	tcp->check = checksum(sum(data, rec->len, sum(tcp, sizeof(*tcp), pseudo)));
	put_packet(rec->time, start, ip_len + sizeof(*tcp), data, rec->len);
	cap.bytes[from] += rec->len;
	cap.gaps += !!(rec->flags & CIRCUIT_TAP_LOST);
}

/*
 * --- the tap -----------------------------------------------------------------------------------
 */

/* Exactly @len bytes; 0 at the end, or when a signal has come. */
static int read_all(int fd, void *to, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len && !stop) {
		n = read(fd, (char *)to + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n;
		done += n;
	}
	return !stop;
}

static int capture(int fd)
{
	static uint8_t data[CIRCUIT_TAP_RECORD_MAX];
	struct circuit_tap_record rec;
	int n;

	put_start();
	while (!fflush(cap.to)) {
		n = read_all(fd, &rec, sizeof(rec));
		if (n > 0 && (rec.len > sizeof(data) || rec.end > 1)) {
			fprintf(stderr, "circuit: capture: a record of an unknown kind\n");
			return EXIT_KERNEL;
		}
		if (n > 0 && rec.len)
			n = read_all(fd, data, rec.len);
		if (n < 0) {
			fprintf(stderr, "circuit: capture: %s\n", strerror(errno));
			return EXIT_KERNEL;
		}
		if (!n)
			break;
		put_segment(&rec, data);
	}
	if (fclose(cap.to)) {
		fprintf(stderr, "circuit: capture: %s\n", strerror(errno));
		return EXIT_KERNEL;
	}
	fprintf(stderr, "%s: %llu bytes there, %llu back, %lu gaps\n", cap.name,
		(unsigned long long)cap.bytes[0], (unsigned long long)cap.bytes[1], cap.gaps);
	return EXIT_OK;
}

int circuit_capture(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct circuit_tap_request req = { .size = sizeof(req) };
	int dev, fd, out, ret;

	memset(&cap, 0, sizeof(cap));	/* there may have been one in this batch */
	stop = 0;

	if (argc < 1 || parse_size(argv[0], &cap.id))
		return usage_error("circuit capture: the number of a circuit");
	if (argc != 1 && (argc != 3 || strcmp(argv[1], "to")))
		return usage_error("circuit capture: ID [ to FILE ]");
	if (argc == 1 && isatty(STDOUT_FILENO))
		return usage_error("circuit capture: to a terminal? Say 'to FILE'");
	ret = nl_talk(nl_request(&nl_operator, CIRCUIT_CMD_CIRCUIT_GET, NLM_F_DUMP), find_circuit,
		      NULL);
	if (ret)
		return ret;
	req.circuit = cap.id;
	dev = open("/dev/circuit", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		fprintf(stderr, "circuit: /dev/circuit: %s\n", strerror(errno));
		return EXIT_KERNEL;
	}
	fd = ioctl(dev, CIRCUIT_IOC_TAP, &req);
	if (fd < 0 || !cap.found) {
		fprintf(stderr, "circuit: circuit %llu: %s\n", (unsigned long long)cap.id,
			errno == ENOENT || fd >= 0 ? "there is none" :
			errno == ENOTCONN ? "it is not connected yet" :
			errno == EBUSY ? "somebody captures it already" : strerror(errno));
		return EXIT_KERNEL;
	}
	close(dev);
	/* What others say to each other is nobody else's. */
	out = argc == 3 ? open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) :
	      dup(STDOUT_FILENO);
	cap.to = out < 0 ? NULL : fdopen(out, "w");
	if (!cap.to) {
		fprintf(stderr, "circuit: %s: %s\n", argc == 3 ? argv[2] : "capture", strerror(errno));
		return EXIT_KERNEL;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	ret = capture(fd);
	close(fd);
	return ret;
}
