/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The signalling ABI: what a guest and the operator say to each other.
 *
 * The window (BAR2 of the guest's device) starts with the line's own area:
 *
 *	page 0	line header	struct circuit_line_hdr	written by the operator
 *	page 1	guest page	struct circuit_guest_hdr written by the guest
 *	page 2	attention	struct circuit_attn	operator -> guest
 *	page 3	attention	struct circuit_attn	guest -> operator
 *	page 4	signalling circuit: control page, then two rings of
 *		CIRCUIT_SIG_RING bytes. The guest is end 0, the operator end 1.
 *
 * The rest shows cables where the operator put them and worthless scratch
 * memory everywhere else. Offsets of circuits are only known from messages.
 *
 * Everything is in the byte order of the machine, which guest and host share; a
 * guest of the other order sees a wrong magic number and stays away.
 *
 * Life of a line. The guest zeroes the attention page it raises and its half of
 * the signalling circuit, enables its interrupt, stores a non-zero @epoch that
 * differs from the last one and rings the doorbell. The operator releases whatever
 * the line had, zeroes the attention page it raises and its own half of the
 * signalling circuit, and copies the number to its own @epoch. From then on
 * messages flow: HELLO is the first, WELCOME the answer. An epoch of zero
 * says goodbye. There is no other way to start over and nothing else resets the
 * indices.
 *
 * Every message is one record of CIRCUIT_SIG_SIZE bytes, so none ever wraps.
 * Unused bytes are zero, and a message of the guest that breaks that rule, or is
 * unknown in the negotiated version, puts the line out of service until its next
 * epoch (state CIRCUIT_LINE_FAULT) - the guest has only hurt itself.
 *
 *	guest		operator		meaning
 *	HELLO	->				versions and features of the guest
 *		<-	WELCOME			the choice, the line's name and limits
 *	LISTEN	->				publish a port
 *		<-	LISTENING		done, or error + reason
 *	UNLISTEN->				withdraw it (no answer; ignored if unknown)
 *	CALL	->				call (line, port) or (IP address, port)
 *		<-	CONNECTED		here is the circuit
 *		<-	REFUSED			error + reason
 *		<-	NATIVE			(IP) none of the operator's: go by other ways
 *		<-	PROCEEDING		(IP) it waits for a backlog, or the host's TCP
 *	CANCEL	->				forget that call; the answer may cross it
 *		<-	ALERT			a call for a listener: it is connected
 *	ANSWER	->				so many more calls left the accept queue
 *	OPTIONS	->				(trunk) what the socket's options are now
 *	WANT	->				(rate) this end would send more than it may
 *		<-	ALLOW			(rate) so much more, or the limits are others now
 *	HANGUP	->				this end is through with the circuit
 *		<-	RESET			the far end is gone; HANGUP is still due
 *
 * Services are known by line and port, or by IP address and port; the two have
 * nothing to do with each other. A call to an IP address is answered at once, by
 * CONNECTED, REFUSED, NATIVE or PROCEEDING; the last promises CONNECTED or REFUSED later. IP
 * addresses take 16 bytes, IPv4 ones as IPv4-mapped IPv6, and ports are in the byte
 * order of the machine here as well.
 *
 * OPTIONS is for circuits of which the far end is a socket of the host's; for others it means
 * nothing. It may be sent if CIRCUIT_SIG_F_OPTIONS was agreed upon, WANT and ALLOW if
 * CIRCUIT_SIG_F_RATE was. ALLOW answers a WANT as soon as there is something to give, and comes
 * unasked when a limit begins, changes or ends.
 *
 * A circuit number belongs to the guest from CONNECTED or ALERT until it says
 * HANGUP; afterwards the operator may use it again at any time.
 */
#ifndef _UAPI_LINUX_CIRCUIT_SIG_H
#define _UAPI_LINUX_CIRCUIT_SIG_H

#include <linux/types.h>
#include <linux/circuit.h>
#include <linux/circuit_ring.h>

#define CIRCUIT_LINE_MAGIC	0x454e494c	/* "LINE" */
#define CIRCUIT_SIG_VERSION_MIN	1
#define CIRCUIT_SIG_VERSION_MAX	1
#define CIRCUIT_SIG_F_OPTIONS	(1ull << 0)	/* OPTIONS */
#define CIRCUIT_SIG_F_HINTS	(1ull << 1)	/* @uid and @cgroup of CALL */
#define CIRCUIT_SIG_F_RATE	(1ull << 2)	/* WANT, ALLOW, and @limits */
#define CIRCUIT_SIG_F_UDP	(1ull << 3)	/* CIRCUIT_SIG_DGRAM with CIRCUIT_SIG_IP */
#define CIRCUIT_SIG_F_MESSAGES	(1ull << 4)	/* the same as F_RATE, of messages */
#define CIRCUIT_SIG_F_CLEAR	(1ull << 5)	/* rings are zeroed before others have them */
#define CIRCUIT_SIG_FEATURES	(CIRCUIT_SIG_F_OPTIONS | CIRCUIT_SIG_F_HINTS | CIRCUIT_SIG_F_RATE | \
				 CIRCUIT_SIG_F_UDP | CIRCUIT_SIG_F_MESSAGES | CIRCUIT_SIG_F_CLEAR)

