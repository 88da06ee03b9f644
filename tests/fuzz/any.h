#ifndef MEWS_FUZZ_ANY_H
#define MEWS_FUZZ_ANY_H

#include "proto/objects.h"

/* Room for any of the objects. */
union any {
	struct vm_view vm;
	struct vm_create create;
	struct vm_query query;
	struct exec_request exec;
	struct exec_status status;
	struct event_view event;
	struct api_error error;
	struct boot_spec boot;
};

#endif
