#ifndef MEWS_LAUNCHD_DIAL_H
#define MEWS_LAUNCHD_DIAL_H

#include <stdint.h>

struct vm;
struct ward_dial;

/* Answered now or within seconds, as long as that warden is connected. */
void dial_ask(struct vm *v, uint64_t id, const struct ward_dial *ask);
/* Its warden is gone: so is everyone who waited. */
void dial_clear(struct vm *v);

#endif
