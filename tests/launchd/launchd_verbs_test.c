#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fds.h"
#include "common/log.h"
#include "launchd/adopt.h"
#include "launchd/launchd.h"
#include "launchd/spawnlink.h"
#include "launchd/vm.h"
#include "proto/spawn.h"
#include "tests/suite/t.h"

/* What launchd asks the spawner of one VM: so many verbs at once, of all kinds,
 * and then so many a second; of several asked meanwhile, the last. */
static struct launchd ld;

void
adopt_held(struct launchd *l, const struct spawn_held *h, int *pidfd)
{
	(void)l;
	(void)h;
	(void)pidfd;
}

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Messages that have come to the spawner; the type of the last. */
static unsigned int
come(int sock, uint32_t *last)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];
	struct msg m = { .fd = -1 };
	unsigned int n = 0;

	while (msg_recv(sock, buf, &m) == 0) {
		*last = m.type;
		n++;
	}
	return n;
}

static void
test_budget(void)
{
	unsigned int i, n = 0;
	uint32_t last = 0;
	struct vm *v, *other;
	int sv[2];

	log_init("test", LOG_ERROR);
	ld = (struct launchd){ .conf = { .uid_count = 2 } };
	ld.base = event_base_new();
	ld.turn = event_new(ld.base, -1, 0, on_turn, NULL);
	TAILQ_INIT(&ld.vms);
	TAILQ_INIT(&ld.woken);
	TAILQ_INIT(&ld.told);
	t_eq(socketpair(
		 AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv),
	    0);
	spawnlink_open(&ld, sv[0]);
	(void)come(sv[1], &last); /* LIST */
	v = vm_new(&ld, 7);
	other = vm_new(&ld, 8);
	for (i = 0; i < 200; i++) {
		if (i % 2 != 0)
			spawnlink_verify(v);
		else
			spawnlink_count(v);
		n += come(sv[1], &last);
	}
	t_row("at once");
	t_true(n >= SPAWN_VERBS_BURST && n < SPAWN_VERBS_BURST + 8);
	t_true(v->spawn_waits);
	t_row("another VM's are its own");
	spawnlink_verify(other);
	t_eq(come(sv[1], &last), 1);
	t_row("the last that was asked comes in its time");
	spawnlink_kill(v);
	t_eq(come(sv[1], &last), 0);
	while (!v->spawn_due && event_base_loop(ld.base, EVLOOP_ONCE) == 0)
		;
	spawnlink_due(v);
	t_eq(come(sv[1], &last), 1);
	t_eq(last, SPAWN_KILL);
	t_true(!v->spawn_waits);
	t_row("what is forgotten does not come");
	spawnlink_verify(v);
	spawnlink_forget(v);
	spawnlink_due(v);
	t_eq(come(sv[1], &last), 0);
	vm_free(v);
	vm_free(other);
	chan_free(ld.spawner);
	fd_close(&sv[1]);
	event_free(ld.turn);
	event_base_free(ld.base);
}

const struct t_case t_cases[] = { { "budget", test_budget }, { NULL, NULL } };
