#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "common/util.h"
#include "mewsd/exec.h"
#include "mewsd/mewsd.h"
#include "mewsd/table.h"

/* The config as one message: boot_common, then the room's own struct. */
int
plumb_conf(struct child *c)
{
	const struct room_row *row = room_row(c->room);
	const struct conf *conf = &c->mewsd->conf;
	_Alignas(8) uint8_t own[MSG_PAYLOAD_MAX];
	struct boot_common bc;

	exec_common(conf, c->room, &bc);
	/* a kill point is for the first life only */
	if (c->failures == 0)
		bc.kill = conf->kill;
	memcpy(own, (const char *)conf + row->conf, row->conf_len);
	if (row->fill != NULL)
		row->fill(own);
	return chan_send2(
	    c->chan, BOOT_CONF, 0, &bc, sizeof(bc), own, row->conf_len, -1);
}

/* One end to each; a room that is not running gets it when it starts.  What
 * cannot be made now is made at a later look. */
static void
plumb(struct child *a, struct child *b)
{
	struct boot_peer p = { .room = a->room, .life = a->life };
	int sv[2];

	a->want &= ~ROOM_BIT(b->room);
	b->want &= ~ROOM_BIT(a->room);
	if (a->chan == NULL || b->chan == NULL)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, sv) < 0) {
		log_error("channel %s-%s: %m: tried again", room_name(a->room),
		    room_name(b->room));
		if (RULE(PLUMB_AGAIN))
			b->want |= ROOM_BIT(a->room);
		return;
	}
	(void)chan_send(b->chan, BOOT_PEER, 0, &p, sizeof(p), sv[0]);
	p.room = b->room;
	p.life = b->life;
	(void)chan_send(a->chan, BOOT_PEER, 0, &p, sizeof(p), sv[1]);
}

static void
listener_give(struct child *c)
{
	const int fd = fcntl(c->mewsd->listener, F_DUPFD_CLOEXEC, 10);

	c->want &= ~ROOM_BIT(ROOM_MEWSD);
	if (fd < 0) {
		log_error("the API's listener: %m: tried again");
		c->want |= ROOM_BIT(ROOM_MEWSD);
		return;
	}
	(void)chan_send(c->chan, BOOT_LISTENER, 0, NULL, 0, fd);
}

void
plumb_again(struct child *c)
{
	uint32_t i;

	if (c->chan == NULL)
		return;
	if ((c->want & ROOM_BIT(ROOM_MEWSD)) != 0)
		listener_give(c);
	for (i = ROOM_MEWSD + 1; i < ROOM_MAX; i++) {
		if ((c->want & ROOM_BIT(i)) != 0)
			plumb(&c->mewsd->child[i], c);
	}
}

void
plumb_all(struct child *c)
{
	const struct room_row *row = room_row(c->room);
	struct mewsd *m = c->mewsd;
	uint32_t i;

	for (i = 0; i < ROOM_MAX; i++) {
		if (room_stays(i) &&
		    ((row->peers & ROOM_BIT(i)) != 0 ||
			(room_row(i)->peers & ROOM_BIT(c->room)) != 0))
			plumb(&m->child[i], c);
	}
	if (row->listener)
		listener_give(c);
}
