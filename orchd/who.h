#ifndef MEWS_WHO_H
#define MEWS_WHO_H

#include <sys/types.h>

#include "common/share.h"
#include "proto/api.h"

struct orchd_conf;

/* What mews.conf says of a uid; root is an admin. */
enum api_role who_role(const struct orchd_conf *conf, uid_t uid);
/* The same, where things are shared.  tenant: his, if he is a member and not
 * listed; who is listed is of the default one, an admin of none. */
struct share_who who_shares(
    const struct orchd_conf *conf, uid_t uid, int64_t tenant);

#endif
