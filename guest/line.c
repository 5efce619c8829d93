// SPDX-License-Identifier: GPL-2.0
/*
 * The line: attention, and the signalling client.
 *
 * A VM has one line. It comes up in circuit_line_attach(), by an epoch and a
 * HELLO, and goes down once and for good: when its transport goes, when the
 * administrator deletes it, or when the operator finds a message it cannot
 * accept. All that hung on it is then reset; a new line needs a new attach.
 *
 * Outgoing messages are prepared in the object they are about and queued without
 * limit or allocation; the objects are what is limited. Incoming ones come from
 * the host, which a guest has to trust with its life, and are checked all the
 * same: a line that talks nonsense is taken down, not followed.
 */
#include <linux/device.h>
#include <linux/random.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include "guest.h"

#define DOORBELL_MAX	(200 * NSEC_PER_USEC)	/* more is not the doorbell's fault */
#define LINE_TIMEOUT		(10 * HZ)		/* for the operator to answer at all */

static struct circuit_line __rcu *the_line;
static DEFINE_MUTEX(attach_lock);

/**
 * circuit_line_get - the line of this VM
 *
 * Return: a reference to the line if there is one that is up, otherwise NULL.
 */
struct circuit_line *circuit_line_get(void)
{
	struct circuit_line *line;

	rcu_read_lock();
	line = rcu_dereference(the_line);
	if (line && (!circuit_line_up(line) || !refcount_inc_not_zero(&line->ref)))
		line = NULL;
	rcu_read_unlock();
	return line;
}

/**
 * circuit_line_put - drop a reference
 * @line: the line
 *
 * Context: process; the last one unmaps the window.
 */
void circuit_line_put(struct circuit_line *line)
{
	if (!refcount_dec_and_test(&line->ref))
		return;
	line->t->unmap(line->t);
	xa_destroy(&line->circuits);
	xa_destroy(&line->calls);
	xa_destroy(&line->listeners);
	kfree_rcu(line, rcu);
}

/**
 * circuit_line_up - can calls be placed?
 * @line: the line
 */
bool circuit_line_up(const struct circuit_line *line)
{
	return READ_ONCE(line->state) == CIRCUIT_GUEST_UP;
}

/**
 * circuit_line_doorbell - ring the operator
 * @line: the line
 *
 * What that costs, mostly a VM exit, is the measure of how long it pays to spin
 * instead of having to be woken by one. The lower envelope is kept: a doorbell that
 * took longer because the host had other things to do says nothing about the cost.
 *
 * Context: any.
 */
void circuit_line_doorbell(struct circuit_line *line)
{
	u64 start = local_clock();
	u32 old = READ_ONCE(line->door_ns);
	u64 new;

	line->t->doorbell(line->t);
	new = clamp_t(s64, local_clock() - start, 0, DOORBELL_MAX);
	WRITE_ONCE(line->door_ns, old ? min_t(u64, new, old + old / 64 + 1) : new);
}

/**
 * circuit_line_raise - mark a circuit for the operator
 * @line: the line
 * @index: the circuit's number, 0 for signalling
 *
 * Return: true if the caller has to ring the doorbell.
 */
bool circuit_line_raise(struct circuit_line *line, u32 index)
{
	return circuit_attn_raise(line->attn_out, index);
}

/**
 * circuit_line_notify - call the operator's attention to a circuit
 * @line: the line
 * @index: the circuit's number, 0 for signalling
 *
 * Context: any.
 */
void circuit_line_notify(struct circuit_line *line, u32 index)
{
	if (circuit_line_raise(line, index))
		circuit_line_doorbell(line);
}

