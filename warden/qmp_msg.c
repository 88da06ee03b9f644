#include <errno.h>

#include "common/util.h"
#include "proto/jread.h"
#include "warden/qmp_msg.h"
#include "warden/text.h"

/* The member of that name and type. */
static bool
member(const struct jread *o, const char *name, enum jread_type type,
    struct jread *ret)
{
	return jread_find(o, name, ret) == 0 && jread_peek(ret) == type;
}

static bool
str_of(const struct jread *o, const char *name, struct jstr *ret)
{
	struct jread at;

	return member(o, name, JREAD_STRING, &at) &&
	    jread_string(&at, ret) == 0;
}

/* Why a guest ended, in QEMU's words (qapi/run-state.json). */
static const struct {
	const char *reason;
	enum exit_reason means;
} shutdowns[] = {
	{ "guest-shutdown", EXIT_GUEST_OFF },
	{ "guest-reset", EXIT_GUEST_REBOOT },
	{ "guest-panic", EXIT_GUEST_PANIC },
};

static void
parse_shutdown(const struct jread *o, struct qmp_msg *ret)
{
	struct jread data;
	struct jstr reason;
	size_t i;

	if (!member(o, "data", JREAD_OBJECT, &data) ||
	    !str_of(&data, "reason", &reason))
		return;
	for (i = 0; i < nitems(shutdowns); i++) {
		if (jstr_is(&reason, shutdowns[i].reason, false)) {
			ret->event = QMP_EV_GUEST;
			ret->guest_event = shutdowns[i].means;
		}
	}
}

/* Of query-status.  A machine that met an error in KVM stands for good: QEMU
 * wants it reset before it goes on (qapi/run-state.json). */
static void
parse_return(const struct jread *o, struct qmp_msg *ret)
{
	struct jread run;
	struct jstr status;

	ret->kind = ret->id == QMP_ID_NONE ? QMP_OTHER : QMP_RETURN;
	ret->has_running = member(o, "running", JREAD_BOOL, &run) &&
	    jread_bool(&run, &ret->running) == 0;
	ret->halted = ret->has_running && !ret->running &&
	    str_of(o, "status", &status) &&
	    jstr_is(&status, "internal-error", false);
}

static void
parse_event(const struct jread *o, const struct jstr *name, struct qmp_msg *ret)
{
	if (jstr_is(name, "SHUTDOWN", false))
		parse_shutdown(o, ret);
	else if (jstr_is(name, "STOP", false))
		ret->event = QMP_EV_STOP;
	else if (jstr_is(name, "RESUME", false))
		ret->event = QMP_EV_RESUME;
	else if (jstr_is(name, "GUEST_PANICKED", false)) {
		ret->event = QMP_EV_GUEST;
		ret->guest_event = EXIT_GUEST_PANIC;
	}
	ret->kind = ret->event == QMP_EV_NONE ? QMP_OTHER : QMP_EVENT;
}

static void
parse_id(const struct jread *o, struct qmp_msg *ret)
{
	struct jread at;
	long long n;

	if (member(o, "id", JREAD_NUMBER, &at) && jread_int(&at, &n) == 0 &&
	    n >= QMP_ID_CAPS && n <= QMP_ID_QUIT)
		ret->id = (enum qmp_id)n;
}

static int
parse_object(const struct jread *o, struct qmp_msg *ret)
{
	struct jread at;
	struct jstr s;

	if (str_of(o, "event", &s)) {
		parse_event(o, &s, ret);
		return 0;
	}
	parse_id(o, ret);
	if (member(o, "error", JREAD_OBJECT, &at)) {
		ret->kind = QMP_ERROR;
		if (str_of(&at, "desc", &s))
			text_print_json(ret->text, sizeof(ret->text), &s);
		return 0;
	}
	if (jread_find(o, "return", &at) == 0) {
		parse_return(&at, ret);
		return 0;
	}
	if (member(o, "QMP", JREAD_OBJECT, &at)) {
		ret->kind = QMP_GREETING;
		return 0;
	}
	return -EBADMSG;
}

int
qmp_msg_parse(const char *line, size_t len, struct qmp_msg *ret)
{
	struct qmp_msg m = { .kind = QMP_OTHER };
	struct jread j;

	if (len > QMP_LINE_MAX || jread_open(&j, line, len) < 0 ||
	    jread_peek(&j) != JREAD_OBJECT || parse_object(&j, &m) < 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}
