#ifndef MEWS_RULES_H
#define MEWS_RULES_H

#include "proto/table.h"

/* What strings of the API must look like beyond their length. */
extern const struct text_rule rule_name; /* common/name.h */
extern const struct text_rule rule_hostname;
extern const struct text_rule rule_word; /* plugin, runtime */
extern const struct text_rule rule_image; /* an image reference */
extern const struct text_rule rule_line; /* no control characters */
extern const struct text_rule rule_ipv4; /* dotted quad, no zeros in front */
extern const struct text_rule rule_mac; /* lower case, unicast */
extern const struct text_rule rule_env; /* NAME=value */
extern const struct text_rule rule_path; /* absolute */
extern const struct text_rule rule_user; /* USER or USER:GROUP */

#endif
