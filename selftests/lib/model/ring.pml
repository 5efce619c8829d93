/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The barrier contract of linux/circuit_ring.h, R1 to R3, as lib/ring.c and lib/wait.c keep to it:
 * one ring, its writer and its reader, each a processor whose stores take effect later than they
 * are made.
 *
 * Stores go to a buffer of the processor's own, which is emptied at any time and in any order as
 * long as stores to the same word keep theirs, and a release store follows all that was stored
 * before it: weaker than x86. Loads look into the processor's own buffer first. A full barrier
 * waits for it to be empty, and so does a system call. That loads may be early is modelled where it
 * matters: NO_ACQUIRE.
 *
 * What is checked: every byte is read as it was written, the model does not come to a halt with
 * bytes or room left (both sleeping: a lost wake-up), and the reader, who knows of the end by FIN only, ends with
 * all read.
 *
 * Each mutation takes away something that the contract demands, and must be found: NO_FENCE_ACTIVE,
 * NO_FENCE_SLEEPY, NO_RECHECK, NO_RELEASE, NO_ACQUIRE, EARLY_HEAD, LATE_EVENT, NO_CREDIT, FIN_NO_RELEASE,
 * FIN_STALE_TAIL.
 */
#define SIZE	2
#define ITEMS	4
#define FIRST	6	/* of indices that wrap at 8 */
#define M(x)	((x) & 7)

#define TAIL	0
#define HEAD	1
#define CEVENT	2	/* the reader's */
#define PEVENT	3	/* the writer's */
#define FLAGS	4	/* the writer's: FIN or nothing */
#define DATA	5	/* SIZE of them */
#define WORDS	7

#define W	0
#define R	1
#define DEPTH	3

#ifdef LATE_EVENT
#define NOTIFY(event, new, old)	(M(new - event - 2) < M(new - old))
#else
#define NOTIFY(event, new, old)	(M(new - event - 1) < M(new - old))
#endif

#ifdef NO_RELEASE
#define TAIL_RELEASE 0
#else
#define TAIL_RELEASE 1
#endif

#ifdef FIN_NO_RELEASE
#define FIN_RELEASE 0
#else
#define FIN_RELEASE 1
#endif

byte word[WORDS];
bit bell[2];
bit all_read;

/* The buffers, oldest first. */
typedef buffer {
	byte n;
	byte where[DEPTH];
	byte what[DEPTH];
	bit release[DEPTH];
};
buffer buf[2];

inline store(p, w, v, rel) {
	atomic {
		buf[p].n < DEPTH;
		buf[p].where[buf[p].n] = w;
		buf[p].what[buf[p].n] = v;
		buf[p].release[buf[p].n] = rel;
		buf[p].n++
	}
}

inline load(p, w, v) {
	d_step {
		v = word[w];
		i = 0;
		do
		:: i < buf[p].n ->
			if
			:: buf[p].where[i] == w -> v = buf[p].what[i]
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0
	}
}

inline barrier(p) {
	buf[p].n == 0
}

inline ring(p, whom) {
	barrier(p);	/* a system call */
	bell[whom] = 1
}

/* Takes one store out of a buffer, any that may be next. */
proctype memory(byte p) {
	byte k, j;
	bit may;

end:	do
	:: atomic {
		buf[p].n > 0;
		k = 0;
		do
		:: k + 1 < buf[p].n -> k++
		:: break
		od;
		skip;
		d_step {
			may = !(buf[p].release[k] && k > 0);
			j = 0;
			do
			:: j < k ->
				if
				:: buf[p].where[j] == buf[p].where[k] -> may = 0
				:: else
				fi;
				j++
			:: else -> break
			od;
			skip
		};
		if
		:: may ->
			d_step {
				word[buf[p].where[k]] = buf[p].what[k];
				do
				:: k + 1 < buf[p].n ->
					buf[p].where[k] = buf[p].where[k + 1];
					buf[p].what[k] = buf[p].what[k + 1];
					buf[p].release[k] = buf[p].release[k + 1];
					k++
				:: else -> break
				od;
				buf[p].n--;
				buf[p].where[buf[p].n] = 0;
				buf[p].what[buf[p].n] = 0;
				buf[p].release[buf[p].n] = 0;
				j = 0;
				k = 0;
				may = 0
			}
		:: else -> k = 0; j = 0
		fi
	   }
	od
}

