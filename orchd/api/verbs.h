#ifndef MEWS_VERBS_H
#define MEWS_VERBS_H

#include "proto/chan.h"

/* The channel to an apid, and all that it may say; arg is struct orchd. */
extern const struct chan_ops verbs_ops;

#endif
