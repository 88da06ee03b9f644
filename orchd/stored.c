#include "orchd/stored.h"
#include "proto/objects.h"

const struct stored stored_request = { &vm_create_table, 1, NULL };
/* 2: a status more */
const struct stored stored_event = { &event_table, 2, NULL };
