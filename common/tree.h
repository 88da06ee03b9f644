#ifndef MEWS_TREE_H
#define MEWS_TREE_H

/* tree(3bsd): red-black trees.  Its macros want the BSDs' __unused, which
 * libbsd defines only for programs that replace the libc's headers. */
#ifndef __unused
#define __unused __attribute__((unused))
#include <bsd/sys/tree.h> /* IWYU pragma: export */
#endif

#endif
