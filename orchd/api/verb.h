#ifndef MEWS_VERB_H
#define MEWS_VERB_H

/*
 * What apid can ask for, a function each, in a file per object of the API
 * (verb_*.c): it checks, charges, writes and wakes, and answers at once or
 * waits.  verbs.c has the list.
 */
struct req;

void verb_audit(const struct req *r);
void verb_doctor(const struct req *r);
void verb_events(const struct req *r);
void verb_orphan_adopt(const struct req *r);
void verb_orphan_delete(const struct req *r);
void verb_orphan_list(const struct req *r);
void verb_store_backup(const struct req *r);
void verb_tenant_change(const struct req *r);
void verb_tenant_create(const struct req *r);
void verb_tenant_delete(const struct req *r);
void verb_tenant_get(const struct req *r);
void verb_tenant_list(const struct req *r);
void verb_vm_create(const struct req *r);
void verb_vm_delete(const struct req *r);
void verb_vm_get(const struct req *r);
void verb_vm_list(const struct req *r);
void verb_vm_rename(const struct req *r);
void verb_vm_start(const struct req *r);
void verb_vm_stop(const struct req *r);
void verb_vm_stream(const struct req *r);

#endif
