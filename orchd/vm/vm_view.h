#ifndef MEWS_VM_VIEW_H
#define MEWS_VM_VIEW_H

struct vm;
struct vm_view;

/* The VM object of the API; strings are copied. */
void vm_view(const struct vm *vm, struct vm_view *ret);

#endif
