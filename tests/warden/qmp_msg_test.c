#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "tests/suite/t.h"
#include "warden/qmp_msg.h"

static const struct {
	const char *name, *line;
	int r;
	enum qmp_kind kind;
	enum qmp_id id;
	enum qmp_event event;
	enum exit_reason guest;
} rows[] = {
	{ "greeting", "{\"QMP\": {\"version\": {}, \"capabilities\": []}}", 0,
	    QMP_GREETING, 0, 0, 0 },
	{ "return", "{\"return\": {}, \"id\": 3}", 0, QMP_RETURN, QMP_ID_CONT,
	    0, 0 },
	{ "return to nobody", "{\"return\": {}}", 0, QMP_OTHER, 0, 0, 0 },
	{ "id too large", "{\"return\": {}, \"id\": 99}", 0, QMP_OTHER, 0, 0,
	    0 },
	{ "id negative", "{\"return\": {}, \"id\": -1}", 0, QMP_OTHER, 0, 0,
	    0 },
	{ "id a string", "{\"return\": {}, \"id\": \"3\"}", 0, QMP_OTHER, 0, 0,
	    0 },
	{ "error",
	    "{\"error\": {\"class\": \"x\", \"desc\": \"no\"}, \"id\": 4}", 0,
	    QMP_ERROR, QMP_ID_POWERDOWN, 0, 0 },
	{ "error without text", "{\"error\": {}, \"id\": 4}", 0, QMP_ERROR,
	    QMP_ID_POWERDOWN, 0, 0 },
	{ "stop", "{\"event\": \"STOP\"}", 0, QMP_EVENT, 0, QMP_EV_STOP, 0 },
	{ "resume", "{\"event\": \"RESUME\"}\t ", 0, QMP_EVENT, 0,
	    QMP_EV_RESUME, 0 },
	{ "guest off",
	    "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, "
	    "\"reason\": \"guest-shutdown\"}}",
	    0, QMP_EVENT, 0, QMP_EV_GUEST, EXIT_GUEST_OFF },
	{ "guest reset",
	    "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, "
	    "\"reason\": \"guest-reset\"}}",
	    0, QMP_EVENT, 0, QMP_EV_GUEST, EXIT_GUEST_REBOOT },
	{ "guest panic", "{\"event\": \"GUEST_PANICKED\", \"data\": {}}", 0,
	    QMP_EVENT, 0, QMP_EV_GUEST, EXIT_GUEST_PANIC },
	{ "quit is no guest's end",
	    "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": "
	    "\"host-qmp-quit\"}}",
	    0, QMP_OTHER, 0, 0, 0 },
	{ "shutdown without data", "{\"event\": \"SHUTDOWN\"}", 0, QMP_OTHER, 0,
	    0, 0 },
	{ "shutdown, data a list", "{\"event\": \"SHUTDOWN\", \"data\": []}", 0,
	    QMP_OTHER, 0, 0, 0 },
	{ "other event", "{\"event\": \"RTC_CHANGE\"}", 0, QMP_OTHER, 0, 0, 0 },
	{ "event no string", "{\"event\": 5}", -EBADMSG, 0, 0, 0, 0 },
	{ "empty", "", -EBADMSG, 0, 0, 0, 0 },
	{ "empty object", "{}", -EBADMSG, 0, 0, 0, 0 },
	{ "list", "[]", -EBADMSG, 0, 0, 0, 0 },
	{ "null", "null", -EBADMSG, 0, 0, 0, 0 },
	{ "number", "7", -EBADMSG, 0, 0, 0, 0 },
	{ "half", "{\"event\": \"STO", -EBADMSG, 0, 0, 0, 0 },
	{ "two", "{\"event\": \"STOP\"} {}", -EBADMSG, 0, 0, 0, 0 },
	{ "trailing junk", "{\"event\": \"STOP\"}x", -EBADMSG, 0, 0, 0, 0 },
	{ "deep", "{\"a\":[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]}",
	    -EBADMSG, 0, 0, 0, 0 },
	{ "greeting a string", "{\"QMP\": \"x\"}", -EBADMSG, 0, 0, 0, 0 },
};

