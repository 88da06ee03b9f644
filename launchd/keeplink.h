#ifndef MEWS_LAUNCHD_KEEPLINK_H
#define MEWS_LAUNCHD_KEEPLINK_H

struct vm;

/* The keeper: asked first, and again whenever its channel breaks.  One that
 * cannot be asked ends a start; that of a VM that may run (vm_may_run) is
 * asked for as long as it lives.  One that is not the recorded one ends both.
 */
void keeplink_connect(struct vm *v);
/* The link's timer came. */
void keeplink_due(struct vm *v);
/* What it shall run, with the descriptors, which are given away.  Once. */
void keeplink_go(struct vm *v);
/* SIGTERM for the hypervisor. */
void keeplink_term(struct vm *v);
/* It may end: -EPIPE and the like, where that cannot be said to it. */
int keeplink_bye(struct vm *v);

#endif
