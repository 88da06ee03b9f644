# Tests.  A unit test is tests/unit/NAME_test.c; it is linked against the
# archives (and the room objects named in UNIT_OBJ_NAME) and run on its own.

UNIT_SRC := $(wildcard tests/unit/*_test.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
UNIT_LIBS := $(LIB_EVENT) $(LIB_JSON) -lseccomp -lcap
# How tests/unit/t.c makes an allocation fail where a sanitizer owns malloc.
UNIT_WRAP = $(if $(SANITIZED),$(addprefix \
	-Wl$(comma)--wrap=,malloc calloc realloc))

UNIT_LIBS_ws_test := -lmd

# The CLI without its main().
CLI_SRC := $(filter-out cli/main.c,$(wildcard cli/*.c))
UNIT_OBJ_cli_text_test := $(call obj,$(CLI_SRC))
UNIT_LIBS_cli_text_test := -lcurl -lsmartcols -lwslay -lmd
$(B)/unit/cli_text_test: $(UNIT_OBJ_cli_text_test)

UNIT_OBJ_net_policy_test := $(B)/obj/netd/policy.o
$(B)/unit/net_policy_test: $(UNIT_OBJ_net_policy_test)

UNIT_OBJ_gate_test := $(B)/obj/agent/gate.o
$(B)/unit/gate_test: $(UNIT_OBJ_gate_test)

UNIT_OBJ_store_test := $(call obj,orchd/store.c orchd/sql.c orchd/rows.c \
	orchd/wire_v2.c)
$(B)/unit/store_test: $(UNIT_OBJ_store_test)
UNIT_LIBS_store_test := -lsqlite3 -lpthread
$(B)/unit/store_test: $(UNIT_OBJ_store_test)

UNIT_OBJ_vm_fsm_test := $(B)/obj/orchd/fsm.o
$(B)/unit/vm_fsm_test: $(UNIT_OBJ_vm_fsm_test)

# Says what the HTTP parser sees, for tests/run/http_diff_test.py.
HTTP_PROBE := $(B)/tests/http_probe

.PHONY: check check-long unit unit-build

UNIT_OBJ_qmp_msg_test := $(call obj,warden/qmp_msg.c warden/text.c)
UNIT_OBJ_compose_test := $(call obj,warden/qemu.c warden/argv.c warden/exec.c \
	warden/vmm_seccomp.c warden/qmp.c warden/qmp_msg.c warden/text.c \
	warden/dial.c)
UNIT_OBJ_console_test := $(call obj,warden/console.c warden/dial.c)
$(B)/unit/console_test: $(UNIT_OBJ_console_test)
$(B)/unit/qmp_msg_test: $(UNIT_OBJ_qmp_msg_test)
$(B)/unit/compose_test: $(UNIT_OBJ_compose_test)

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/obj/tests/unit/t.o $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(UNIT_WRAP) -o $@ $< \
	    $(B)/obj/tests/unit/t.o $(filter-out $<,$(filter %.o,$(UNIT_OBJ_$*))) \
	    $(LIBPROTO) $(LIBCOMMON) $(UNIT_LIBS) $(UNIT_LIBS_$*)

$(HTTP_PROBE): $(B)/obj/tests/run/http_probe.o $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^

unit-build: $(UNIT_BIN) $(HTTP_PROBE)

unit: unit-build	## run the unit tests only
	$(Q)tests/check unit

check: all unit-build lab-files	## install, build, run every test
	$(Q)tests/check

check-long: all unit-build lab-files asan	## what takes too long for check
	$(Q)TEST_DEADLINE=$${TEST_DEADLINE:-3600} tests/check long

.SECONDARY:
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# Stand-ins for the launcher's tests: static, so that a staged tree is three
# files.  Never installed.
STANDINS := $(B)/standin/jail-warden $(B)/standin/jail-vmm
$(B)/standin/jail-%: $(B)/obj/tests/standin/jail_%.o \
    $(B)/obj/tests/standin/jail_filter.o $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^
check check-long: $(STANDINS)

# A hypervisor for tests: QEMU's arguments and QMP, an agent, no guest.
STANDIN := $(B)/tests/mews-standin
PROBE := $(B)/tests/mews-probe
# mk/asan.mk has a sanitized build's.
ifeq ($(SANITIZED),)
$(STANDIN): $(call obj,$(filter-out \
    tests/standin/jail_%,$(wildcard tests/standin/*.c))) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIB_JSON) -lseccomp

# In the hypervisor's place, under its filter: one forbidden call a run.
$(PROBE): $(call obj,tests/probe/vmm.c)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^
check check-long: $(STANDIN) $(PROBE)
endif

.PHONY: demo
demo: all guest stage	## two real microVMs do work, and what holds them
	$(Q)B=$(B) /usr/bin/env python3 tests/demo.py

# Programs with kill points (proto/kill.h) and two staged trees of them: one
# with the real hypervisor, one with the stand-in.  Kernel and initramfs are
# the release build's.
KILL_STAGES := $(B)/stage/.stamp-kill $(B)/stage-standin/.stamp-kill
GUEST_FILES := $(addprefix build/guest/,vmlinuz initramfs)
$(B)/stage-standin/.stamp-kill: export STAGE_VMM = $(STANDIN)
$(KILL_STAGES): mk/stage $(GUEST_FILES) $(STAGE_OURS) $(STANDIN)
	$(call say,STAGE,$(@D))
	$(Q)mk/stage $(@D) $(GUEST_FILES) $(STAGE_OURS)
	$(Q)touch $@

.PHONY: test-build kill-build
kill-build: $(PROGRAMS) $(KILL_STAGES)
test-build: guest	## programs with kill points, in build-test/
	$(Q)$(MAKE) --no-print-directory B=build-test EXTRA=-DMEWS_TEST kill-build
check check-long: test-build