#define CIRCUIT_PAGE		4096
#define CIRCUIT_SIG_SIZE	128		/* bytes of one message */
#define CIRCUIT_SIG_RING	16384		/* bytes of each signalling ring */

#define CIRCUIT_OFF_LINE	0
#define CIRCUIT_OFF_GUEST	(1 * CIRCUIT_PAGE)
#define CIRCUIT_OFF_ATTN_GUEST	(2 * CIRCUIT_PAGE)	/* operator -> guest */
#define CIRCUIT_OFF_ATTN_HOST	(3 * CIRCUIT_PAGE)	/* guest -> operator */
#define CIRCUIT_OFF_SIG		(4 * CIRCUIT_PAGE)
#define CIRCUIT_LINE_AREA	(CIRCUIT_OFF_SIG + CIRCUIT_CTRL_SIZE + 2 * CIRCUIT_SIG_RING)

/* A window is a power of two; cables appear in it at multiples of this. */
#define CIRCUIT_WINDOW_SLOT	(2u << 20)
#define CIRCUIT_WINDOW_MIN	(1ull << 30)

/*
 * ivshmem: peer numbers in the doorbell register. Vector 0 of the host's peer is
 * the doorbell, those of the guest's are interrupts: see struct circuit_guest_hdr.
 */
#define CIRCUIT_PEER_HOST	0
#define CIRCUIT_PEER_GUEST	1
#define CIRCUIT_VECTORS_MAX	64u

/* State of a line in struct circuit_line_hdr. */
#define CIRCUIT_LINE_UP		1	/* waiting for an epoch or at work */
#define CIRCUIT_LINE_FAULT	2	/* out of service until the next epoch */
#define CIRCUIT_LINE_GONE	3	/* deleted; nothing will ever answer again */

/**
 * struct circuit_line_hdr - the operator's page
 * @magic: CIRCUIT_LINE_MAGIC
 * @version_min: oldest signalling version the operator speaks
 * @version_max: newest signalling version the operator speaks
 * @page_size: CIRCUIT_PAGE
 * @reserved: zero
 * @window: size of the window in bytes
 * @features: CIRCUIT_SIG_FEATURES the operator offers
 * @epoch: the guest's epoch that is in force
 * @state: CIRCUIT_LINE_*
 * @reason: enum circuit_reason behind the state
 * @pad: zero
 */
struct circuit_line_hdr {
	__u32	magic;
	__u16	version_min;
	__u16	version_max;
	__u32	page_size;
	__u32	reserved;
	__u64	window;
	__u64	features;
	__u32	epoch;
	__u32	state;
	__u32	reason;
	__u8	pad[4052];
};

