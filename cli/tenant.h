#ifndef MEWS_CLI_TENANT_H
#define MEWS_CLI_TENANT_H

#include "proto/objects.h"

struct cli;
struct err;

/* What commands ask about tenants; what they return is as in vm.h.  What is in
 * *ret is the caller's: table_clear(&tenant_table, ret). */
int tenant_list(struct cli *c, struct objs *ret, struct err *e);
int tenant_get(
    struct cli *c, const char *name, struct tenant_view *ret, struct err *e);
int tenant_create(struct cli *c, const struct tenant_create *rq,
    struct tenant_view *ret, struct err *e);
int tenant_change(struct cli *c, const char *name,
    const struct tenant_change *rq, struct tenant_view *ret, struct err *e);
int tenant_delete(struct cli *c, const char *name, bool force, struct err *e);

/* As the command line has it. */
const char *tenant_amount_text(enum tenant_amount which);
/* "vms=10,memory=2g" into what of q it names; -EINVAL with e. */
int tenant_quota(const char *text, struct tenant_amounts *q, struct err *e);
/*
 * "alice:admin", "1000", "dev:none" into m, by the names of this host; kind is
 * enum member_kind.  -EINVAL with e.
 */
int tenant_member(
    const char *text, uint8_t kind, struct tenant_member *m, struct err *e);
/* "alice" or, where this host knows no such number, "1000". */
#define MEMBER_TEXT_MAX 80
void tenant_member_text(
    const struct tenant_member *m, char buf[MEMBER_TEXT_MAX]);

/* What it has of what it may: "[#####     ]", "" where there is no limit. */
#define BAR_CELLS 20
#define BAR_TEXT_MAX (BAR_CELLS + 3)
void tenant_bar(uint64_t used, uint64_t limit, char buf[BAR_TEXT_MAX]);

#endif
