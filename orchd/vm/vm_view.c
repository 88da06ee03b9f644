#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_view.h"

void
vm_view(const struct vm *vm, struct vm_view *v)
{
	memset(v, 0, sizeof(*v));
	v->id = vm->row.id;
	(void)snprintf(v->name, sizeof(v->name), "%s", vm->row.name);
	v->status = (uint8_t)vm->row.state;
	(void)snprintf(
	    v->runtime, sizeof(v->runtime), "%s", vm->request.runtime);
	v->pid = (int32_t)vm->run.pid;
	text_ipv4(vm->row.ipv4, v->ip_address, sizeof(v->ip_address));
	text_mac(vm->row.mac, v->mac_address, sizeof(v->mac_address));
	v->cpu_cores = (uint32_t)vm->request.cpu_cores;
	v->memory_mb = (uint32_t)vm->request.memory_mb;
	(void)snprintf(v->kernel_cmdline, sizeof(v->kernel_cmdline), "%s",
	    vm->request.kernel_cmdline);
	v->created_at = vm->row.created_ns;
	v->updated_at = vm->row.updated_ns;
	v->uid = vm->row.vmid;
	(void)snprintf(v->image, sizeof(v->image), "%s", vm->request.image);
	(void)snprintf(
	    v->tenant, sizeof(v->tenant), "%s", vm->obj.tenant->row.name);
	v->ready = vm->run.ready && vm->row.state != VM_STARTING &&
	    vm->row.state != VM_BROKEN;
	if (vm->broken.why[0] != '\0')
		(void)snprintf(v->reason, sizeof(v->reason),
		    "its row in the store cannot be read: %.120s; all that can be "
		    "done with it is to delete it",
		    vm->broken.why);
	else if (!doubt_words(vm, v->reason, sizeof(v->reason)))
		text_clean(v->reason, sizeof(v->reason), vm->row.detail);
	if (vm->row.reason != EXIT_NONE && vm->run.pid == 0) {
		v->has |= TABLE_HAS(VM_EXIT_STATUS);
		v->exit_status = WIFSIGNALED(vm->row.exit_status)
		    ? 128 + WTERMSIG(vm->row.exit_status)
		    : WEXITSTATUS(vm->row.exit_status);
	}
	v->temporary = vm->request.temporary;
	v->adopted = vm->request.adopted;
	if (vm->run.pid == 0)
		return;
	v->accel = vm->run.accel == ACCEL_KVM ? VM_ACCEL_KVM : VM_ACCEL_TCG;
	v->hypervisor = vm->run.backend; /* the words are in its order */
	v->has |= TABLE_HAS(VM_CONFINEMENT);
	v->confinement.verified = vm->run.confined.verified != 0;
	v->confinement.seccomp_filters =
	    (uint16_t)(vm->run.confined.filters < 1024
		    ? vm->run.confined.filters
		    : 1024);
	(void)snprintf(v->confinement.cgroup, sizeof(v->confinement.cgroup),
	    "%s", vm->run.confined.cgroup ? "v2" : "none");
	v->confinement.vsock_cid = vm->run.confined.cid;
}