/* Slots of circuit_guest_hdr.vector. */
#define CIRCUIT_STEERED		2048u

/**
 * struct circuit_guest_hdr - the guest's page
 * @epoch: the epoch the guest wants, 0 for none
 * @pad: zero
 * @vector: by which vector of its device the guest wants to be interrupted for circuit n: what is
 *	at n modulo CIRCUIT_STEERED, so some circuits go together. A vector that the device has not
 *	got counts as 0. The guest may change it whenever it likes, and what is on its way is not
 *	moved. The operator zeroes it when it takes up an epoch: a guest that knows nothing of this,
 *	or has only vector 0, which is signalling's, leaves it so.
 */
struct circuit_guest_hdr {
	__u32	epoch;
	__u8	pad[2044];
	__u8	vector[CIRCUIT_STEERED];
};

/*
 * Attention: which circuits a doorbell or interrupt is about. Bit n of @bits is
 * circuit n (0: signalling); bit w of @summary says that @bits[w] is worth a
 * look. The raising side sets the bit, then its summary bit, then notifies, and
 * need not notify if the bit was set already. The other side exchanges the
 * summary word for zero, then each word it names, then looks at the circuits.
 * All of it with full barriers that hold on a machine that believes it has one
 * processor.
 */
#define CIRCUIT_ATTN_SUMMARY	8
#define CIRCUIT_ATTN_WORDS	(CIRCUIT_PAGE / 8 - CIRCUIT_ATTN_SUMMARY)
#define CIRCUIT_INDEX_MAX	(CIRCUIT_ATTN_WORDS * 64 - 1)

struct circuit_attn {
	__u64	summary[CIRCUIT_ATTN_SUMMARY];
	__u64	bits[CIRCUIT_ATTN_WORDS];
};

enum circuit_sig_type {
	/* guest to operator */
	CIRCUIT_SIG_HELLO	= 1,
	CIRCUIT_SIG_LISTEN	= 2,
	CIRCUIT_SIG_UNLISTEN	= 3,
	CIRCUIT_SIG_CALL	= 4,
	CIRCUIT_SIG_CANCEL	= 5,
	CIRCUIT_SIG_ANSWER	= 6,
	CIRCUIT_SIG_HANGUP	= 7,
	CIRCUIT_SIG_OPTIONS	= 8,
	CIRCUIT_SIG_WANT	= 9,
	/* operator to guest */
	CIRCUIT_SIG_WELCOME	= 65,
	CIRCUIT_SIG_LISTENING	= 66,
	CIRCUIT_SIG_CONNECTED	= 67,
	CIRCUIT_SIG_REFUSED	= 68,
	CIRCUIT_SIG_ALERT	= 69,
	CIRCUIT_SIG_RESET	= 70,
	CIRCUIT_SIG_NATIVE	= 71,
	CIRCUIT_SIG_PROCEEDING	= 72,
	CIRCUIT_SIG_ALLOW	= 73,
};

/* The far line's name if the far end is a socket of the host's; no line has it. */
#define CIRCUIT_TRUNK_LINE	"trunk"

/*
 * Kinds of socket in CALL and LISTEN: the SOCK_* numbers. IP is for the first two, as TCP and as
 * UDP, and UDP if CIRCUIT_SIG_F_UDP was agreed upon. What UDP sends to each of its peers is a call
 * to that one, and rings hold what it sends as SEQPACKET's hold messages. Without IP a socket of
 * datagrams makes a single CALL, with @port 0: for a circuit to the operator, who switches what it
 * sends.
 */
#define CIRCUIT_SIG_STREAM	1
#define CIRCUIT_SIG_DGRAM	2
#define CIRCUIT_SIG_SEQPACKET	5	/* rings hold messages, see linux/circuit_ring.h */

