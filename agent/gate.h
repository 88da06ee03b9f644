#ifndef MEWS_AGENT_GATE_H
#define MEWS_AGENT_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* The key that every AF_VSOCK connection begins with. */
#define GATE_KEY 32
#define GATE_HEX 64 /* digits */

/* GATE_HEX lower-case digits and a NUL.  0 or -EINVAL. */
int gate_parse(const char *hex, uint8_t key[GATE_KEY]);
/* Takes as long for every key that is not the one. */
bool gate_is(const uint8_t key[GATE_KEY], const uint8_t got[GATE_KEY]);

#endif
