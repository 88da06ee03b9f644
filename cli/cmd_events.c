#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/sse.h"
#include "cli/vm.h"
#include "common/clock.h"
#include "common/rfc3339.h"

#define LIVED_MS 10000 /* a stream that lasted so long was a good one */
#define BREAKS_SAID 3 /* bad ones in a row, from which on it is said */
#define PAUSE_MS 100 /* before the next one; twice as long each time */
#define PAUSE_MAX_MS 10000

struct events {
	struct cli *c;
	struct sse sse;
	unsigned int breaks; /* bad streams in a row */
};

static void
show(const struct event_view *ev)
{
	const char *detail = ev->message[0] != '\0' ? ev->message : ev->line;
	char when[RFC3339_MAX], line[6 * 1024];

	rfc3339_format(ev->timestamp, false, when);
	(void)snprintf(line, sizeof(line), "%s  %-10s  %s%s%s%s%s", when,
	    event_type_names[ev->type], ev->name,
	    ev->status != VM_STATUS_NONE ? "  " : "",
	    vm_status_names[ev->status], detail[0] != '\0' ? "  " : "", detail);
	out_line(stdout, line);
}

/* Events are missing: said beside them, or as one of them. */
static bool
on_gap(struct events *s, const char *data, size_t len)
{
	struct event_gap gap;
	struct err e = { 0 };

	if (table_decode(&event_gap_table, 0, data, len, &gap, &e) < 0)
		return false;
	if (s->c->json)
		out_json_line(stdout, data, len);
	else
		cli_error(s->c, "%s", gap.message);
	return true;
}

/* What we cannot read is said and passed over: the next may be fine. */
static int
on_event(void *arg, const char *data, size_t len)
{
	struct events *s = arg;
	struct event_view ev;
	struct err e = { 0 };

	if (on_gap(s, data, len))
		return out_flush();
	if (table_decode(&event_table, 0, data, len, &ev, &e) < 0) {
		cli_error(s->c, "an event that makes no sense: %.160s", e.msg);
		return 0;
	}
	if (s->c->json) {
		struct jbuf b;

		jbuf_init(&b, TABLE_JSON_MAX);
		table_encode(&event_table, 0, &ev, &b);
		if (b.r == 0)
			out_json_line(stdout, b.p, b.len);
		jbuf_free(&b);
	} else {
		show(&ev);
	}
	return out_flush();
}

static int
on_bytes(void *arg, const char *p, size_t len)
{
	struct events *s = arg;

	return sse_feed(&s->sse, p, len);
}

/* One stream to its end: 0, it broke or ended; or a negative errno with e. */
static int
one_stream(struct events *s, struct err *e)
{
	struct api_request rq = { .method = "GET",
		.target = "/api/v1/events/vms",
		.sink = on_bytes,
		.arg = s };
	struct api_reply rp = { 0 };
	char id[SSE_ID_MAX];
	int r;

	sse_again(&s->sse);
	(void)snprintf(id, sizeof(id), "%s", s->sse.id);
	rq.last_event_id = id[0] != '\0' ? id : NULL;
	r = api_call(s->c->api, &rq, &rp, e);
	if (r == 0 && rp.status != 200)
		r = vm_refusal(
		    s->c, rp.status, rp.body.p, rp.body.len, NULL, e);
	else if (r == 0 && id[0] == '\0' && s->sse.id[0] == '\0')
		r = err_set(e, -ECONNRESET,
		    "the API at %s ended the stream of events",
		    api_path(s->c->api));
	api_reply_free(&rp);
	if (r == -EMSGSIZE)
		return err_set(
		    e, r, "an event is longer than %zu bytes", SSE_DATA_MAX);
	return r == -EPIPE && out_lost() == 0 ? 0 : r;
}

/* How long to wait for the next stream, after one that lived so long. */
static int
next_pause(struct events *s, int64_t lived_ms)
{
	unsigned int i;
	int ms = PAUSE_MS;

	if (lived_ms >= LIVED_MS)
		s->breaks = 0;
	s->breaks++;
	for (i = 1; i < s->breaks && ms < PAUSE_MAX_MS; i++)
		ms *= 2;
	if (ms > PAUSE_MAX_MS)
		ms = PAUSE_MAX_MS;
	if (s->breaks >= BREAKS_SAID)
		cli_error(s->c,
		    "the API at %s broke %u streams of events in a row: "
		    "trying again in %d.%d seconds%s",
		    api_path(s->c->api), s->breaks, ms / 1000, ms % 1000 / 100,
		    s->sse.id[0] == '\0'
			? ", and what happens until then is not shown"
			: "");
	return ms;
}

/*
 * Ends with an error only: a stream that broke is taken up again where it
 * was, by the id of the last event.
 */
static int
follow(struct events *s, struct err *e)
{
	int64_t begun;
	int r;

	for (;;) {
		begun = clock_ms();
		if ((r = one_stream(s, e)) < 0)
			return r;
		(void)sig_poll(-1, 0, next_pause(s, clock_ms() - begun));
	}
}

int
cmd_events(struct cli *c, int argc, char *argv[])
{
	struct err e = { 0 };
	struct events *s;
	int r;

	r = opt_none(c, argc, argv);
	if (r != 0)
		return r == OPT_HELP ? 0 : EXIT_OURS;
	if (optind != argc)
		return cli_usage(c, "events takes no names");
	if ((s = calloc(1, sizeof(*s))) == NULL) {
		cli_error(c, "out of memory");
		return EXIT_OURS;
	}
	s->c = c;
	sse_init(&s->sse, on_event, s);
	r = cli_fail(c, follow(s, &e), &e);
	free(s);
	return r;
}
