#ifndef MEWS_AGENT_GUEST_H
#define MEWS_AGENT_GUEST_H

#include <stdbool.h>

/*
 * The guest itself, as pid 1 finds it: file systems, modules, console.
 * Where something is missing a line on the console says so and the guest
 * goes on; only what nothing works without is fatal (and panics the kernel,
 * which ends the machine).
 */

/*
 * Moves the agent from the initramfs to a small tmpfs with /proc, /sys and
 * /dev, and empties the initramfs: then a workload's root can be pivoted
 * to, and nothing is left for the kernel's helpers or for an escape.
 * Keeps /lib/modules/late and what it names, and /bin/busybox.
 */
void guest_setup(void);
/* The modules the machine needs, in the order of /lib/modules/order. */
void guest_modules_early(void);
/* What may come after the guest is ready. */
void guest_modules_late(void);
/* AF_VSOCK, if the machine has its device: whether it has. */
bool guest_modules_vsock(void);
/* sync(2), then off or again; returns only if the kernel refuses. */
void guest_power(int reboot_cmd);

#endif
