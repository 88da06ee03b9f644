# Hostile rooms: a room as it ships, linked with somebody else's will.  They
# try, in the room's own place and confinement, what no room may
# (tests/hostile), and are never installed.

HOSTILE_ROOMS :=

# $(1) room's program, $(2) its hostile sources, $(3) functions they wrap
define hostile
HOSTILE_ROOMS += hostile/$(1)
SRC_hostile/$(1) := $(SRC_$(1)) $(2)
LIBS_hostile/$(1) := $(LIBS_$(1))
LD_hostile/$(1) = $$(LD_$(1)) $(addprefix -Wl$(comma)--wrap=,$(3))
$(B)/hostile/$(1): $(call obj,$(SRC_$(1)) $(2)) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LD_hostile/$(1)) -o $$@ $$^ $(LIBS_$(1))
endef
comma := ,
ACTS := tests/hostile/forbidden.c
$(eval $(call hostile,mewsd,tests/hostile/in_mewsd.c $(ACTS),mewsd_confine))
$(eval $(call hostile,mews-apid,tests/hostile/in_apid.c $(ACTS),apid_confine))
$(eval $(call hostile,mews-orchd,tests/hostile/in_orchd.c $(ACTS),orchd_confine))
$(eval $(call hostile,mews-netd,tests/hostile/in_netd.c $(ACTS),netd_confine))
$(eval $(call hostile,mews-launchd,tests/hostile/in_launchd.c $(ACTS),launchd_confine spawner_confine))
$(eval $(call hostile,mews-keeper,tests/hostile/in_keeper.c $(ACTS),filter_install))
$(eval $(call hostile,mews-warden,tests/hostile/in_warden.c $(ACTS),warden_filter))


# Taken over: they say what they may not.
EVIL := tests/hostile/takeover.c
define evil
EVIL_ROOMS += evil/$(1)
SRC_evil/$(1) := $(SRC_$(1)) $(2) $(EVIL)
LIBS_evil/$(1) := $(LIBS_$(1))
LD_evil/$(1) = $$(LD_$(1)) $(addprefix -Wl$(comma)--wrap=,$(3))
$(B)/evil/$(1): $(call obj,$(SRC_$(1)) $(2) $(EVIL)) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LD_evil/$(1)) -o $$@ $$^ $(LIBS_$(1))
endef
$(eval $(call evil,mews-orchd,tests/hostile/evil_orchd.c,chan_new))
$(eval $(call evil,mews-apid,tests/hostile/evil_apid.c,client_new))
$(eval $(call evil,mews-warden,tests/hostile/evil_warden.c,warden_filter chan_send))
HOSTILE_ROOMS += $(EVIL_ROOMS)

# On a kernel that has AF_VSOCK, for machines that do not.
SRC_fake/mews-launchd := $(SRC_mews-launchd) tests/standin/fake_vsock.c
LIBS_fake/mews-launchd := $(LIBS_mews-launchd)
LD_fake/mews-launchd = $(LDFLAGS_ALL) $(addprefix -Wl$(comma)--wrap=,vsock_open \
	vsock_set_cid vdial_socket vdial_connect vdial_peer)
$(B)/fake/mews-launchd: $(call obj,$(SRC_fake/mews-launchd)) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LD_fake/mews-launchd) -o $@ $^ $(LIBS_mews-launchd)
HOSTILE_ROOMS += fake/mews-launchd

# A spawner whose jails have one thing wrong, for the read-back to find.
HOSTILE_ROOMS += wrong/mews-launchd
SRC_wrong/mews-launchd := $(SRC_mews-launchd) tests/hostile/wrong_jail.c
LIBS_wrong/mews-launchd := $(LIBS_mews-launchd)
LD_wrong/mews-launchd = $(LD_mews-launchd) $(addprefix -Wl$(comma)--wrap=, \
	setgroups setresgid setresuid prctl syscall execve seccomp_deny)
$(B)/wrong/mews-launchd: $(call obj,$(SRC_wrong/mews-launchd)) $(LIBPROTO) \
    $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LD_wrong/mews-launchd) -o $@ $^ \
	    $(LIBS_wrong/mews-launchd)

# A guest whose agent is not ours: the stand-in's agent and worse, as pid 1.
EVIL_AGENT := $(B)/evil/mews-agent
$(EVIL_AGENT): $(call obj,tests/hostile/evil_agent.c tests/standin/agent.c \
    tests/standin/bomb.c \
    agent/guest.c agent/files.c) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^ $(LIB_JSON)
$(B)/evil/initramfs: mk/initramfs $(EVIL_AGENT) $(GUEST)/vmlinuz
	$(call say,CPIO,$@)
	$(Q)mk/initramfs $(GUEST)/kernel $(EVIL_AGENT) /bin/busybox $@

.PHONY: hostile
hostile: $(addprefix $(B)/,$(HOSTILE_ROOMS)) $(B)/evil/initramfs
check check-long: hostile
