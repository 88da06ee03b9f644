#include "orchd/stored.h"
#include "proto/objects.h"

const struct stored stored_request = { &vm_create_table, 1, NULL };
const struct stored stored_event = { &event_table, 1, NULL };
