#include <stdbool.h>

#include "orchd/who.h"
#include "proto/orch.h"

static bool
is_listed(uid_t uid, const uint32_t *list, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (list[i] == uid)
			return true;
	}
	return false;
}

enum api_role
who_role(const struct orchd_conf *conf, uid_t uid)
{
	if (uid == 0 || is_listed(uid, conf->admins, conf->nadmins))
		return ROLE_ADMIN;
	return is_listed(uid, conf->users, conf->nusers) ? ROLE_USER
							 : ROLE_NONE;
}

struct share_who
who_shares(const struct orchd_conf *conf, uid_t uid)
{
	static const enum share_kind kinds[] = { [ROLE_NONE] = SHARE_MEMBER,
		[ROLE_USER] = SHARE_USER,
		[ROLE_ADMIN] = SHARE_ADMIN };

	return (struct share_who){ uid, kinds[who_role(conf, uid)] };
}
