#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/check.h"
#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "common/clock.h"
#include "common/util.h"
#include "proto/jbuf.h"

#define EXIT_UNWELL 1
#define SOON_MS 10000 /* for what comes by itself after a start */
#define AGAIN_MS 200
#define JSON_MAX ((size_t)1 << 20)

static const char *
verdict(const struct check *k)
{
	return k->ok ? "yes" : k->stops ? "NO" : "warn";
}

static int
show(const struct checks *ck, struct err *e)
{
	static const char *const heads[] = { "CHECK", "OK", "DETAIL" };
	struct out_table *t = out_table_new(stdout, heads, nitems(heads));
	int r = t == NULL ? -ENOMEM : 0;
	size_t i;

	for (i = 0; r == 0 && i < ck->n; i++)
		r = out_table_row(t,
		    (const char *[]){
			ck->v[i].name, verdict(&ck->v[i]), ck->v[i].detail },
		    nitems(heads));
	if (r == 0)
		r = out_table_print(t);
	out_table_free(t);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int
show_json(const struct checks *ck, struct err *e)
{
	struct jbuf b;
	size_t i;
	int r;

	jbuf_init(&b, JSON_MAX);
	for (i = 0; i < ck->n; i++) {
		const struct check *k = &ck->v[i];

		jbuf_text(&b, i == 0 ? "[{\"name\":" : ",{\"name\":");
		jbuf_str(&b, k->name, strlen(k->name));
		jbuf_text(&b, k->ok ? ",\"ok\":true" : ",\"ok\":false");
		jbuf_text(&b,
		    k->stops ? ",\"stops_vms\":true" : ",\"stops_vms\":false");
		jbuf_text(&b, ",\"detail\":");
		jbuf_str(&b, k->detail, strlen(k->detail));
		jbuf_text(&b, "}");
	}
	jbuf_text(&b, ck->n == 0 ? "[]" : "]");
	r = b.r < 0 ? err_set(e, b.r, "out of memory")
		    : out_json(stdout, b.p, b.len, e);
	jbuf_free(&b);
	return r;
}

/* A suite that has just started is not broken: what is to come is awaited. */
static int
look(struct cli *c, bool no_wait, struct checks *ck, struct err *e)
{
	const int64_t end = clock_ms() + SOON_MS;
	int r;

	while ((r = check_host(c, ck, e)) == 0 && !no_wait &&
	    check_stops(ck, true) > 0 && clock_ms() < end)
		(void)sig_poll(-1, 0, AGAIN_MS);
	return r == 0 ? check_vms(c, ck, e) : r;
}

static int
doctor(struct cli *c, bool no_wait)
{
	struct checks *ck = calloc(1, sizeof(*ck));
	struct err e = { 0 };
	int r, status;

	if (ck == NULL)
		return cli_fail(c, err_set(&e, -ENOMEM, "out of memory"), &e);
	r = look(c, no_wait, ck, &e);
	if (r == 0)
		r = c->json ? show_json(ck, &e) : show(ck, &e);
	status = r < 0			 ? cli_fail(c, r, &e)
	    : check_stops(ck, false) > 0 ? EXIT_UNWELL
					 : 0;
	free(ck);
	return status;
}

int
cmd_doctor(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "no-wait", no_argument, NULL, OPT_FIRST },
		OPT_COMMON,
		OPT_LAST,
	};
	bool no_wait = false;
	int o;

	while ((o = opt_next(c, argc, argv, ":", longs)) != OPT_END) {
		if (o != OPT_FIRST)
			return o == OPT_HELP ? 0 : EXIT_OURS;
		no_wait = opt_flag();
	}
	if (optind != argc)
		return cli_usage(c, "doctor takes no arguments");
	return doctor(c, no_wait);
}
