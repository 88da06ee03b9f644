#ifndef MEWS_VM_CONVERGE_H
#define MEWS_VM_CONVERGE_H

struct object;
struct vm;

/* Wanted against observed; object_kind's converge of a VM. */
void vm_converge(struct object *obj);
/* What it does not ask for now it neither waits for nor keeps (gate.h): a part
 * of vm_converge(), and for one that is not converged because it is not on the
 * disk.
 */
void vm_give_back(struct vm *vm);

#endif
