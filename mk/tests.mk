# Tests.  A unit test is tests/ROOM/NAME_test.c; it is linked against the
# archives (and the room objects named in UNIT_OBJ_NAME) and run on its own.

UNIT_SRC := $(wildcard tests/*/*_test.c)
UNIT_BIN := $(patsubst tests/%.c,$(B)/unit/%,$(UNIT_SRC))
UNIT_LIBS := $(LIB_EVENT) $(LIB_JSON) -lseccomp -lcap
# How tests/suite/t.c makes an allocation fail where a sanitizer owns malloc.
UNIT_WRAP = $(if $(SANITIZED),$(addprefix \
	-Wl$(comma)--wrap=,malloc calloc realloc free))

UNIT_LIBS_ws_test := -lmd

# The CLI without its main().
CLI_SRC := $(filter-out cli/main.c,$(wildcard cli/*.c))
UNIT_OBJ_cli_text_test := $(call obj,$(CLI_SRC))
UNIT_LIBS_cli_text_test := -lcurl -lsmartcols -lwslay -lmd
$(B)/unit/cli/cli_text_test: $(UNIT_OBJ_cli_text_test)
UNIT_OBJ_cli_parts_test := $(UNIT_OBJ_cli_text_test)
UNIT_LIBS_cli_parts_test := $(UNIT_LIBS_cli_text_test)
$(B)/unit/cli/cli_parts_test: $(UNIT_OBJ_cli_parts_test)

UNIT_OBJ_net_policy_test := $(B)/obj/netd/policy.o
$(B)/unit/netd/net_policy_test: $(UNIT_OBJ_net_policy_test)

UNIT_OBJ_look_test := $(B)/obj/mewsd/watch.o
$(B)/unit/mewsd/look_test: $(UNIT_OBJ_look_test)
UNIT_OBJ_gclock_test := $(call obj,warden/gclock.c warden/health.c)
$(B)/unit/warden/gclock_test: $(UNIT_OBJ_gclock_test)

UNIT_OBJ_gate_test := $(B)/obj/agent/gate.o
$(B)/unit/agent/gate_test: $(UNIT_OBJ_gate_test)
UNIT_OBJ_hold_test := $(B)/obj/agent/hold.o
$(B)/unit/agent/hold_test: $(UNIT_OBJ_hold_test)
UNIT_OBJ_limits_of_test := $(call obj,agent/limits.c agent/file.c)
$(B)/unit/agent/limits_of_test: $(UNIT_OBJ_limits_of_test)
UNIT_OBJ_oom_test := $(B)/obj/agent/oom.o
$(B)/unit/agent/oom_test: $(UNIT_OBJ_oom_test)
UNIT_OBJ_execgroup_test := $(B)/obj/agent/execgroup.o
$(B)/unit/agent/execgroup_test: $(UNIT_OBJ_execgroup_test)
UNIT_OBJ_user_test := $(B)/obj/agent/user.o
$(B)/unit/agent/user_test: $(UNIT_OBJ_user_test)
UNIT_OBJ_detach_test := $(call obj,agent/detach.c agent/console.c \
	agent/loop.c agent/file.c)
$(B)/unit/agent/detach_test: $(UNIT_OBJ_detach_test)

UNIT_OBJ_route_test := $(call obj,apid/route.c apid/request.c apid/openapi.c \
	apid/doc.c)
UNIT_LIBS_route_test := -lmd
$(B)/unit/apid/route_test: $(UNIT_OBJ_route_test)

UNIT_OBJ_outbuf_test := $(B)/obj/apid/outbuf.o
$(B)/unit/apid/outbuf_test: $(UNIT_OBJ_outbuf_test)

# One connection of apid, with the floors above it played.
CONN_TESTS := client_test client_run_test
$(foreach t,$(CONN_TESTS),$(eval UNIT_OBJ_$t := $(call obj,apid/client.c \
	apid/outbuf.c) $(B)/obj/tests/apid/conn.o $(B)/obj/tests/suite/ev.o))
STREAM_TESTS := stream_test stream_exec_test
$(foreach t,$(STREAM_TESTS),$(eval UNIT_OBJ_$t := $(UNIT_OBJ_client_test) \
	$(B)/obj/apid/stream.o $(B)/obj/tests/apid/streamed.o))
$(foreach t,$(CONN_TESTS) $(STREAM_TESTS),$(eval $(B)/unit/apid/$t: \
	$(UNIT_OBJ_$t)))

UNIT_OBJ_store_test := $(call obj,$(addprefix orchd/,store.c batch.c txn.c sql.c \
	sql_audit.c chain.c rows.c copy.c reserve.c wire_v2.c))
UNIT_LIBS_store_test := -lsqlite3 -lpthread -lmd
$(B)/unit/orchd/store_test: $(UNIT_OBJ_store_test)
# Its statements on an SQLite of which one call fails.
SQL_TESTS := sql_test sql_read_test sql_audit_test
$(foreach t,$(SQL_TESTS),$(eval UNIT_LIBS_$t := -lsqlite3 -lmd) \
	$(eval UNIT_OBJ_$t := $(call obj,$(addprefix orchd/,sql.c sql_audit.c \
	chain.c rows.c wire_v2.c) $(addprefix tests/orchd/,faulty_sql.c sqlstore.c))))
$(foreach t,$(SQL_TESTS),$(eval $(B)/unit/orchd/$t: $(UNIT_OBJ_$t)))
UNIT_OBJ_rows_test := $(B)/obj/orchd/rows.o
UNIT_LIBS_rows_test := -lsqlite3
$(B)/unit/orchd/rows_test: $(UNIT_OBJ_rows_test)
# The store on SQL that is played.
UNIT_OBJ_store_batch_test := $(call obj,orchd/store.c orchd/batch.c orchd/txn.c \
	tests/orchd/played_sql.c tests/suite/ev.c)
UNIT_LIBS_store_batch_test := -lpthread
$(B)/unit/orchd/store_batch_test: $(UNIT_OBJ_store_batch_test)
# The store on a file system that fails.
UNIT_OBJ_power_test := $(UNIT_OBJ_store_test) $(B)/obj/tests/orchd/fault_vfs.o
UNIT_LIBS_power_test := $(UNIT_LIBS_store_test)
$(B)/unit/orchd/power_test: $(UNIT_OBJ_power_test)
UNIT_OBJ_stored_test := $(UNIT_OBJ_store_test) $(B)/obj/orchd/stored.o
UNIT_LIBS_stored_test := $(UNIT_LIBS_store_test)
$(B)/unit/orchd/stored_test: $(UNIT_OBJ_stored_test)
UNIT_OBJ_stored_object_test := $(B)/obj/orchd/stored.o
$(B)/unit/orchd/stored_object_test: $(UNIT_OBJ_stored_object_test)

UNIT_OBJ_reader_test := $(call obj,orchd/api/reader.c orchd/stored.c)
$(B)/unit/orchd/reader_test: $(UNIT_OBJ_reader_test)

UNIT_OBJ_vm_fsm_test := $(B)/obj/orchd/vm/vm_fsm.o
$(B)/unit/orchd/vm_fsm_test: $(UNIT_OBJ_vm_fsm_test)

UNIT_OBJ_queue_test := $(call obj,orchd/vm/queue.c orchd/object/object.c \
	tests/suite/ev.c)
$(B)/unit/orchd/queue_test: $(UNIT_OBJ_queue_test)
UNIT_OBJ_passing_test := $(B)/obj/orchd/link/passing.o
$(B)/unit/orchd/passing_test: $(UNIT_OBJ_passing_test)
UNIT_OBJ_vm_stream_test := $(call obj,orchd/vm/stream.c orchd/vm/queue.c \
	orchd/object/object.c tests/orchd/stream_played.c tests/suite/ev.c)
$(B)/unit/orchd/vm_stream_test: $(UNIT_OBJ_vm_stream_test)

UNIT_OBJ_idem_test := $(B)/obj/orchd/object/idem.o
UNIT_LIBS_idem_test := -lmd
$(B)/unit/orchd/idem_test: $(UNIT_OBJ_idem_test)

# orchd's turn, without store and helpers: the tests play them.
OBJECT_OBJ := $(call obj,$(addprefix orchd/object/,object.c wait.c write.c \
	gate.c) tests/orchd/played_audit.c)
THING_TESTS := write_test write_fails_test wait_test
$(foreach t,$(THING_TESTS),$(eval UNIT_OBJ_$t := $(OBJECT_OBJ) \
	$(B)/obj/tests/orchd/thing.o $(B)/obj/tests/suite/ev.o))
$(foreach t,$(THING_TESTS),$(eval $(B)/unit/orchd/$t: $(UNIT_OBJ_$t)))
TENANT_OBJ := $(call obj,$(addprefix orchd/tenant/,tenant.c member.c))
UNIT_OBJ_orchd_gate_test := $(B)/obj/orchd/object/gate.o
$(B)/unit/orchd/orchd_gate_test: $(UNIT_OBJ_orchd_gate_test)
UNIT_OBJ_tenant_test := $(TENANT_OBJ) $(call obj,tests/suite/ev.c \
	$(addprefix orchd/object/,object.c wait.c gate.c))
$(B)/unit/orchd/tenant_test: $(UNIT_OBJ_tenant_test)
VM_TESTS := vm_converge_test vm_facts_test vm_orphan_test vm_part_test \
	vm_temporary_test
$(foreach t,$(VM_TESTS),$(eval UNIT_OBJ_$t := $(OBJECT_OBJ) $(call obj, \
	orchd/text.c orchd/who.c tests/orchd/vm_played.c tests/suite/ev.c \
	$(addprefix orchd/vm/,part.c vm.c vm_step.c vm_fsm.c vm_converge.c \
	temporary.c orphan.c queue.c)) $(TENANT_OBJ)))
$(foreach t,$(VM_TESTS),$(eval $(B)/unit/orchd/$t: $(UNIT_OBJ_$t)))

UNIT_OBJ_launchd_fsm_test := $(B)/obj/launchd/fsm.o
$(B)/unit/launchd/launchd_fsm_test: $(UNIT_OBJ_launchd_fsm_test)

UNIT_OBJ_launchd_stop_test := $(call obj,launchd/stop.c launchd/fsm.c)
$(B)/unit/launchd/launchd_stop_test: $(UNIT_OBJ_launchd_stop_test)

# launchd's turn, without the peers: the tests play its links.
LIFE_TESTS := launchd_life_test launchd_facts_test launchd_unknown_test
$(foreach t,$(LIFE_TESTS),$(eval UNIT_OBJ_$t := $(call obj,$(addprefix \
	launchd/,fsm.c link.c vm.c reason.c stop.c life.c jaillog.c history.c) \
	tests/launchd/played_links.c tests/suite/ev.c)))
$(foreach t,$(LIFE_TESTS),$(eval $(B)/unit/launchd/$t: $(UNIT_OBJ_$t)))

UNIT_OBJ_history_test := $(call obj,launchd/history.c tests/suite/ev.c)
$(B)/unit/launchd/history_test: $(UNIT_OBJ_history_test)
UNIT_OBJ_launchd_verbs_test := $(call obj,$(addprefix launchd/,fsm.c link.c \
	vm.c reason.c spawnlink.c jaillog.c history.c))
$(B)/unit/launchd/launchd_verbs_test: $(UNIT_OBJ_launchd_verbs_test)

UNIT_OBJ_record_test := $(B)/obj/spawner/record.o
$(B)/unit/spawner/record_test: $(UNIT_OBJ_record_test)

# Says what the HTTP parser sees, for tests/common/http_diff_test.py.
HTTP_PROBE := $(B)/tests/http_probe

.PHONY: check check-long unit unit-build

UNIT_OBJ_qmp_msg_test := $(call obj,warden/qmp_msg.c warden/text.c)
UNIT_OBJ_compose_test := $(call obj,warden/qemu.c warden/argv.c warden/compose.c \
	warden/vmm_seccomp.c warden/qmp.c warden/qmp_msg.c warden/text.c \
	warden/dial.c)
UNIT_OBJ_console_test := $(call obj,warden/console.c warden/dial.c)
$(B)/unit/warden/console_test: $(UNIT_OBJ_console_test)
$(B)/unit/warden/qmp_msg_test: $(UNIT_OBJ_qmp_msg_test)
$(B)/unit/warden/compose_test: $(UNIT_OBJ_compose_test)

$(B)/unit/%: $(B)/obj/tests/%.o $(B)/obj/tests/suite/t.o $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(UNIT_WRAP) -o $@ $< \
	    $(B)/obj/tests/suite/t.o $(filter-out $<,$(filter %.o,$(UNIT_OBJ_$(@F)))) \
	    $(LIBPROTO) $(LIBCOMMON) $(UNIT_LIBS) $(UNIT_LIBS_$(@F))

$(HTTP_PROBE): $(B)/obj/tests/common/http_probe.o $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^

# Messages and documents as the C has them, for tests in Python.
WIRE := $(B)/wire.json $(B)/tables.json
unit-build: $(UNIT_BIN) $(HTTP_PROBE) $(WIRE)

# Debugging information is where a compiler says how it laid a struct out.
$(B)/wire.json: tests/suite/layouts.c mk/layouts $(wildcard proto/*.h) \
    spawner/record.h spawner/cgroup.h | $(B)/.deps
	@mkdir -p $(@D)
	$(call say,WIRE,$@)
	$(Q)$(CC) -std=gnu17 $(CPPFLAGS_ALL) -g -O0 -fno-eliminate-unused-debug-types \
	    -c -o $@.o $<
	$(Q)mk/layouts $@.o $(filter %.h,$^) > $@
$(B)/wire.json: common/frame.h common/log.h common/sess.h
$(B)/tables.json: $(B)/tests/tables
	$(Q)$< > $@
$(B)/tests/tables: $(call obj,tests/suite/tables.c) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^

unit: unit-build	## run the unit tests only
	$(Q)tests/check unit

check: all unit-build lab-files	## build and run every test, or a room's (R=netd)
	$(Q)tests/check

.PHONY: golden
golden: $(B)/unit/orchd/stored_object_test	## write anew what is stored, once that has a version and a step
	$(Q)GOLDEN_WRITE=1 $(B)/unit/orchd/stored_object_test

check-long: all unit-build lab-files asan	## what takes too long for check
	$(Q)TEST_DEADLINE=$${TEST_DEADLINE:-3600} tests/check long

.PHONY: mutants
mutants: all unit-build test-build guest stage	## small faults in the code: does a test see them (F=orchd/store.c N=0)
	$(Q)F="$(F)" N="$(N)" S="$(S)" tests/suite/mutants.py

.SECONDARY:
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# Stand-ins for the launcher's tests: static, so that a staged tree is three
# files.  Never installed.
STANDINS := $(B)/standin/jail-warden $(B)/standin/jail-vmm
$(B)/standin/jail-%: $(B)/obj/tests/launchd/jail_%.o \
    $(B)/obj/tests/launchd/jail_filter.o $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^
# The program of one kind of jail more (tests/spawner/side_rows.c).
STANDINS += $(B)/standin/side
$(B)/standin/side: $(call obj,tests/spawner/side.c \
    tests/launchd/jail_filter.c)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^
check check-long: $(STANDINS)

# A hypervisor for tests: QEMU's arguments and QMP, an agent, no guest.
STANDIN := $(B)/tests/mews-standin
STANDIN_SRC := $(wildcard tests/suite/standin/*.c)
PROBE := $(B)/tests/mews-probe
# mk/asan.mk has a sanitized build's.
ifeq ($(SANITIZED),)
$(STANDIN): $(call obj,$(STANDIN_SRC)) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIB_JSON) -lseccomp

# In the hypervisor's place, under its filter: one forbidden call a run.
$(PROBE): $(call obj,tests/suite/probe.c)
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

# A one-shot room, which only a test build of mewsd starts, and an orchd whose
# part a test plays.
TRIALS := $(B)/tests/mews-trial $(B)/tests/played/mews-orchd
$(B)/tests/mews-trial: $(call obj,tests/mewsd/trial.c) $(LIBPROTO) $(LIBCOMMON)
$(B)/tests/played/mews-orchd: $(call obj,tests/mewsd/played_orchd.c) \
    $(LIBPROTO) $(LIBCOMMON)
$(TRIALS):
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ -lseccomp -lcap

.PHONY: test-build kill-build
kill-build: $(PROGRAMS) $(WIRE) $(KILL_STAGES) $(TRIALS)
test-build: guest	## programs with kill points, in build-test/
	$(Q)$(MAKE) --no-print-directory B=build-test EXTRA=-DMEWS_TEST kill-build
check check-long: test-build

# T has another default for fuzz
.PHONY: soak
soak: all unit-build test-build stage hostile	## hours of everything at once (T=seconds, S=seed)
	$(Q)B=$(B) /usr/bin/env python3 tests/suite/soak/main.py \
	    $(if $(findstring command line,$(origin T))$(findstring environment,$(origin T)),$(T),7200) $(S)
