# Hostile rooms: a room as it ships, linked with somebody else's will.  They
# try, in the room's own place and confinement, what no room may
# (tests/hostile), and are never installed.

HOSTILE_ROOMS :=

# $(1) folder, $(2) room's program, $(3) sources it is linked with besides,
# $(4) functions they wrap
comma := ,
define hostile
HOSTILE_ROOMS += $(1)/$(2)
SRC_$(1)/$(2) := $(SRC_$(2)) $(3)
LIBS_$(1)/$(2) := $(LIBS_$(2))
LD_$(1)/$(2) = $$(LD_$(2)) $(addprefix -Wl$(comma)--wrap=,$(4))
$(B)/$(1)/$(2): $(call obj,$(SRC_$(2)) $(3)) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LD_$(1)/$(2)) -o $$@ $$^ $(LIBS_$(2))
endef
in_room = $(call hostile,hostile,$(1),tests/hostile/$(2) tests/hostile/forbidden.c,$(3))
$(eval $(call in_room,mewsd,in_mewsd.c,mewsd_confine))
$(eval $(call in_room,mews-apid,in_apid.c,apid_confine))
$(eval $(call in_room,mews-orchd,in_orchd.c,orchd_confine))
$(eval $(call in_room,mews-netd,in_netd.c,netd_confine))
$(eval $(call in_room,mews-launchd,in_launchd.c,launchd_confine))
$(eval $(call in_room,mews-spawner,in_spawner.c,spawner_confine))
$(eval $(call in_room,mews-keeper,in_keeper.c,filter_install))
$(eval $(call in_room,mews-warden,in_warden.c,warden_filter))

# Taken over: they say what they may not.
evil = $(call hostile,evil,$(1),tests/hostile/$(2) tests/hostile/takeover.c,$(3))
$(eval $(call evil,mews-orchd,evil_orchd.c,chan_new))
$(eval $(call evil,mews-apid,evil_apid.c,client_new))
$(eval $(call hostile,keeps,mews-apid,tests/hostile/keeps_apid.c \
	tests/hostile/takeover.c,client_new msg_recv))
$(eval $(call evil,mews-warden,evil_warden.c,warden_filter chan_send))

# A mewsd that has no descriptors left, now and then.
$(eval $(call hostile,no-pair,mewsd,tests/mewsd/no_pair.c,socketpair))

# On a kernel that has AF_VSOCK, for machines that do not.
$(eval $(call hostile,fake,mews-launchd,tests/launchd/fake_vsock.c,\
	guestsock_open guestsock_connect guestsock_peer))
$(eval $(call hostile,fake,mews-spawner,tests/launchd/fake_vhost.c,vhost_open \
	vhost_set_cid))

# A spawner whose jails have one thing wrong, for the read-back to find.
WRONG_JAIL := setgroups setresgid setresuid prctl syscall execve seccomp_deny
$(eval $(call hostile,wrong,mews-spawner,tests/hostile/wrong_jail.c,$(WRONG_JAIL)))

# A spawner whose rows have one kind of jail and one program more, which it may
# get wrong like the one above.
$(eval $(call hostile,side,mews-spawner,tests/spawner/side_rows.c \
	tests/hostile/wrong_jail.c,jail_kind jail_prog $(WRONG_JAIL)))

# A keeper of version 1, for a launchd that is newer.
$(eval $(call hostile,old,mews-keeper,tests/launchd/keeper_v1.c,msg_send))

# A keeper that talks without end, or hangs up always.
$(eval $(call hostile,bad,mews-keeper,tests/launchd/keeper_bad.c,msg_send))

# A guest whose agent is not ours: the stand-in's agent and worse, as pid 1.
EVIL_AGENT := $(B)/evil/mews-agent
$(EVIL_AGENT): $(call obj,tests/hostile/evil_agent.c tests/suite/standin/agent.c \
    tests/suite/standin/bomb.c \
    agent/guest.c agent/file.c agent/console.c agent/loop.c) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^ $(LIB_JSON)
$(B)/evil/initramfs: mk/initramfs mk/modules $(EVIL_AGENT) $(GUEST)/vmlinuz
	$(call say,CPIO,$@)
	$(Q)mk/initramfs $(GUEST)/kernel $(EVIL_AGENT) /bin/busybox $@

.PHONY: hostile
hostile: $(addprefix $(B)/,$(HOSTILE_ROOMS)) $(B)/evil/initramfs
check check-long: hostile
