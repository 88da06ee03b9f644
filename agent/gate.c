#include "agent/gate.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/util.h"

_Static_assert(GATE_HEX == 2 * GATE_KEY, "two digits a byte");

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
gate_parse(const char *hex, uint8_t key[GATE_KEY])
{
	uint8_t out[GATE_KEY];
	size_t i;

	if (strlen(hex) != GATE_HEX)
		return -EINVAL;
	for (i = 0; i < GATE_KEY; i++) {
		int hi = digit(hex[i * 2]), lo = digit(hex[i * 2 + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(key, out, sizeof(out));
	explicit_bzero(out, sizeof(out));
	return 0;
}

bool
gate_is(const uint8_t key[GATE_KEY], const uint8_t got[GATE_KEY])
{
	volatile uint8_t diff = 0;
	size_t i;

	for (i = 0; i < GATE_KEY; i++)
		diff |= (uint8_t)(key[i] ^ got[i]);
	return !RULE(AGENT_KEY) || diff == 0;
}