/* @flags of CALL, LISTEN, CONNECTED and ALERT; those of LISTEN only with the first. */
#define CIRCUIT_SIG_IP		(1u << 0)	/* addresses are IP addresses */
#define CIRCUIT_SIG_V6ONLY	(1u << 1)	/* LISTEN: not for IPv4, if the address is :: */
#define CIRCUIT_SIG_REUSEPORT	(1u << 2)	/* LISTEN: others may listen there as well */

/*
 * @limits of CONNECTED, ALERT and ALLOW: what the operator limits. An end that may not send as much
 * as it likes stops when it has sent what it was allowed to, and asks for more when it has more; an
 * end that may not receive as much takes that much out of its ring, and leaves the rest there. Each
 * begins with CIRCUIT_SIG_ALLOWANCE bytes. Where rings hold messages the number of these can be
 * limited as well, which begins with CIRCUIT_SIG_MESSAGES; an end then has to keep to both.
 */
#define CIRCUIT_SIG_LIMIT_TX	(1u << 0)	/* what this end sends */
#define CIRCUIT_SIG_LIMIT_RX	(1u << 1)	/* what it receives */
#define CIRCUIT_SIG_LIMIT_TX_ANEW (1u << 2)	/* ALLOW: as of now */
#define CIRCUIT_SIG_LIMIT_RX_ANEW (1u << 3)
#define CIRCUIT_SIG_LIMIT_TX_MESSAGES (1u << 4)	/* how many messages this end sends */
#define CIRCUIT_SIG_LIMIT_RX_MESSAGES (1u << 5)	/* how many it receives */
#define CIRCUIT_SIG_LIMIT_TX_MESSAGES_ANEW (1u << 6)
#define CIRCUIT_SIG_LIMIT_RX_MESSAGES_ANEW (1u << 7)
#define CIRCUIT_SIG_ALLOWANCE	4096u		/* bytes */
#define CIRCUIT_SIG_MESSAGES	16u

/* @hints of CALL. */
#define CIRCUIT_SIG_HINT_UID	(1u << 0)	/* @uid is the caller's */
#define CIRCUIT_SIG_HINT_CGROUP	(1u << 1)	/* @cgroup is */

/**
 * struct circuit_sig_hello - body of HELLO
 * @version_min: oldest version the guest speaks
 * @version_max: newest version the guest speaks
 * @reserved: zero
 * @features: features the guest can use
 */
struct circuit_sig_hello {
	__u16	version_min;
	__u16	version_max;
	__u32	reserved;
	__u64	features;
};

/**
 * struct circuit_sig_welcome - body of WELCOME
 * @version: version in force, 0 if there is none in common (@error is set)
 * @error: 0 or a positive errno
 * @features: features in force
 * @ring_default: ring size for a call that does not ask, in bytes; over a trunk up to
 *	four times that
 * @ring_max: largest ring this line may have, in bytes
 * @circuits_max: most circuits this line may have
 * @name: this line's name
 */
struct circuit_sig_welcome {
	__u16	version;
	__u16	error;
	__u32	ring_default;
	__u64	features;
	__u32	ring_max;
	__u32	circuits_max;
	char	name[CIRCUIT_NAME_SIZE];
};

/**
 * struct circuit_sig_listen - body of LISTEN; @ref of the header names the listener
 * @type: CIRCUIT_SIG_STREAM or CIRCUIT_SIG_SEQPACKET; IP: CIRCUIT_SIG_STREAM or CIRCUIT_SIG_DGRAM
 * @port: the port, not 0
 * @backlog: calls that may wait to be answered, at least 1
 * @tx_size: wanted size of the rings this side writes, 0: no wish
 * @rx_size: wanted size of the rings this side reads, 0: no wish
 * @flags: CIRCUIT_SIG_*
 * @addr: IP: the address, or that of any host: :: or ::ffff:0.0.0.0
 */
struct circuit_sig_listen {
	__u32	type;
	__u32	port;
	__u32	backlog;
	__u32	tx_size;
	__u32	rx_size;
	__u32	flags;
	__u8	addr[16];
};

