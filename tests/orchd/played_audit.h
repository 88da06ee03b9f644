#ifndef MEWS_TESTS_PLAYED_AUDIT_H
#define MEWS_TESTS_PLAYED_AUDIT_H

#include "orchd/audit/audit.h"

/* The trail, played: "ACTION object result;" of each row that was put into a
 * transaction, result only where it is not allowed. */
extern char trail[512];
extern int trail_r; /* what putting one comes to */

#endif
