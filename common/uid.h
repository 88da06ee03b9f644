#ifndef MEWS_UID_H
#define MEWS_UID_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether any process that this one can see has uid as its real uid. */
bool uid_in_use(uid_t uid);

#endif
