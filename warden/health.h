#ifndef MEWS_WARDEN_HEALTH_H
#define MEWS_WARDEN_HEALTH_H

#include <stdbool.h>

struct call_answer;

/* What an agent's /healthz answered: {"word": true}.  Else it has not. */
bool health_says(const struct call_answer *ans, const char *word);
/* {"word": *ret}, if it has such a number. */
bool health_number(
    const struct call_answer *ans, const char *word, long long *ret);

#endif
