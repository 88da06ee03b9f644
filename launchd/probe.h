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
/* Starts one, unless the accelerator is known, be it for now. */
void probe_start(struct launchd *ld);
/* It runs, and its warden said something: its agent lives, and KVM it is, and v
 * is released; or its processor stands still. */
void probe_look(struct vm *v);
/*
 * v ended without.  That there is no KVM is known when its kernel used up its
 * time, when KVM gave its processor up, or when the hypervisor gave up by
 * itself PROBE_AGREE times in a row; then spawner and orchd are told for good.
 * All else (no memory, a process that was killed, a host that was too busy)
 * says nothing: VMs are emulated for now, and it is asked again.
 */
#define PROBE_AGREE 3U
void probe_failed(struct vm *v);
/* v's deadline has come by the clock.  True: v is a probe, whose own has not,
 * and the timer is set again. */
bool probe_waits(struct vm *v);

#endif
