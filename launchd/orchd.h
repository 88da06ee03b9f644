#ifndef MEWS_LAUNCHD_ORCHD_H
#define MEWS_LAUNCHD_ORCHD_H

struct launchd;
struct vm;

/* The link to orchd: what it may ask, and what it is told. */
/* Serves the channel mewsd brought, once we know what we hold. */
void orchd_open(struct launchd *ld);
/* What this host can do, once that is known. */
void orchd_caps(struct launchd *ld);
/* What came up of v since it was told last. */
void orchd_tell(struct vm *v);

#endif
