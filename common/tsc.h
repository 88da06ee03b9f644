#ifndef MEWS_TSC_H
#define MEWS_TSC_H

#include <stdint.h>

/*
 * The time-stamp counter's rate in kHz, measured against
 * CLOCK_MONOTONIC_RAW over some 20 ms, busy: once at start-up.  A guest in
 * emulation sees the host's counter and cannot always calibrate it itself:
 * it is told tsc_early_khz=.  0, or -EIO where the counter does not run or
 * the host's kernel does not trust it (processors differ, or it changes).
 */
int tsc_khz(uint32_t *ret);

#endif