/**
 * struct circuit_sig_call - body of CALL; @ref of the header names the call
 * @type: CIRCUIT_SIG_*; each has ports of its own
 * @port: the port called
 * @src_port: the caller's own port, told to the far end; TCP: 0 to be given one
 * @tx_size: wanted size of the ring this side writes, 0: no wish
 * @rx_size: wanted size of the ring this side reads, 0: no wish
 * @flags: 0 or CIRCUIT_SIG_IP
 * @line: the line called, empty for one's own; IP: zero
 * @dst: IP: the address called, otherwise zero
 * @src: IP: the caller's address, or :: to be given one of the line's; otherwise zero
 * @hints: CIRCUIT_SIG_HINT_*, 0 unless CIRCUIT_SIG_F_HINTS was agreed upon
 * @uid: number of the user who calls, in the guest's first user namespace
 * @cgroup: number of the cgroup that calls, in the guest's hierarchy of version 2
 *
 * The operator's policy may ask for the last two. They are what the guest says.
 */
struct circuit_sig_call {
	__u32	type;
	__u32	port;
	__u32	src_port;
	__u32	tx_size;
	__u32	rx_size;
	__u32	flags;
	char	line[CIRCUIT_NAME_SIZE];
	__u8	dst[16];
	__u8	src[16];
	__u32	hints;
	__u32	uid;
	__u64	cgroup;
};

/**
 * struct circuit_sig_circuit - body of CONNECTED, ALERT and PROCEEDING
 * @index: the circuit's number on this line
 * @end: which end this guest is
 * @size: sizes of ring 0 and ring 1
 * @offset: offset of the control page in the window; the rings follow it
 * @port: the far end's port
 * @local_port: this end's port
 * @line: the far end's line
 * @local: IP: this end's address, otherwise zero
 * @remote: IP: the far end's address, otherwise zero
 * @flags: 0 or CIRCUIT_SIG_IP
 * @limits: CIRCUIT_SIG_LIMIT_*, 0 unless CIRCUIT_SIG_F_RATE was agreed upon, CIRCUIT_SIG_F_MESSAGES
 *	for those of messages
 *
 * @ref of the header is the call's in CONNECTED and PROCEEDING, the listener's in ALERT. PROCEEDING
 * has the addresses and ports, @line if the call goes over a trunk, and zeroes for what there is
 * not yet.
 */
struct circuit_sig_circuit {
	__u32	index;
	__u32	end;
	__u32	size[2];
	__u64	offset;
	__u32	port;
	__u32	local_port;
	char	line[CIRCUIT_NAME_SIZE];
	__u8	local[16];
	__u8	remote[16];
	__u32	flags;
	__u32	limits;
};

/**
 * struct circuit_sig_status - body of LISTENING, REFUSED, NATIVE and RESET
 * @error: 0 or a positive errno
 * @reason: enum circuit_reason
 * @index: RESET: the circuit's number, otherwise zero
 */
struct circuit_sig_status {
	__u32	error;
	__u32	reason;
	__u32	index;
};

/**
 * struct circuit_sig_hangup - body of HANGUP
 * @index: the circuit's number
 * @reason: enum circuit_reason; not NONE if this end aborted the circuit, which NONE
 *	without FIN or RST in its ring is as well
 */
struct circuit_sig_hangup {
	__u32	index;
	__u32	reason;
};

/* @flags of OPTIONS. */
#define CIRCUIT_SIG_KEEPALIVE	(1u << 0)	/* SO_KEEPALIVE */

/**
 * struct circuit_sig_options - body of OPTIONS
 * @index: the circuit's number
 * @flags: 0 or CIRCUIT_SIG_KEEPALIVE
 * @keep_idle: TCP_KEEPIDLE in seconds, 0: not set
 * @keep_interval: TCP_KEEPINTVL in seconds, 0: not set
 * @keep_count: TCP_KEEPCNT, 0: not set
 * @user_timeout: TCP_USER_TIMEOUT in milliseconds, 0: none
 *
 * A value that TCP would not accept is not accepted here either, and changes nothing.
 */
