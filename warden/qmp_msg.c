#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "common/util.h"
#include "warden/qmp_msg.h"
#include "warden/text.h"

static const char *
str_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

static struct json_object *
member(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *v;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, type))
		return NULL;
	return v;
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
parse_shutdown(struct json_object *o, struct qmp_msg *ret)
{
	const char *reason =
	    str_of(member(o, "data", json_type_object), "reason");
	size_t i;

	if (reason == NULL)
		return;
	for (i = 0; i < nitems(shutdowns); i++) {
		if (strcmp(reason, shutdowns[i].reason) == 0) {
			ret->event = QMP_EV_GUEST;
			ret->guest_event = shutdowns[i].means;
		}
	}
}

static void
parse_event(struct json_object *o, const char *name, struct qmp_msg *ret)
{
	if (strcmp(name, "SHUTDOWN") == 0)
		parse_shutdown(o, ret);
	else if (strcmp(name, "STOP") == 0)
		ret->event = QMP_EV_STOP;
	else if (strcmp(name, "RESUME") == 0)
		ret->event = QMP_EV_RESUME;
	else if (strcmp(name, "GUEST_PANICKED") == 0) {
		ret->event = QMP_EV_GUEST;
		ret->guest_event = EXIT_GUEST_PANIC;
	}
	ret->kind = ret->event == QMP_EV_NONE ? QMP_OTHER : QMP_EVENT;
}

static void
parse_id(struct json_object *o, struct qmp_msg *ret)
{
	struct json_object *v = member(o, "id", json_type_int);
	int64_t n = v != NULL ? json_object_get_int64(v) : 0;

	if (n >= QMP_ID_CAPS && n <= QMP_ID_QUIT)
		ret->id = (enum qmp_id)n;
}

static int
parse_object(struct json_object *o, struct qmp_msg *ret)
{
	struct json_object *v;
	const char *name;

	if ((name = str_of(o, "event")) != NULL) {
		parse_event(o, name, ret);
		return 0;
	}
	parse_id(o, ret);
	if ((v = member(o, "error", json_type_object)) != NULL) {
		const char *desc = str_of(v, "desc");

		ret->kind = QMP_ERROR;
		text_print(ret->text, sizeof(ret->text),
		    desc != NULL ? desc : "", desc != NULL ? strlen(desc) : 0);
		return 0;
	}
	if (json_object_object_get_ex(o, "return", &v)) {
		struct json_object *run =
		    member(v, "running", json_type_boolean);

		ret->kind = ret->id == QMP_ID_NONE ? QMP_OTHER : QMP_RETURN;
		ret->has_running = run != NULL;
		ret->running = run != NULL && json_object_get_boolean(run);
		return 0;
	}
	if (member(o, "QMP", json_type_object) != NULL) {
		ret->kind = QMP_GREETING;
		return 0;
	}
	return -EBADMSG;
}

int
qmp_msg_parse(const char *line, size_t len, struct qmp_msg *ret)
{
	struct json_tokener *tok;
	struct json_object *o = NULL;
	struct qmp_msg m = { .kind = QMP_OTHER };
	int r = -EBADMSG;

	if (len == 0 || len > QMP_LINE_MAX)
		return -EBADMSG;
	if ((tok = json_tokener_new_ex(QMP_DEPTH_MAX)) == NULL)
		return -ENOMEM;
	o = json_tokener_parse_ex(tok, line, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success ||
	    !json_object_is_type(o, json_type_object))
		goto out;
	/* what follows the object must be space */
	for (size_t i = json_tokener_get_parse_end(tok); i < len; i++) {
		if (line[i] != ' ' && line[i] != '\r' && line[i] != '\t')
			goto out;
	}
	if ((r = parse_object(o, &m)) == 0)
		*ret = m;
out:
	json_object_put(o);
	json_tokener_free(tok);
	return r;
}
