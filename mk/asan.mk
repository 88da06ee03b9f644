# Once more under ASan and UBSan: unit tests and fuzz seeds (with LSan), and
# the tests that run daemons, each in its own confinement.
#
# What is not ours to check (guest, hypervisor and its stand-ins) is the
# release build's.

ASAN := address,undefined
# Tests that hold in such a build; docs/testing.md says which do not.
ASAN_RUN := orchd/ netd/ apid/ launchd/launchd_ warden_test warden_vsock_test \
	warden_hostile_test spawner_policy_test spawner_records_test \
	spawner_readback_test cli/ suite/system_ http_diff_test reports_asan
ASAN_MAKE = $(MAKE) --no-print-directory B=build-asan OPT='-O1 -g' \
	EXTRA='-fsanitize=$(ASAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -U_FORTIFY_SOURCE -DMEWS_ASAN -DMEWS_TEST' \
	EXTRA_LD='-fsanitize=$(ASAN) build-asan/obj/common/asan.o'

.PHONY: asan asan-build asan-release
asan: deps-lint asan-build	## unit tests and daemons under the sanitizers
	$(Q)B=build-asan ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 \
	    UBSAN_OPTIONS=print_stacktrace=1 tests/check unit
	$(Q)B=build-asan SANITIZED=1 TEST_DEADLINE=600 \
	    tests/check asan $(ASAN_RUN)

asan-build: asan-release
	$(Q)$(ASAN_MAKE) unit-build asan-daemons

# The parts that stay as they are.
ASAN_PARTS := standin/jail-warden standin/jail-vmm tests/mews-standin \
	tests/mews-probe
asan-release: guest $(addprefix build/,$(ASAN_PARTS))

ifneq ($(SANITIZED),)
.PHONY: asan-daemons
asan-daemons: $(PROGRAMS) $(addprefix $(B)/fake/,mews-launchd mews-spawner) \
    $(B)/bad/mews-keeper $(addprefix $(B)/,$(ASAN_PARTS)) $(KILL_STAGES)
$(addprefix $(B)/,$(ASAN_PARTS)): $(B)/%: build/%
	@mkdir -p $(@D)
	$(Q)cp $< $@
endif