/* Send what waits, as far as there is room. Returns true if that is noticed. */
static bool line_flush(struct circuit_line *line)
{
	struct circuit_out *out;
	struct circuit_span s;
	bool kick = false;
	int space;

	lockdep_assert_held(&line->tx_lock);
	if (READ_ONCE(line->state) == CIRCUIT_GUEST_DOWN) {
		while ((out = list_first_entry_or_null(&line->out, struct circuit_out, node))) {
			list_del_init(&out->node);
			if (out->sent)
				out->sent(out);
		}
		return false;
	}
	while ((out = list_first_entry_or_null(&line->out, struct circuit_out, node))) {
		space = circuit_tx_space(&line->tx);
		if (space < CIRCUIT_SIG_SIZE) {
			if (space < 0)
				break;
			circuit_tx_arm(&line->tx, CIRCUIT_SIG_SIZE);
			if (circuit_tx_space(&line->tx) < CIRCUIT_SIG_SIZE)
				break;
		}
		s = circuit_tx_span(&line->tx, CIRCUIT_SIG_SIZE);
		memcpy(line->tx.data + s.off[0], &out->msg, CIRCUIT_SIG_SIZE);
		if (circuit_tx_publish(&line->tx, CIRCUIT_SIG_SIZE)) {
			if (out->lazy)
				line->kick_owed = true;
			else
				kick = true;
		}
		if (!out->lazy && line->kick_owed)
			kick = true;
		list_del_init(&out->node);
		if (out->sent)
			out->sent(out);
	}
	if (kick)
		line->kick_owed = false;
	else if (line->kick_owed && !timer_pending(&line->kick))
		mod_timer(&line->kick, jiffies + 1);
	return kick;
}

/**
 * circuit_line_post - send a message, now or when there is room
 * @line: the line
 * @out: the message; untouched by the caller until @sent was called, except
 *	under line->tx_lock
 *
 * The caller keeps a reference of its own to the object the message is in: @sent
 * must not drop the last one.
 *
 * Context: process or bottom half.
 *
 * Return: true if the doorbell was rung.
 */
bool circuit_line_post(struct circuit_line *line, struct circuit_out *out)
{
	bool kick;

	spin_lock_bh(&line->tx_lock);
	kick = circuit_line_queue(line, out);
	spin_unlock_bh(&line->tx_lock);
	kick = kick && circuit_line_raise(line, 0);
	if (kick)
		circuit_line_doorbell(line);
	return kick;
}

/**
 * circuit_line_queue - circuit_line_post() for those who hold line->tx_lock
 * @line: the line
 * @out: the message
 *
 * Return: true if the caller has to call the operator's attention to signalling.
 */
bool circuit_line_queue(struct circuit_line *line, struct circuit_out *out)
{
	list_add_tail(&out->node, &line->out);
	return line_flush(line);
}

static void line_kick(struct timer_list *t)
{
	struct circuit_line *line = compat_from_timer(line, t, kick);
	bool kick;

	spin_lock_bh(&line->tx_lock);
	kick = line->kick_owed;
	line->kick_owed = false;
	spin_unlock_bh(&line->tx_lock);
	if (kick)
		circuit_line_notify(line, 0);
	tasklet_schedule(&line->tasklet);	/* for sig_receive() out of memory */
}

/* The line is gone for good: so is all that hung on it. */
static void line_down(struct circuit_line *line, enum circuit_reason reason)
{
	struct circuit_listener *lst;
	struct circuit *c;
	unsigned long i;

	spin_lock_bh(&line->tx_lock);
	if (line->state == CIRCUIT_GUEST_DOWN) {
		spin_unlock_bh(&line->tx_lock);
		return;
	}
	WRITE_ONCE(line->state, CIRCUIT_GUEST_DOWN);
	line_flush(line);
	spin_unlock_bh(&line->tx_lock);
	wake_up_all(&line->wait);

	rcu_read_lock();
	xa_for_each(&line->calls, i, c)
		if (xa_cmpxchg_bh(&line->calls, i, c, NULL, GFP_ATOMIC) == c) {
			circuit_ep_refused(c->ep, c, ENETDOWN, reason);
			circuit_put(c);
		}
	xa_for_each(&line->circuits, i, c) {
		struct circuit_ep *ep;

		WRITE_ONCE(c->reason, reason);
		smp_mb();	/* pairs with the one in circuit_ep_adopt() */
		ep = READ_ONCE(c->ep);
		if (ep)
			circuit_ep_reset(ep, c, ECONNRESET, reason);
		else
			circuit_listener_look(c);
	}
	xa_for_each(&line->listeners, i, lst)
		circuit_ep_unlistened(lst->ep);
	rcu_read_unlock();
	schedule_work(&line->unmap);
}

