#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"
#include "common/num.h"
#include "common/rfc3339.h"
#include "common/url.h"
#include "common/util.h"
#include "common/when.h"

/*
 * `mews audit`: the trail, and whether it is whole.  The API says of each row
 * whether its hash is that of what it says; that the rows of a chain follow
 * each other, from the first that is kept to its head, is looked at here.
 */
#define HASH_LEN 32 /* of SHA-256 */

struct audit {
	const char *since; /* NULL: all that is kept */
	bool verify;
	bool has_head; /* a row that is to have that hash: */
	int64_t head_number, head_row;
	uint8_t head_hash[HASH_LEN];
	bool head_seen;
	/* --verify */
	struct chain *chains;
	size_t nchains;
	uint64_t rows, bad;
};

/* A chain as far as it was read. */
struct chain {
	int64_t number, first, last;
	uint8_t hash[HASH_LEN];
	bool has_head;
};

/* --- requests --- */

static int
get_page(struct cli *c, const char *since, int64_t after,
    struct audit_page *ret, struct err *e)
{
	char target[API_TARGET_MAX], enc[WHEN_MAX * 3 + 1] = "";
	struct api_request rq = { .method = "GET", .target = target };
	struct api_reply rp = { 0 };
	struct err de = { 0 };
	int r;

	if (since != NULL && url_encode(enc, sizeof(enc), since) < 0)
		return err_set(e, -EINVAL, "--since: too long");
	(void)snprintf(target, sizeof(target),
	    "/api/v1/audit?after=%" PRId64 "%s%s", after,
	    since != NULL ? "&since=" : "", enc);
	if ((r = api_call(c->api, &rq, &rp, e)) == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, e);
	else if (r == 0 &&
	    table_decode(
		&audit_page_table, 0, rp.body.p, rp.body.len, ret, &de) < 0)
		r = err_set(e, -EPROTO,
		    "what the API says of the trail makes no sense: %.120s",
		    de.msg);
	api_reply_free(&rp);
	return r;
}

/* --- what is shown --- */

static void
user_name(const struct audit_entry *en, char *buf, size_t cap)
{
	const struct passwd *pw;

	if ((en->has & TABLE_HAS(TRAIL_USER)) == 0)
		(void)snprintf(buf, cap, "(suite)");
	else if ((pw = getpwuid(en->user)) != NULL)
		(void)snprintf(buf, cap, "%.64s", pw->pw_name);
	else
		(void)snprintf(buf, cap, "%" PRIu32, en->user);
}

static int
add_row(struct out_table *t, const struct audit_view *v)
{
	static const char *const results[] = { "allowed", "REFUSED", "FAILED" };
	const struct audit_entry *en = &v->entry;
	char when[RFC3339_MAX], user[72], who[128], detail[320];

	rfc3339_format(v->at, false, when);
	if ((v->has & TABLE_HAS(AUDIT_VIEW_ENTRY)) == 0)
		return out_table_row(t,
		    (const char *[]){ when, "", "", "", "", "BROKEN",
			"this row cannot be read" },
		    7);
	user_name(en, user, sizeof(user));
	(void)snprintf(who, sizeof(who), "%s%s%s", user,
	    en->role != 0 ? " as " : "",
	    en->role != 0 ? tenant_role_names[en->role] : "");
	(void)snprintf(detail, sizeof(detail), "%s%s%s%s",
	    v->intact ? "" : "NOT INTACT: ", en->room,
	    en->room[0] != '\0' ? ": " : "", en->detail);
	return out_table_row(t,
	    (const char *[]){ when,
		en->tenant[0] != '\0' ? en->tenant : "(host)", who, en->action,
		en->object, results[en->result], detail },
	    7);
}

