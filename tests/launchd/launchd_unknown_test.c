#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "launchd/life.h"
#include "tests/launchd/played_links.h"
#include "tests/suite/t.h"

/*
 * A VM that was found again and does not become known: it is left alone, and
 * the log says once whom it waits for.
 */
#define FOUND "found again and not known after 5 s: "

static long
left(const struct vm *v)
{
	if (!evtimer_pending(v->timer, NULL))
		return -1;
	return ev.added.tv_sec * 1000 + ev.added.tv_usec / 1000;
}

/* Plays it and has what was logged meanwhile in text. */
static void
logged(struct vm *v, const char *script, char *text, size_t cap)
{
	int err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	int fd = memfd_create("log", MFD_CLOEXEC);
	ssize_t n;

	t_eq(dup3(fd, 2, 0), 2);
	log_init("launchd", LOG_WARN);
	play(v, script);
	log_init("launchd", LOG_ERROR);
	t_eq(dup3(err, 2, 0), 2);
	n = pread(fd, text, cap - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	(void)close(fd);
	(void)close(err);
}

static void
test_said(void)
{
	static const struct {
		const char *name;
		enum vm_state state;
		enum link_phase keep, ward;
		bool adopted, said;
		const char *want; /* NULL: nothing */
	} rows[] = {
		{ "keeper, connecting", VM_KEEPER, LINK_CONNECT, LINK_OFF, true,
		    false, FOUND "its keeper does not listen" },
		{ "keeper, asked", VM_KEEPER, LINK_HELLO, LINK_OFF, true, false,
		    FOUND "its keeper does not answer" },
		{ "said of the keeper", VM_KEEPER, LINK_HELLO, LINK_OFF, true,
		    true, NULL },
		{ "keeper, of a start", VM_KEEPER, LINK_HELLO, LINK_OFF, false,
		    false, NULL },
		{ "warden, none", VM_WARDEN, LINK_UP, LINK_OFF, true, false,
		    FOUND "its warden does not listen" },
		{ "warden, connecting", VM_WARDEN, LINK_UP, LINK_CONNECT, true,
		    false, FOUND "its warden does not listen" },
		{ "warden, asked", VM_WARDEN, LINK_UP, LINK_HELLO, true, false,
		    FOUND "its warden does not answer" },
		{ "said, and another time", VM_WARDEN, LINK_UP, LINK_HELLO,
		    true, true, FOUND "its warden does not answer" },
		{ "hypervisor", VM_WARDEN, LINK_UP, LINK_QMP, true, false,
		    FOUND "its warden does not reach the hypervisor" },
		{ "spawner", VM_WARDEN, LINK_UP, LINK_VERIFY, true, false,
		    FOUND "the spawner has not read it back" },
		{ "to run", VM_VERIFIED, LINK_UP, LINK_CONNECT, true, false,
		    FOUND "its warden does not say that it runs" },
	};
	char text[2048];
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = begin();

		t_row(rows[i].name);
		v->is_adopted = rows[i].adopted;
		v->state = rows[i].state;
		v->keep.phase = rows[i].keep;
		v->ward.phase = rows[i].ward;
		v->keep.said = rows[i].said;
		logged(v, "late", text, sizeof(text));
		t_eq(v->state, rows[i].state);
		t_true(!v->wants_kill);
		if (rows[i].want == NULL)
			t_str(text, "");
		else if (strstr(text, rows[i].want) == NULL)
			t_str(text, rows[i].want);
		/* once: nothing is due again */
		logged(v, "", text, sizeof(text));
		t_str(text, "");
		end(v);
	}
}

/* How long that takes, in each state, and that one of a start has no such. */
static void
test_armed(void)
{
	struct vm *v = begin();

	v->is_adopted = true;
	play(v, "");
	t_eq(v->state, VM_KEEPER);
	t_eq(left(v), 5000);
	v->keep_state.phase = KEEP_RUN;
	v->keep.phase = LINK_UP;
	ev.added.tv_sec = 0;
	play(v, "");
	t_eq(v->state, VM_WARDEN);
	t_eq(left(v), 5000);
	play(v, "qmp turn answer");
	t_eq(v->state, VM_RUNNING);
	t_eq(left(v), -1);
	end(v);
	v = begin();
	play(v, KEEPER);
	t_eq(v->state, VM_KEEPER);
	t_eq(left(v), -1);
	end(v);
}

const struct t_case t_cases[] = { { "unknown, said", test_said },
	{ "unknown, when", test_armed }, { NULL, NULL } };