static void sig_refused(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit *c = xa_erase_bh(&line->calls, msg->ref);

	if (!c)
		return;		/* cancelled meanwhile */
	circuit_ep_refused(c->ep, c, min_t(u32, msg->status.error, MAX_ERRNO) ?: ECONNREFUSED,
			     msg->status.reason);
	circuit_put(c);
}

static void sig_native(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit *c = xa_erase_bh(&line->calls, msg->ref);

	if (!c)
		return;		/* cancelled meanwhile */
	circuit_ep_verdict(c->ep, c, true, msg->status.reason);
	circuit_put(c);
}

static void sig_proceeding(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit *c = xa_load(&line->calls, msg->ref);

	if (!c)
		return;
	/* What getsockname() tells in the meantime, after the verdict. */
	c->local_port = msg->circuit.local_port;
	memcpy(&c->local, msg->circuit.local, sizeof(c->local));
	c->ep->trunk = msg->circuit.line[0];
	circuit_ep_verdict(c->ep, c, false, CIRCUIT_REASON_NONE);
}

static void sig_listening(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit_listener *lst = xa_load(&line->listeners, msg->ref);

	if (!lst)
		return;
	lst->error = -(int)min_t(u32, msg->status.error, MAX_ERRNO);
	lst->reason = msg->status.reason;
	smp_store_release(&lst->decided, true);
	wake_up_all(&line->wait);
}

/* A circuit that nobody wants, or that there is no memory to want. */
static bool sig_decline(struct circuit_line *line, u32 index)
{
	struct circuit *c = circuit_alloc(line, GFP_ATOMIC);

	if (!c)
		return false;
	c->index = index;
	circuit_hangup(c, 0, CIRCUIT_REASON_PEER_RESET);
	circuit_put(c);
	return true;
}

