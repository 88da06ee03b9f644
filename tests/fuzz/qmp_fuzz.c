#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "warden/qmp_msg.h"

/* One line of a hypervisor that its guest has taken over. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct qmp_msg m = { .kind = QMP_OTHER };
	size_t i, n;

	if (qmp_msg_parse((const char *)data, len, &m) < 0)
		return 0;
	if ((unsigned int)m.kind > QMP_OTHER ||
	    (unsigned int)m.id > QMP_ID_QUIT ||
	    (unsigned int)m.event > QMP_EV_GUEST)
		abort();
	/* goes into logs and answers: an end, and nothing but text */
	n = strnlen(m.text, sizeof(m.text));
	if (n == sizeof(m.text))
		abort();
	for (i = 0; i < n; i++) {
		if ((uint8_t)m.text[i] < 0x20 || m.text[i] == 0x7f)
			abort();
	}
	return 0;
}
