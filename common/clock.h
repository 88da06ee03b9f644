#ifndef MEWS_CLOCK_H
#define MEWS_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC (clock_gettime(2)): only differences mean anything. */
int64_t clock_us(void);
int64_t clock_ms(void);
/* Since the epoch, as the host believes. */
int64_t clock_wall_ns(void);

#endif
