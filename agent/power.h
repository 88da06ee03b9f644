#ifndef MEWS_AGENT_POWER_H
#define MEWS_AGENT_POWER_H

#include <stdint.h>

struct agent;

/* Ends the workload, then the machine (reboot(2)'s cmd): at once or after a
 * grace, 0 for the usual.  What was asked first counts, but for the grace: one
 * that is said later holds from then on. */
void power_begin(struct agent *a, int reboot_cmd, uint32_t grace_ms);
/* Something ended: perhaps it was the last that power-off waits for. */
void power_step(struct agent *a);
/* From now on the workload can ask for it (agent/work.h). */
void power_listen(struct agent *a);

#endif