static int
show_page(struct cli *c, const struct audit_page *p, bool first, struct err *e)
{
	static const char *const heads[] = { "TIME", "TENANT", "WHO", "ACTION",
		"OBJECT", "RESULT", "DETAIL" };
	const struct audit_view *v = p->rows.items;
	struct out_table *t;
	uint32_t i;
	int r;

	if (c->json) {
		for (i = 0, r = 0; r == 0 && i < p->rows.count; i++)
			r = out_obj(stdout, &audit_table, &v[i], e);
		return r;
	}
	if (p->rows.count == 0 && !first)
		return 0;
	t = out_table_new(stdout, heads, nitems(heads));
	r = t != NULL ? 0 : -ENOMEM;
	for (i = 0; r == 0 && i < p->rows.count; i++)
		r = add_row(t, &v[i]);
	if (r == 0)
		r = out_table_print(t);
	out_table_free(t);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

/* --- whether it is whole --- */

static struct chain *
chain_of(struct audit *a, int64_t number)
{
	struct chain *p;
	size_t i;

	for (i = 0; i < a->nchains; i++)
		if (a->chains[i].number == number)
			return &a->chains[i];
	p = reallocarray(a->chains, a->nchains + 1, sizeof(*p));
	if (p == NULL)
		return NULL;
	a->chains = p;
	p += a->nchains++;
	*p = (struct chain){ .number = number };
	return p;
}

static void complain(struct audit *a, int64_t number, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
complain(struct audit *a, int64_t number, const char *fmt, ...)
{
	char line[192], what[128];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	(void)snprintf(
	    line, sizeof(line), "tenant %" PRId64 ": %s", number, what);
	out_line(stdout, line);
	a->bad++;
}

static int
check_row(struct audit *a, const struct audit_view *v)
{
	struct chain *ch = chain_of(a, v->number);

	if (ch == NULL)
		return -ENOMEM;
	a->rows++;
	if (!v->intact)
		complain(a, v->number,
		    "row %" PRId64
		    " is not what it was, or does not follow the one "
		    "before",
		    v->n);
	else if (ch->last != 0 &&
	    (v->n != ch->last + 1 ||
		memcmp(v->prev, ch->hash, sizeof(ch->hash)) != 0))
		complain(
		    a, v->number, "rows are missing before %" PRId64, v->n);
	if (a->has_head && v->number == a->head_number && v->n == a->head_row) {
		a->head_seen = true;
		if (memcmp(v->hash, a->head_hash, sizeof(v->hash)) != 0)
			complain(a, v->number,
			    "row %" PRId64
			    " has another hash than the one given",
			    v->n);
	}
	if (ch->first == 0)
		ch->first = v->n;
	ch->last = v->n;
	memcpy(ch->hash, v->hash, sizeof(ch->hash));
	return 0;
}

static int
check_head(struct audit *a, const struct audit_head_view *h)
{
	struct chain *ch = chain_of(a, h->number);
	char hex[2 * sizeof(h->hash) + 1], line[256];
	const uint64_t bad = a->bad;
	size_t i;

	if (ch == NULL)
		return -ENOMEM;
	ch->has_head = true;
	if (ch->first != h->first)
		complain(a, h->number, "rows from %" PRId64 " on are missing",
		    h->first);
	if (ch->last != h->last)
		complain(a, h->number, "rows up to %" PRId64 " are missing",
		    h->last);
	else if (memcmp(ch->hash, h->hash, sizeof(h->hash)) != 0)
		complain(a, h->number,
		    "row %" PRId64 " is not the one that was "
		    "written last",
		    h->last);
	if (a->bad > bad)
		return 0;
	for (i = 0; i < sizeof(h->hash); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", h->hash[i]);
	(void)snprintf(line, sizeof(line),
	    "tenant %lld%s%s%s: rows %lld to %lld, hash %s",
	    (long long)h->number, h->tenant[0] != '\0' ? " (" : "", h->tenant,
	    h->tenant[0] != '\0' ? ")" : "", (long long)h->first,
	    (long long)h->last, hex);
	out_line(stdout, line);
	return 0;
}

static int
check_page(struct audit *a, const struct audit_page *p, struct err *e)
{
	const struct audit_view *v = p->rows.items;
	const struct audit_head_view *h = p->heads.items;
	uint32_t i;
	int r = 0;

	for (i = 0; r == 0 && i < p->rows.count; i++)
		r = check_row(a, &v[i]);
	for (i = 0; r == 0 && i < p->heads.count; i++)
		r = check_head(a, &h[i]);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

/* All is read: what is left to say. */
static int
verdict(struct audit *a, struct err *e)
{
	char line[128];
	size_t i;

	for (i = 0; i < a->nchains; i++)
		if (!a->chains[i].has_head)
			complain(a, a->chains[i].number,
			    "its head is missing (row %" PRId64 " is its last)",
			    a->chains[i].last);
	if (a->has_head && !a->head_seen)
		complain(a, a->head_number,
		    "row %" PRId64 ", which was given, is not there",
		    a->head_row);
	if (a->bad > 0)
		return err_set(e, -EBADMSG,
		    "the trail is not whole: see above; what the system "
		    "journal has of it (audit: tenant ...) says since when");
	(void)snprintf(line, sizeof(line),
	    "%" PRIu64 " rows: each is what it was, none is missing", a->rows);
	out_line(stdout, line);
	return 0;
}

/* --- the command line --- */

static int
run(struct cli *c, struct audit *a, struct err *e)
{
	struct audit_page page;
	int64_t after = 0;
	bool first = true;
	int r;

	do {
		page = (struct audit_page){ 0 };
		if ((r = get_page(c, a->since, after, &page, e)) == 0)
			r = a->verify ? check_page(a, &page, e)
				      : show_page(c, &page, first, e);
		if (r == 0 && page.next != 0 && page.next <= after)
			r = err_set(e, -EPROTO,
			    "the API's trail goes round in circles");
		after = page.next;
		first = first && page.rows.count == 0;
		table_clear(&audit_page_table, &page);
	} while (r == 0 && after != 0);
	return r == 0 && a->verify ? verdict(a, e) : r;
}

static int
take_hash(const char *text, uint8_t hash[HASH_LEN])
{
	char part[HEX64_LEN + 1] = "";
	uint64_t v;
	size_t i;

	if (strlen(text) != 2 * (size_t)HASH_LEN)
		return -EINVAL;
	for (i = 0; i < HASH_LEN; i += sizeof(v)) {
		memcpy(part, text + 2 * i, HEX64_LEN);
		if (num_parse_hex64(part, &v) < 0)
			return -EINVAL;
		v = htobe64(v);
		memcpy(hash + i, &v, sizeof(v));
	}
	return 0;
}

/* TENANT:ROW:HASH, as the journal has it. */
static int
take_head(struct cli *c, struct audit *a)
{
	char number[24], row[24];
	const char *p = strchr(optarg, ':');
	const char *q = p != NULL ? strchr(p + 1, ':') : NULL;
	long long v = 0, w = 0;

	if (q != NULL) {
		(void)snprintf(
		    number, sizeof(number), "%.*s", (int)(p - optarg), optarg);
		(void)snprintf(
		    row, sizeof(row), "%.*s", (int)(q - p - 1), p + 1);
	}
	if (q == NULL || num_parse(number, 0, INT64_MAX, &v) < 0 ||
	    num_parse(row, 1, INT64_MAX, &w) < 0 ||
	    take_hash(q + 1, a->head_hash) < 0) {
		(void)cli_usage(c,
		    "--head %.40s: it is TENANT:ROW:HASH, as the system "
		    "journal has it",
		    optarg);
		return OPT_BAD;
	}
	a->head_number = v;
	a->head_row = w;
	a->has_head = a->verify = true;
	return 0;
}

enum { O_SINCE = OPT_FIRST, O_VERIFY, O_HEAD };

static int
take(struct cli *c, struct audit *a, int opt)
{
	switch (opt) {
	case O_SINCE:
		return opt_since(c, &a->since);
	case O_HEAD:
		return take_head(c, a);
	case O_VERIFY:
		a->verify = opt_flag();
		return 0;
	default:
		return opt;
	}
}

int
cmd_audit(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "since", required_argument, NULL, O_SINCE },
		{ "verify", no_argument, NULL, O_VERIFY },
		{ "head", required_argument, NULL, O_HEAD },
		OPT_COMMON,
		OPT_LAST,
	};
	struct audit a = { 0 };
	struct err e = { 0 };
	int o, r;

	while ((o = opt_next(c, argc, argv, ":", longs)) != OPT_END)
		if ((r = take(c, &a, o)) != 0)
			return r == OPT_HELP ? 0 : EXIT_OURS;
	if (optind < argc)
		return cli_usage(c, "audit takes no names");
	if (a.verify && a.since != NULL)
		return cli_usage(
		    c, "--verify looks at all of the trail: not with --since");
	r = run(c, &a, &e);
	free(a.chains);
	if (r == -EBADMSG) { /* not a fault of ours: an answer */
		cli_error(c, "%s", e.msg);
		return EXIT_LOST;
	}
	return r < 0 ? cli_fail(c, r, &e) : 0;
}
