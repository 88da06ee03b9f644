#ifndef MEWS_AGENT_POWER_H
#define MEWS_AGENT_POWER_H

struct agent;

/* Ends the workload, then the machine (reboot(2)'s cmd): at once or after a
 * grace.  What was asked first counts. */
void power_begin(struct agent *a, int reboot_cmd);
/* Something ended: perhaps it was the last that power-off waits for. */
void power_step(struct agent *a);
/* From now on the workload can ask for it (agent/work.h). */
void power_listen(struct agent *a);

#endif
