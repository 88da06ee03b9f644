#ifndef MEWS_WHO_H
#define MEWS_WHO_H

#include <sys/types.h>

#include "common/share.h"
#include "proto/api.h"

struct orchd_conf;

/* What mews.conf says of a uid; root is an admin. */
enum api_role who_role(const struct orchd_conf *conf, uid_t uid);
/* The same, where things are shared. */
struct share_who who_shares(const struct orchd_conf *conf, uid_t uid);

#endif
