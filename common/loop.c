#include <event2/event.h>
#include <malloc.h>

#include "common/log.h"
#include "common/loop.h"

struct event_base *
loop_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base;

	(void)mallopt(M_MMAP_THRESHOLD, LOOP_HEAP_BLOCK);
	(void)mallopt(M_TRIM_THRESHOLD, LOOP_HEAP_KEPT);
	if (cfg == NULL ||
	    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK) < 0 ||
	    event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV) < 0 ||
	    (base = event_base_new_with_config(cfg)) == NULL)
		fatal("event base");
	event_config_free(cfg);
	return base;
}
