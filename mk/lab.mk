# The lab: a machine with KVM, VFIO, vhost-vsock, cgroup v2 and systemd under
# full emulation, in which what needs them is tested (docs/testing.md).
#
# Its image depends on its recipe alone (mk/lab-image names it by digest) and
# is made once.  Suites are tests/lab/NAME_lab.py.

LAB := $(B)/lab
# Programs that only the lab runs, static: it has no compiler.
LAB_TOOLS := $(LAB)/tools/lab-guest $(LAB)/tools/lab-guest.cpio
T_LAB = $(if $(filter command line environment,$(origin T)),$(T))

.PHONY: lab lab-shell lab-image lab-files
lab: lab-files		## run the lab's suites, or one (T=name)
	$(Q)B=$(B) /usr/bin/env python3 tests/lab/lab.py $(T_LAB)

lab-shell: lab-files	## a shell in the lab (T=systemd: that configuration)
	$(Q)B=$(B) /usr/bin/env python3 tests/lab/lab.py --shell $(T_LAB)

lab-files: all guest stage test-build lab-image $(WIRE) $(LAB_TOOLS) $(B)/tsc-khz \
    $(STANDIN) $(PROBE) $(STANDINS)

lab-image: $(B)/.deps-lab
	$(Q)mk/lab-image $(LAB) /bin/busybox $(filter lib%-dev,$(DEPS_BUILD))

$(LAB)/tools/%: $(B)/obj/tests/lab/%.o $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^

# What the lab's bare guests boot: that program and AF_VSOCK.
$(LAB)/tools/lab-guest.cpio: export INITRAMFS_EARLY = virtio_mmio \
	vmw_vsock_virtio_transport
$(LAB)/tools/lab-guest.cpio: mk/initramfs mk/modules $(LAB)/tools/lab-guest $(GUEST)/vmlinuz
	$(call say,CPIO,$@)
	$(Q)mk/initramfs $(GUEST)/kernel $(LAB)/tools/lab-guest /bin/busybox $@