struct circuit_sig_options {
	__u32	index;
	__u32	flags;
	__u32	keep_idle;
	__u32	keep_interval;
	__u32	keep_count;
	__u32	user_timeout;
};

/**
 * struct circuit_sig_want - body of WANT
 * @index: the circuit's number
 * @bytes: how much this end wants to send beyond what it was allowed to
 * @messages: how many messages likewise; 0 unless CIRCUIT_SIG_F_MESSAGES was agreed upon
 *
 * ALLOW follows, sooner or later, unless the circuit ends, for each that is not 0.
 */
struct circuit_sig_want {
	__u32	index;
	__u32	bytes;
	__u32	messages;
};

/**
 * struct circuit_sig_allow - body of ALLOW
 * @index: the circuit's number
 * @limits: CIRCUIT_SIG_LIMIT_*, as it is from now on
 * @tx_bytes: how much more this end may send; all it may from now on, with
 *	CIRCUIT_SIG_LIMIT_TX_ANEW
 * @rx_bytes: how much more it may receive; all it may from now on, with
 *	CIRCUIT_SIG_LIMIT_RX_ANEW
 * @tx_messages: how many messages more it may send, likewise
 * @rx_messages: how many it may receive
 */
struct circuit_sig_allow {
	__u32	index;
	__u32	limits;
	__u32	tx_bytes;
	__u32	rx_bytes;
	__u32	tx_messages;
	__u32	rx_messages;
};

/**
 * struct circuit_sig_answer - body of ANSWER; @ref names the listener
 * @count: calls that left the accept queue since the last ANSWER
 */
struct circuit_sig_answer {
	__u32	count;
};

/**
 * struct circuit_sig - one message
 * @type: enum circuit_sig_type
 * @reserved: zero
 * @ref: the guest's name for the call or listener, 0 where there is none
 * @hello: HELLO
 * @welcome: WELCOME
 * @listen: LISTEN
 * @call: CALL
 * @circuit: CONNECTED, ALERT and PROCEEDING
 * @status: LISTENING, REFUSED, NATIVE and RESET
 * @hangup: HANGUP
 * @answer: ANSWER
 * @options: OPTIONS
 * @want: WANT
 * @allow: ALLOW
 * @body: the bytes of any of them, those that it does not use being zero
 */
struct circuit_sig {
	__u16	type;
	__u16	reserved;
	__u32	ref;
	union {
		struct circuit_sig_hello	hello;
		struct circuit_sig_welcome	welcome;
		struct circuit_sig_listen	listen;
		struct circuit_sig_call		call;
		struct circuit_sig_circuit	circuit;
		struct circuit_sig_status	status;
		struct circuit_sig_hangup	hangup;
		struct circuit_sig_answer	answer;
		struct circuit_sig_options	options;
		struct circuit_sig_want		want;
		struct circuit_sig_allow	allow;
		__u8				body[CIRCUIT_SIG_SIZE - 8];
	};
};

#ifdef CIRCUIT_ABI_ASSERT
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_line_hdr) == CIRCUIT_PAGE);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_guest_hdr) == CIRCUIT_PAGE);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_attn) == CIRCUIT_PAGE);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig) == CIRCUIT_SIG_SIZE);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig_welcome) == 56);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig_listen) == 40);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig_call) == 104);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig_circuit) == 104);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig_options) == 24);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig_want) == 12);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_sig_allow) == 24);
CIRCUIT_ABI_ASSERT(__builtin_offsetof(struct circuit_sig, body) == 8);
CIRCUIT_ABI_ASSERT(__builtin_offsetof(struct circuit_line_hdr, epoch) == 32);
CIRCUIT_ABI_ASSERT(CIRCUIT_SIG_RING % CIRCUIT_SIG_SIZE == 0);
#endif

#endif /* _UAPI_LINUX_CIRCUIT_SIG_H */