static int sig_connected(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit *c = xa_erase_bh(&line->calls, msg->ref);
	struct circuit_ep *ep;
	int err;

	if (!c)			/* cancelled meanwhile; the number is ours to give back */
		return sig_decline(line, msg->circuit.index) ? 0 : -ENOMEM;
	/* The socket may be on its way out, with nobody to keep it from being found here. */
	ep = c->ep;
	WRITE_ONCE(c->ep, NULL);
	err = circuit_setup(c, &msg->circuit);
	if (!err && !circuit_ep_connected(ep, c))
		circuit_hangup(c, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
	if (err)
		circuit_ep_refused(ep, c, ENOMEM, CIRCUIT_REASON_NO_MEMORY);
	if (err == -ENOMEM) {
		circuit_hangup(c, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		err = 0;
	}
	circuit_put(c);
	return err;
}

static int sig_alert(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit_listener *lst = xa_load(&line->listeners, msg->ref);
	struct circuit *c;
	int err;

	if (!lst)
		return sig_decline(line, msg->circuit.index) ? 0 : -ENOMEM;
	c = circuit_alloc(line, GFP_ATOMIC);
	if (!c)
		return -ENOMEM;
	c->messages = lst->what.type != CIRCUIT_SIG_STREAM;
	err = circuit_setup(c, &msg->circuit);
	if (err) {
		circuit_put(c);
		return err;
	}
	if (circuit_listener_add(lst, c))
		return 0;
	circuit_hangup(c, CIRCUIT_TX_RST, CIRCUIT_REASON_PEER_RESET);
	circuit_put(c);
	return 0;
}

static void sig_reset(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit *c = xa_load(&line->circuits, msg->status.index);
	struct circuit_ep *ep;

	if (!c)
		return;		/* hung up meanwhile */
	WRITE_ONCE(c->reason, msg->status.reason);
	smp_mb();		/* pairs with the one in circuit_ep_adopt() */
	ep = READ_ONCE(c->ep);
	if (ep)
		circuit_ep_reset(ep, c, min_t(u32, msg->status.error, MAX_ERRNO) ?: ECONNRESET,
				 msg->status.reason);
	else
		circuit_listener_look(c);
}

static void sig_allow(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit *c = xa_load(&line->circuits, msg->allow.index);

	if (c)		/* not hung up meanwhile */
		circuit_allow(c, &msg->allow);
}

static void sig_welcome(struct circuit_line *line, const struct circuit_sig *msg)
{
	memcpy(&line->welcome, &msg->welcome, sizeof(line->welcome));
	memcpy(line->name, msg->welcome.name, CIRCUIT_NAME_SIZE);
	line->name[CIRCUIT_NAME_SIZE - 1] = 0;
	smp_store_release(&line->version, msg->welcome.version);
	wake_up_all(&line->wait);
}

static int sig_handle(struct circuit_line *line, const struct circuit_sig *msg)
{
	switch (msg->type) {
	case CIRCUIT_SIG_WELCOME:
		sig_welcome(line, msg);
		return 0;
	case CIRCUIT_SIG_LISTENING:
		sig_listening(line, msg);
		return 0;
	case CIRCUIT_SIG_CONNECTED:
		return sig_connected(line, msg);
	case CIRCUIT_SIG_REFUSED:
		sig_refused(line, msg);
		return 0;
	case CIRCUIT_SIG_NATIVE:
		sig_native(line, msg);
		return 0;
	case CIRCUIT_SIG_PROCEEDING:
		sig_proceeding(line, msg);
		return 0;
	case CIRCUIT_SIG_ALERT:
		return sig_alert(line, msg);
	case CIRCUIT_SIG_RESET:
		sig_reset(line, msg);
		return 0;
	case CIRCUIT_SIG_ALLOW:
		sig_allow(line, msg);
		return 0;
	default:
		return -EPROTO;
	}
}

static void sig_receive(struct circuit_line *line)
{
	unsigned int budget = CIRCUIT_GUEST_BUDGET;
	struct circuit_span s;
	struct circuit_sig msg;
	bool kick = false;
	int avail, err;

	for (;;) {
		if (!budget--) {
			circuit_attn_raise(line->attn_in, 0);
			tasklet_schedule(&line->tasklet);
			break;
		}
		avail = circuit_rx_avail(&line->rx);
		if (avail < 0) {
			err = avail;
			goto broken;
		}
		if (avail < CIRCUIT_SIG_SIZE) {
			circuit_rx_arm(&line->rx, CIRCUIT_SIG_SIZE);
			avail = circuit_rx_avail(&line->rx);
			if (avail >= 0 && avail < CIRCUIT_SIG_SIZE)
				break;
			continue;
		}
		s = circuit_rx_span(&line->rx, 0, CIRCUIT_SIG_SIZE);
		memcpy(&msg, line->rx.data + s.off[0], sizeof(msg));
		err = sig_handle(line, &msg);
		if (err == -ENOMEM) {
			/* Leave it where it is and come back for it. */
			circuit_attn_raise(line->attn_in, 0);
			spin_lock_bh(&line->tx_lock);
			mod_timer(&line->kick, jiffies + 1);
			spin_unlock_bh(&line->tx_lock);
			break;
		}
		if (err)
			goto broken;
		kick |= circuit_rx_release(&line->rx, CIRCUIT_SIG_SIZE);
	}
	spin_lock_bh(&line->tx_lock);
	kick |= line_flush(line);
	spin_unlock_bh(&line->tx_lock);
	if (kick)
		circuit_line_notify(line, 0);
	return;
broken:
	dev_err(line->t->dev, "circuit: the operator's signalling makes no sense (%d)\n", err);
	line_down(line, CIRCUIT_REASON_VIOLATION);
}

static void line_mark(void *arg, u32 index)
{
	struct circuit_line *line = arg;
	struct circuit *c;

	if (!index) {
		if (READ_ONCE(line->state) != CIRCUIT_GUEST_DOWN)
			sig_receive(line);
		return;
	}
	c = xa_load(&line->circuits, index);
	if (c)
		circuit_ep_attention(c);
}

static void line_tasklet(struct tasklet_struct *tasklet)
{
	struct circuit_line *line = from_tasklet(line, tasklet, tasklet);
	u32 state = READ_ONCE(line->hdr->state), epoch;

	if (unlikely(state != CIRCUIT_LINE_UP && READ_ONCE(line->state) == CIRCUIT_GUEST_UP)) {
		u32 reason = READ_ONCE(line->hdr->reason);

		dev_warn(line->t->dev, "circuit: line %s %s\n", line->name,
			 state == CIRCUIT_LINE_GONE ? "was deleted" : "was put out of service");
		line_down(line, reason < CIRCUIT_REASON_MAX ? reason : CIRCUIT_REASON_VIOLATION);
	}
	if (unlikely(waitqueue_active(&line->wait)))
		wake_up_all(&line->wait);
	/*
	 * Until the operator has taken our epoch up, marks and messages are those of
	 * whoever was here before us. It clears the marks before it says that it has.
	 */
	epoch = smp_load_acquire(&line->epoch);
	if (unlikely(!epoch || virt_load_acquire(&line->hdr->epoch) != epoch))
		return;
	rcu_read_lock();
	if (circuit_attn_scan(line->attn_in, line_mark, line, CIRCUIT_GUEST_BUDGET) ==
	    CIRCUIT_GUEST_BUDGET)
		tasklet_schedule(&line->tasklet);
	rcu_read_unlock();
}

/**
 * circuit_line_interrupt - the operator has rung
 * @line: the line
 *
 * Context: interrupt.
 */
void circuit_line_interrupt(struct circuit_line *line)
{
	tasklet_schedule(&line->tasklet);
}

/* Start a new epoch and wait until the operator has taken notice. */
static int line_epoch(struct circuit_line *line)
{
	struct circuit_guest_hdr *guest = line->t->window + CIRCUIT_OFF_GUEST;
	struct circuit_ctrl *ctrl = line->t->window + CIRCUIT_OFF_SIG;
	void *data = ctrl + 1;
	u32 epoch;

	memset(line->attn_out, 0, CIRCUIT_PAGE);
	memset(&ctrl->dir[0].prod, 0, sizeof(ctrl->dir[0].prod));
	memset(&ctrl->dir[1].cons, 0, sizeof(ctrl->dir[1].cons));
	circuit_ring_init(&line->tx, &line->rx, ctrl, data, CIRCUIT_SIG_RING,
			  data + CIRCUIT_SIG_RING, CIRCUIT_SIG_RING, 0);
	do {
		epoch = get_random_u32();
	} while (!epoch || epoch == READ_ONCE(line->hdr->epoch));
	/* From here on the tasklet may use the rings, once the operator agrees. */
	smp_store_release(&line->epoch, epoch);
	virt_store_release(&guest->epoch, epoch);
	virt_mb();
	line->t->doorbell(line->t);
	if (!wait_event_timeout(line->wait, virt_load_acquire(&line->hdr->epoch) == epoch ||
				READ_ONCE(line->hdr->state) == CIRCUIT_LINE_GONE, LINE_TIMEOUT))
		return -ETIMEDOUT;
	return READ_ONCE(line->hdr->state) == CIRCUIT_LINE_GONE ? -ENODEV : 0;
}

static int line_hello(struct circuit_line *line)
{
	struct circuit_out hello = {
		.msg.type = CIRCUIT_SIG_HELLO,
		.msg.hello.version_min = CIRCUIT_SIG_VERSION_MIN,
		.msg.hello.version_max = CIRCUIT_SIG_VERSION_MAX,
		.msg.hello.features = CIRCUIT_SIG_FEATURES,
	};
	long left;

	/* The ring is empty, so the message leaves at once, unless the operator says nonsense of it. */
	circuit_line_post(line, &hello);
	left = wait_event_timeout(line->wait, smp_load_acquire(&line->version) ||
				  READ_ONCE(line->welcome.error), LINE_TIMEOUT);
	spin_lock_bh(&line->tx_lock);
	list_del_init(&hello.node);
	spin_unlock_bh(&line->tx_lock);
	if (!left)
		return -ETIMEDOUT;
	return line->version ? 0 : -EPROTONOSUPPORT;
}

/*
 * Wait until nobody is at work in the rings of a line that is down: the window may
 * soon be another's. Whoever comes later sees that the line is down. If it is not, only
 * those are meant that are mapped and may not be, in which nobody is at work.
 */
static void line_leave_rings(struct circuit_line *line)
{
	struct circuit *c;
	unsigned long i;

	rcu_read_lock();
	xa_for_each(&line->circuits, i, c) {
		struct circuit_ep *ep = READ_ONCE(c->ep);

		if (!ep || !refcount_inc_not_zero(&ep->ref))
			continue;
		if (!refcount_inc_not_zero(&c->ref)) {
			circuit_ep_put(ep);
			continue;
		}
		rcu_read_unlock();
		if (!circuit_line_up(line) ||
		    (READ_ONCE(c->limits) && circuit_map_state(c) == CIRCUIT_MAPPED))
			circuit_ep_leave_rings(ep, c);
		circuit_put(c);
		circuit_ep_put(ep);
		rcu_read_lock();
	}
	rcu_read_unlock();
}

static void line_unmap(struct work_struct *work)
{
	line_leave_rings(container_of(work, struct circuit_line, unmap));
}

/**
 * circuit_line_attach - bring the line up
 * @t: the transport, its interrupt not yet enabled
 *
 * The transport enables its interrupt between circuit_line_attach() and
 * circuit_line_start().
 *
 * Return: the line, referenced by the caller, or an ERR_PTR: -EBUSY if there is a
 * line already, -ENODEV if this is not the window of a line, -EPROTONOSUPPORT if
 * the operator speaks another version, -ENOMEM.
 */
struct circuit_line *circuit_line_attach(struct circuit_transport *t)
{
	struct circuit_line_hdr *hdr = t->window + CIRCUIT_OFF_LINE;
	struct circuit_line *line;

	if (READ_ONCE(hdr->magic) != CIRCUIT_LINE_MAGIC)
		return ERR_PTR(-ENODEV);
	if (READ_ONCE(hdr->page_size) != CIRCUIT_PAGE || READ_ONCE(hdr->window) != t->size) {
		dev_err(t->dev, "circuit: window of %llu bytes, but the operator made it %llu\n",
			t->size, READ_ONCE(hdr->window));
		return ERR_PTR(-EINVAL);
	}
	if (READ_ONCE(hdr->version_min) > CIRCUIT_SIG_VERSION_MAX ||
	    READ_ONCE(hdr->version_max) < CIRCUIT_SIG_VERSION_MIN) {
		dev_err(t->dev, "circuit: operator speaks versions %u to %u, this module %u to %u\n",
			READ_ONCE(hdr->version_min), READ_ONCE(hdr->version_max),
			CIRCUIT_SIG_VERSION_MIN, CIRCUIT_SIG_VERSION_MAX);
		return ERR_PTR(-EPROTONOSUPPORT);
	}

	line = kzalloc(sizeof(*line), GFP_KERNEL);
	if (!line)
		return ERR_PTR(-ENOMEM);
	refcount_set(&line->ref, 1);
	line->t = t;
	line->hdr = hdr;
	line->attn_in = t->window + CIRCUIT_OFF_ATTN_GUEST;
	line->attn_out = t->window + CIRCUIT_OFF_ATTN_HOST;
	init_waitqueue_head(&line->wait);
	tasklet_setup(&line->tasklet, line_tasklet);
	spin_lock_init(&line->tx_lock);
	timer_setup(&line->kick, line_kick, 0);
	INIT_LIST_HEAD(&line->out);
	INIT_WORK(&line->unmap, line_unmap);
	xa_init_flags(&line->circuits, XA_FLAGS_LOCK_BH);
	xa_init_flags(&line->calls, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_BH);
	xa_init_flags(&line->listeners, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_BH);
	return line;
}

/**
 * circuit_line_start - make contact with the operator
 * @line: the line, its transport's interrupt enabled
 *
 * Return: 0; -EBUSY if this VM has a line already, -ETIMEDOUT if the operator does
 * not answer, -EPROTONOSUPPORT or -ENODEV if it does not want this guest. The
 * caller undoes the attach if this fails.
 */
int circuit_line_start(struct circuit_line *line)
{
	int err;

	mutex_lock(&attach_lock);
	err = -EBUSY;
	if (rcu_access_pointer(the_line))
		goto unlock;
	err = line_epoch(line);
	if (!err)
		err = line_hello(line);
	if (err)
		goto unlock;
	spin_lock_bh(&line->tx_lock);
	if (line->state == CIRCUIT_GUEST_STARTING)
		WRITE_ONCE(line->state, CIRCUIT_GUEST_UP);
	else
		err = -ENODEV;
	spin_unlock_bh(&line->tx_lock);
	if (err)
		goto unlock;
	/* What the operator has said of the line meanwhile was for one that is up. */
	tasklet_schedule(&line->tasklet);
	rcu_assign_pointer(the_line, line);
	dev_info(line->t->dev, "circuit: line %s up, %u circuits, window of %llu MiB\n",
		 line->name, line->welcome.circuits_max, line->t->size >> 20);
unlock:
	mutex_unlock(&attach_lock);
	if (!err) {
		circuit_inet_line_up();
		circuit_udp_line_up();
	}
	return err;
}

/**
 * circuit_line_quiesce - say goodbye to the operator
 * @line: the line
 *
 * For a shutdown or a device that goes: everything the line had is reset and the
 * operator told to release it. May be repeated.
 */
void circuit_line_quiesce(struct circuit_line *line)
{
	struct circuit_guest_hdr *guest = line->t->window + CIRCUIT_OFF_GUEST;

	mutex_lock(&attach_lock);
	if (rcu_access_pointer(the_line) == line)
		RCU_INIT_POINTER(the_line, NULL);
	mutex_unlock(&attach_lock);
	/* Not while a message is being dealt with, whose circuit is in no table. */
	tasklet_disable(&line->tasklet);
	local_bh_disable();
	line_down(line, CIRCUIT_REASON_PEER_GONE);
	local_bh_enable();
	tasklet_enable(&line->tasklet);
	line_leave_rings(line);
	virt_store_release(&guest->epoch, 0);
	virt_mb();
	line->t->doorbell(line->t);
}

/**
 * circuit_line_detach - the device is going away
 * @line: the line, quiesced, its interrupt disabled and synchronised
 *
 * Drops the transport's reference. Sockets may keep the window mapped.
 */
void circuit_line_detach(struct circuit_line *line)
{
	synchronize_rcu();	/* accept() may be about to schedule the tasklet */
	compat_timer_delete_sync(&line->kick);
	tasklet_kill(&line->tasklet);
	cancel_work_sync(&line->unmap);
	circuit_line_put(line);
}
