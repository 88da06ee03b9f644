#ifndef MEWS_LAUNCHD_PROBE_H
#define MEWS_LAUNCHD_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct launchd;
struct vm;

/*
 * The accelerator probe: a throwaway VM with KVM and the real kernel, in the
 * last slot.  Only the agent's first sign of life proves that KVM works
 * here: some hosts run a bare vCPU and then hang in every kernel.
 */
/* Starts one, unless the accelerator is known. */
void probe_start(struct launchd *ld);
/* The verdict, by what became of v: the first one counts, and is told to
 * spawner and orchd.  v is released. */
void probe_ended(struct vm *v, uint32_t accel);
/* v's deadline has come by the clock.  True: v is a probe, whose own has not,
 * and the timer is set again. */
bool probe_waits(struct vm *v);

#endif
