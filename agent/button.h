#ifndef MEWS_AGENT_BUTTON_H
#define MEWS_AGENT_BUTTON_H

#include <stddef.h>

#include "agent/loop.h"

#define BUTTONS_MAX 4 /* power buttons that are listened to */
#define INPUTS_MAX 32 /* /dev/input/eventN that are looked at */

struct buttons {
	struct watch w[BUTTONS_MAX];
	size_t n;
	void (*pressed)(void *arg);
	void *arg;
};

/*
 * Listens to every power button there is: what the host's ACPI rung
 * presses.  A guest without one is only harder to stop.
 */
void buttons_open(struct buttons *b, void (*pressed)(void *arg), void *arg);

#endif
