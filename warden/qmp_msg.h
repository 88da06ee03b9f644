#ifndef MEWS_WARDEN_QMP_MSG_H
#define MEWS_WARDEN_QMP_MSG_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/launch.h"

/* QEMU says about 0.3 KiB a line; what is longer is not worth hearing. */
#define QMP_LINE_MAX 16384

/* The ids of the commands we send, so that answers find their question. */
enum qmp_id {
	QMP_ID_NONE = 0,
	QMP_ID_CAPS = 1,
	QMP_ID_STATUS = 2,
	QMP_ID_CONT = 3,
	QMP_ID_POWERDOWN = 4,
	QMP_ID_QUIT = 5,
};

enum qmp_kind {
	QMP_GREETING,
	QMP_RETURN, /* id; running for QMP_ID_STATUS */
	QMP_ERROR, /* id and text */
	QMP_EVENT, /* one we act on */
	QMP_OTHER, /* an event or answer nobody waits for */
};

enum qmp_event {
	QMP_EV_NONE,
	QMP_EV_STOP,
	QMP_EV_RESUME,
	QMP_EV_GUEST, /* see guest_event */
};

struct qmp_msg {
	enum qmp_kind kind;
	enum qmp_id id;
	enum qmp_event event;
	enum exit_reason guest_event;
	bool has_running, running;
	bool halted; /* it stands for an internal error: never to go on */
	char text[96]; /* printable */
};

/* One line without its newline.  0 or -EBADMSG. */
int qmp_msg_parse(const char *line, size_t len, struct qmp_msg *ret);

#endif
