#ifndef MEWS_BOOTSPEC_H
#define MEWS_BOOTSPEC_H

struct vm;

/* Boot spec of a VM as a sealed memfd, or a negative errno. */
int bootspec_fd(const struct vm *vm);

#endif
