#ifndef MEWS_LINK_H
#define MEWS_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/chan.h"

/*
 * The helpers, a row each: one file per helper (link_*.c) holds its asks
 * beside its answers.  An answer is written down at the part that asked
 * (part.h); what comes of it the turn decides.
 */
struct orchd;
struct part;
struct part_kind;
struct vm;

enum link_id { LINK_NET, LINK_LAUNCH, LINKS };

/* Phases of a link's channel. */
#define PH_LISTING 1U /* it tells what it holds */
#define PH_LISTED 2U

struct link_row {
	enum link_id id;
	uint32_t room;
	uint32_t list; /* message that asks what it holds */
	const char *missing; /* for people: why nothing moves */
	void (*lost)(struct orchd *o); /* or NULL: beside its parts */
	struct chan_ops ops; /* gone: link_gone */
};

struct link {
	const struct link_row *row; /* from the start on */
	struct chan *chan; /* NULL: not there */
	bool listed; /* it has told what it holds */
};

/* The channel to a helper, new or renewed; asks what it holds.  Takes sock. */
void link_open(struct orchd *o, struct link *l, int sock);
void link_close(struct link *l);
/* For chan_ops. */
void link_gone(void *arg, struct chan *c, enum chan_end end, const char *why);
/* It has told all that it holds: the store can be held against it. */
void link_listed(struct orchd *o, enum link_id id);
/* All have: else nothing is asked of any. */
bool link_all_listed(const struct orchd *o);
/* Words for the one that is not there, or NULL. */
const char *link_missing(const struct orchd *o);
/*
 * The part whose question this answers, in *ret; NULL: too late, or nobody's.
 * A helper answers its own questions (asks: those that are answered in this
 * way), or it is no helper of ours (-EPERM).  vmid 0: the answer has none.
 */
int link_asker(struct orchd *o, enum link_id id, uint64_t ask, uint64_t vmid,
    unsigned int asks, struct part **ret);
/* Sends one message to a helper that may be gone (-EPIPE).  Takes fd. */
int link_send(struct orchd *o, enum link_id id, uint32_t type, uint64_t ask,
    const void *data, size_t len, int fd);
/* The same without a descriptor, and with a tail behind the struct. */
int link_send2(struct orchd *o, enum link_id id, uint32_t type, uint64_t ask,
    const void *head, size_t headlen, const void *tail, size_t taillen);
/* The VM's part of that kind and index, or NULL. */
struct part *link_part(
    struct vm *vm, const struct part_kind *kind, uint32_t index);

#endif
