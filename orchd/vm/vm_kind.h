#ifndef MEWS_VM_KIND_H
#define MEWS_VM_KIND_H

#include "orchd/object/object.h"

struct orchd;
struct vm;

/* A VM's row of functions. */
extern const struct object_kind vm_kind;
/* A VM with all its parts, in no tree yet.  NULL when out of memory. */
struct vm *vm_kind_new(struct orchd *o);

#endif
