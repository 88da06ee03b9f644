#ifndef MEWS_ASAN_H
#define MEWS_ASAN_H

/*
 * What builds with sanitizers need and no other build has (make asan): the
 * runtime's system calls beside a room's own list, and its options, as rooms
 * have no environment.  Nothing here is compiled without MEWS_ASAN.
 */
#ifdef MEWS_ASAN
#include <stddef.h>

#include "common/confine.h"

extern const struct seccomp_rule seccomp_asan[];
extern const size_t seccomp_asan_len;
#endif

#endif