/* Fills in one or more, then publishes; sleeps if there is no room. */
proctype writer() {
	byte tail = FIRST, pub = FIRST, head = FIRST, event, sent, i;

	do
	:: sent < ITEMS ->
		load(W, HEAD, head);
		if
		:: M(tail - head) == SIZE && tail == pub ->
			store(W, PEVENT, M(tail - SIZE), 0);	/* room for one */
#ifndef NO_FENCE_SLEEPY
			barrier(W);				/* R3, sleepy side */
#endif
#ifndef NO_RECHECK
			load(W, HEAD, head);
#endif
			if
			:: M(tail - head) == SIZE -> atomic { bell[W]; bell[W] = 0 }
			:: else
			fi
		:: M(tail - head) < SIZE ->
			store(W, DATA + (tail & (SIZE - 1)), sent + 1, 0);
			sent++;
			tail = M(tail + 1)
		:: tail != pub ->
publish:		store(W, TAIL, tail, TAIL_RELEASE);	/* R1 */
			if
			:: sent == ITEMS -> goto finish		/* FIN's notification will do */
			:: skip
			fi;
#ifndef NO_FENCE_ACTIVE
			barrier(W);				/* R3, active side */
#endif
			load(W, CEVENT, event);
			if
			:: NOTIFY(event, tail, pub) -> ring(W, R)
			:: else
			fi;
			pub = tail
		fi
	:: sent == ITEMS && tail != pub -> goto publish
	:: sent == ITEMS && tail == pub -> break
	od;
	if
	:: skip -> all_read					/* an answer is waited for, or not */
	:: skip
	fi;
finish:	assert(sent == ITEMS);
	store(W, FLAGS, 1, FIN_RELEASE);			/* FIN, by R1 */
	ring(W, R)
}

/* Releases lazily: when half the ring is due, or when about to sleep. */
proctype reader() {
	byte head = FIRST, pub = FIRST, tail = FIRST, event, got, value, fin, i;

	do
	:: fin && tail == head -> break
	:: else ->
#ifdef NO_ACQUIRE
		load(R, DATA + (head & (SIZE - 1)), value);
#endif
#ifdef FIN_STALE_TAIL
		load(R, TAIL, tail);
#endif
		load(R, FLAGS, fin);				/* R1: FIN first */
#ifndef FIN_STALE_TAIL
		load(R, TAIL, tail);				/* R1 */
#endif
		assert(M(tail - head) <= SIZE);
		if
		:: tail != head ->
#ifdef EARLY_HEAD
			store(R, HEAD, M(head + 1), 1);
#endif
#ifndef NO_ACQUIRE
			load(R, DATA + (head & (SIZE - 1)), value);
#endif
			got++;
			assert(value == got);
			all_read = got == ITEMS;
			head = M(head + 1);
			if
			:: M(head - pub) == SIZE -> goto publish
			:: else
			fi
		:: tail == head ->
#ifndef NO_CREDIT
			if
			:: head != pub ->
publish:			store(R, HEAD, head, 1);	/* R2 */
#ifndef NO_FENCE_ACTIVE
				barrier(R);			/* R3, active side */
#endif
				load(R, PEVENT, event);
				if
				:: NOTIFY(event, head, pub) -> ring(R, W)
				:: else
				fi;
				pub = head
			:: else
			fi;
#else
			if
			:: 0 -> publish: skip
			:: else
			fi;
#endif
			if
			:: tail == head && !fin ->
				store(R, CEVENT, head, 0);
#ifndef NO_FENCE_SLEEPY
				barrier(R);			/* R3, sleepy side */
#endif
#ifndef NO_RECHECK
				load(R, TAIL, tail);
#endif
				if
				:: tail == head -> atomic { bell[R]; bell[R] = 0 }
				:: else
				fi
			:: else
			fi
		fi
	od;
	assert(got == ITEMS);
	assert(head == M(FIRST + ITEMS))
}

init {
	atomic {
		word[TAIL] = FIRST;
		word[HEAD] = FIRST;
		word[CEVENT] = FIRST;
		word[PEVENT] = M(FIRST - SIZE - 1);
		run memory(W);
		run memory(R);
		run writer();
		run reader()
	}
}
