#ifndef MEWS_CLI_UPGRADE_H
#define MEWS_CLI_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/api.h"
#include "common/http.h"
#include "common/ws.h"

struct cli;
struct err;

#define UPGRADE_BODY_MAX 8192 /* of a refusal */
#define UPGRADE_BUF 16384
#define UPGRADE_WAIT_MS API_STREAM_MS

/* The HTTP part of a WebSocket: until 101, and what came behind it. */
struct upgrade {
	struct http http;
	uint8_t body[UPGRADE_BODY_MAX];
	struct http_buf body_buf;
	uint8_t buf[UPGRADE_BUF];
	size_t at, len; /* buf[at..len) is not used yet */
	char key[WS_KEY_LEN + 1];
};

/* 0 and *fd, an upgraded socket; or a negative errno with e. */
int upgrade_open(struct cli *c, const char *target, const char *protocols,
    const char *name, struct upgrade *up, int *fd, struct err *e);
/* Takes up to len of the bytes behind the head. */
size_t upgrade_rest(struct upgrade *up, void *dst, size_t len);
bool upgrade_has_rest(const struct upgrade *up);

#endif
