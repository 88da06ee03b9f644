# The guest's kernel and initramfs, the agent, the staged tree.
#
# The kernel is the distribution's cloud kernel: its package is unpacked,
# never installed.  The .deb stays in $(B)/guest, so that only the first run
# needs the network.

GUEST	:= $(B)/guest
AGENT	:= $(B)/mews-agent
AGENT_SRC := $(wildcard agent/*.c)
INITRAMFS := $(GUEST)/initramfs
STAGE	:= $(B)/stage

.PHONY: guest stage
# It runs where there is nothing else, also no sanitizer's library.
ifeq ($(SANITIZED),)
all: $(AGENT)
endif
guest: $(GUEST)/vmlinuz $(INITRAMFS)	## guest kernel and initramfs
stage: $(STAGE)/.stamp			## the tree that jails bind read-only

# Runs alone as pid 1 where there are no libraries.
$(AGENT): $(call obj,$(AGENT_SRC)) $(LIBPROTO) $(LIBCOMMON)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@.big \
	    $(call obj,$(AGENT_SRC)) $(LIBPROTO) $(LIBCOMMON)
	$(Q)strip -o $@ $@.big

$(GUEST)/kernel.deb: mk/kernel-fetch | $(B)/.deps
	$(call say,KERNEL,$@)
	$(Q)mk/kernel-fetch $@

$(GUEST)/vmlinuz: $(GUEST)/kernel.deb
	$(call say,UNPACK,$@)
	$(Q)rm -rf $(GUEST)/kernel && dpkg-deb -x $< $(GUEST)/kernel
	$(Q)cp $(GUEST)/kernel/boot/vmlinuz-* $@

$(INITRAMFS): mk/initramfs mk/modules $(AGENT) $(GUEST)/vmlinuz
	$(call say,CPIO,$@)
	$(Q)mk/initramfs $(GUEST)/kernel $(AGENT) /bin/busybox $@

# What is staged besides qemu: programs of ours, as far as they are built.
STAGE_OURS = $(filter $(B)/mews-keeper $(B)/mews-warden,$(PROGRAMS))
$(STAGE)/.stamp: mk/stage $(GUEST)/vmlinuz $(INITRAMFS) $(STAGE_OURS)
	$(call say,STAGE,$(STAGE))
	$(Q)mk/stage $(STAGE) $(GUEST)/vmlinuz $(INITRAMFS) $(STAGE_OURS)
	$(Q)touch $@

# For tests that start a hypervisor by themselves.
$(B)/tsc-khz: $(B)/obj/tests/suite/tsc-khz.o $(LIBCOMMON)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^

# Static: it is carried into guests.
$(B)/greedy: $(B)/obj/tests/agent/greedy.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^

check check-long: guest stage $(B)/tsc-khz $(B)/greedy