static void
test_rows(void)
{
	for (size_t i = 0; i < nitems(rows); i++) {
		struct qmp_msg m = { .kind = QMP_OTHER };

		t_row(rows[i].name);
		t_eq(qmp_msg_parse(rows[i].line, strlen(rows[i].line), &m),
		    rows[i].r);
		if (rows[i].r < 0)
			continue;
		t_eq(m.kind, rows[i].kind);
		t_eq(m.id, rows[i].id);
		t_eq(m.event, rows[i].event);
		t_eq(m.guest_event, rows[i].guest);
	}
}

static void
test_running(void)
{
	static const char yes[] =
	    "{\"return\": {\"running\": true, \"status\": \"x\"}, \"id\": 2}";
	static const char odd[] =
	    "{\"return\": {\"running\": \"yes\"}, \"id\": 2}";
	struct qmp_msg m;

	t_eq(qmp_msg_parse(yes, sizeof(yes) - 1, &m), 0);
	t_eq(m.has_running && m.running, 1);
	t_eq(qmp_msg_parse(odd, sizeof(odd) - 1, &m), 0);
	t_eq(m.has_running, 0);
}

/* One status alone means that it never goes on. */
static void
test_halted(void)
{
	static const struct {
		const char *line;
		bool halted;
	} says[] = {
		{ "{\"return\": {\"status\": \"internal-error\", "
		  "\"singlestep\": false, \"running\": false}, \"id\": 2}",
		    true },
		{ "{\"return\": {\"running\": false, \"status\": "
		  "\"paused\"}, \"id\": 2}",
		    false },
		{ "{\"return\": {\"running\": false, \"status\": "
		  "\"io-error\"}, \"id\": 2}",
		    false },
		{ "{\"return\": {\"running\": true, \"status\": "
		  "\"internal-error\"}, \"id\": 2}",
		    false },
		{ "{\"return\": {\"status\": \"internal-error\"}, "
		  "\"id\": 2}",
		    false },
		{ "{\"return\": {\"running\": false, \"status\": 5}, "
		  "\"id\": 2}",
		    false },
		{ "{\"return\": {\"running\": false}, \"id\": 2}", false },
	};
	struct qmp_msg m;
	size_t i;

	for (i = 0; i < nitems(says); i++) {
		t_row(says[i].line);
		t_eq(qmp_msg_parse(says[i].line, strlen(says[i].line), &m), 0);
		t_eq(m.kind, QMP_RETURN);
		t_eq(m.halted, says[i].halted);
	}
}

static void
test_text(void)
{
	static const char line[] = "{\"error\": {\"desc\": "
				   "\"\\u001b[2J\\nevil\\n\"}, \"id\": 4}";
	static const char nul[] =
	    "{\"error\": {\"desc\": \"a\\u0000evil\"}, \"id\": 4}";
	struct qmp_msg m;
	char *big = malloc(QMP_LINE_MAX + 1);

	t_eq(qmp_msg_parse(line, sizeof(line) - 1, &m), 0);
	t_str(m.text, "?[2J?evil?");
	t_eq(qmp_msg_parse(nul, sizeof(nul) - 1, &m), -EBADMSG);
	t_true(big != NULL);
	if (big == NULL)
		return;
	memset(big, ' ', QMP_LINE_MAX + 1);
	t_eq(qmp_msg_parse(big, QMP_LINE_MAX + 1, &m), -EBADMSG);
	free(big);
}

const struct t_case t_cases[] = { { "qmp lines", test_rows },
	{ "qmp running", test_running }, { "qmp halted", test_halted },
	{ "qmp text", test_text }, { NULL, NULL } };
