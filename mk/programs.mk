# Programs and what they are made of.  A room is one folder; common/ and
# proto/ are archives, so a program carries only the objects it uses.

COMMON_SRC := $(wildcard common/*.c)
PROTO_SRC  := $(wildcard proto/*.c)

# room_src: all of a room's folder, and of the folders in it.
room_src = $(wildcard $(1)/*.c $(1)/*/*.c)

# Each room: its sources, and the libraries it may link.  A library that is
# not on a room's line cannot be reached from that room.
ROOMS :=
# A static program cannot carry a sanitizer: its build has those dynamic, and
# the staged tree then has their libraries.
SANITIZED := $(findstring -fsanitize,$(EXTRA))
ROOM_STATIC_LD = $(if $(SANITIZED),$(LDFLAGS_ALL),$(STATIC_LD))
define room
ROOMS += $(1)
SRC_$(1) := $(2)
LIBS_$(1) := $(3)
LD_$(1) = $$(LDFLAGS_ALL)
endef

LIB_EVENT := -levent_core
LIB_JSON := -ljson-c

$(eval $(call room,mews-launchd,$(call room_src,launchd),$(LIB_EVENT) -lseccomp -lcap -lbsd))
$(eval $(call room,mews-spawner,$(call room_src,spawner),-lseccomp -lcap -lbsd))
# Pid 1 of each jail: static, so that it needs nothing of the staged tree.
# (with the library in builds that name what filters refuse)
$(eval $(call room,mews-keeper,$(call room_src,keeper),$(if \
    $(findstring SECCOMP_DEBUG,$(EXTRA)),-lseccomp)))
LD_mews-keeper = $(ROOM_STATIC_LD)
$(eval $(call room,mews-netd,$(call room_src,netd),$(LIB_EVENT) -lnl-3 -lnftables -lseccomp -lcap -lbsd))


$(eval $(call room,mews-warden,$(call room_src,warden),$(LIB_EVENT) -lseccomp))
# One per VM, and exec'ed twice in each start: static, so that no loader
# relocates four libraries and dirties their pages.
# The linker's warnings are about name look-ups in libevent, which no part of
# the warden calls, and which its filter would kill.
LD_mews-warden = $(ROOM_STATIC_LD) -Wl,--no-warnings
$(eval $(call room,mews-apid,$(call room_src,apid),$(LIB_EVENT) -lwslay -lmd -lseccomp -lcap -lbsd))
$(eval $(call room,mewsd,$(call room_src,mewsd),$(LIB_EVENT) -lconfuse -lseccomp -lcap -lbsd))
$(eval $(call room,mews-orchd,$(call room_src,orchd),$(LIB_EVENT) -lsqlite3 -lpthread -lseccomp -lcap -lbsd -lmd))

$(eval $(call room,mews,$(call room_src,cli),-lcurl -lsmartcols $(LIB_JSON) -lwslay -lmd))

# Daemons of the suite that are built so far.
PROGRAMS = $(addprefix $(B)/,$(ROOMS))

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIBCOMMON := $(B)/libcommon.a
LIBPROTO := $(B)/libproto.a

$(LIBCOMMON): $(call obj,$(COMMON_SRC))
$(LIBPROTO): $(call obj,$(PROTO_SRC))
$(LIBCOMMON) $(LIBPROTO):
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/obj/%.o: %.c | $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) \
	    $(if $(filter $(STRICT),$*),-Wconversion) -MMD -MP -c -o $@ $<

define room_rule
$(B)/$(1): $(call obj,$(SRC_$(1))) $(LIBPROTO) $(LIBCOMMON)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LD_$(1)) -o $$@ \
	    $(call obj,$(SRC_$(1))) $(LIBPROTO) $(LIBCOMMON) $(LIBS_$(1))
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

