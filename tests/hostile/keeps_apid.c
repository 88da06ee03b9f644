#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "apid/apid.h"
#include "common/fds.h"
#include "common/frame.h"
#include "proto/api.h"
#include "proto/chan.h"
#include "proto/launch.h"
#include "proto/ward.h"
#include "tests/hostile/takeover.h"

/*
 * The users' apid, taken over (I1, I13): for each caller who comes it has a
 * command run in a VM, keeps its end of that stream, and says that the caller
 * has gone, so that his part of the VM's streams is given back.
 */
#define FIRST_ID (1ULL << 40) /* of questions that are not apid's own */
#define VICTIM "web"
#define COMMAND "{\"cmd\":[\"sleep\",\"1000\"]}"

int __real_client_new(struct apid *a, const struct api_caller *who, int fd);
int __wrap_client_new(struct apid *a, const struct api_caller *who, int fd);
int __real_msg_recv(int sock, void *buf, struct msg *m);
int __wrap_msg_recv(int sock, void *buf, struct msg *m);

int
__wrap_client_new(struct apid *a, const struct api_caller *who, int fd)
{
	static uint64_t id = FIRST_ID;
	const struct api_req r = {
		.conn = who->conn, .kind = STREAM_EXEC, .var = { VICTIM }
	};

	if (a->boot.room != ROOM_API)
		return __real_client_new(a, who, fd);
	fd_close(&fd); /* orchd has a copy */
	return msg_send(
	    chan_sock(a->orchd), API_STREAM, id++, &r, sizeof(r), -1);
}

static void
run(int fd)
{
	const char head[] = { (char)FRAME_OPEN, 0, 0, 0, sizeof(COMMAND) - 1 };

	if (send(fd, head, sizeof(head), MSG_NOSIGNAL) < 0 ||
	    send(fd, COMMAND, sizeof(COMMAND) - 1, MSG_NOSIGNAL) < 0)
		takeover_said("no command");
	else
		takeover_said("kept"); /* with the descriptor */
}

/* What it asked for itself, apid does not see. */
int
__wrap_msg_recv(int sock, void *buf, struct msg *m)
{
	int r = __real_msg_recv(sock, buf, m);
	struct api_res res;
	struct api_conn gone;

	if (r < 0 || m->type != API_RES || m->id < FIRST_ID)
		return r;
	memcpy(&res, m->data, sizeof(res));
	if (m->fd >= 0)
		run(m->fd);
	gone = (struct api_conn){ .conn = res.conn };
	(void)msg_send(sock, API_CLOSED, 0, &gone, sizeof(gone), -1);
	return -EAGAIN;
}
