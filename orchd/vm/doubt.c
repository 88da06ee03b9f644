#include <stdio.h>

#include "orchd/orchd.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/vm.h"

static bool
is_up(const struct vm *vm)
{
	return vm->row.state == VM_STARTING || vm->row.state == VM_RUNNING ||
	    vm->row.state == VM_STOPPING;
}

bool
doubt_words(const struct vm *vm, char *ret, size_t len)
{
	const struct run *run = &vm->run;

	if (!is_up(vm))
		return false;
	if (run->fault == LF_RECORD)
		(void)snprintf(ret, len,
		    "its record in run/vm cannot be read, so nothing can be "
		    "asked of it: `mews rm -f %.63s` ends it",
		    vm->row.name);
	else if (run->unknown)
		(void)snprintf(ret, len,
		    "the launcher was started anew and has not heard of it "
		    "yet: try again, or `mews rm -f %.63s` ends it",
		    vm->row.name);
	else if (run->mute[0] != '\0')
		(void)snprintf(ret, len, "does not answer: %s", run->mute);
	else
		return false;
	return true;
}

bool
doubt_now(const struct vm *vm, char *ret, size_t len)
{
	const struct part *life = vm_life_const(vm);

	if (!is_up(vm))
		return false;
	if (vm->obj.orchd->link[life->kind->link].listed)
		return (vm->run.unknown || vm->run.fault != LF_NONE) &&
		    doubt_words(vm, ret, len);
	(void)snprintf(ret, len,
	    "the launcher restarts, so it is not known yet whether it runs: "
	    "try again");
	return true;
}

void
doubt_broken(const struct vm *vm, char *ret, size_t len)
{
	(void)snprintf(ret, len,
	    "vm %.63s is broken: its row in the store cannot be read (%s); all "
	    "that can be done with it is to delete it",
	    vm->row.name, vm->broken.why);
}
