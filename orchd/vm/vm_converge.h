#ifndef MEWS_VM_CONVERGE_H
#define MEWS_VM_CONVERGE_H

struct object;

/* Wanted against observed; object_kind's converge of a VM. */
void vm_converge(struct object *obj);

#endif
