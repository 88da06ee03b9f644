#ifndef MEWS_VM_STEP_H
#define MEWS_VM_STEP_H

#include <stdint.h>

#include "orchd/vm/vm.h"

/*
 * The only writer of a VM's state: looks the event up, changes the row, and
 * has state and event written together.  why is for people, a literal; NULL:
 * the row's detail.  -EPERM where the table refuses.
 */
int vm_step(struct vm *vm, enum vm_event ev, const char *why);
/* Who waits for it, also by a retry under its key: bits for write_ask(). */
uint32_t vm_step_waits(enum wait_for what);
/*
 * The same for what a person asked: state and key are in the same
 * commit.  If that fails, all is as before and those who wait for it (what)
 * are told.  -EPERM, -ENOMEM: nothing was changed.
 */
int vm_step_asked(struct vm *vm, enum vm_event ev, const char *why,
    enum wait_for what, struct idem_row *key);

#endif
