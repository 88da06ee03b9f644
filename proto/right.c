#include <stddef.h>

#include "common/util.h"
#include "proto/right.h"

#define RIGHT_ROW(name, verb, kind, of, role, does) \
	{ (verb), (kind), (of), (role), (does), #name },
const struct right api_rights[RIGHTS] = { API_RIGHTS(RIGHT_ROW) };

const struct right *
right_find(uint32_t verb, uint32_t stream)
{
	size_t i;

	if (verb != API_STREAM)
		stream = 0;
	for (i = 0; verb != 0 && i < nitems(api_rights); i++)
		if (api_rights[i].verb == verb &&
		    api_rights[i].stream == stream)
			return &api_rights[i];
	return NULL;
}
