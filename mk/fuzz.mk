# Fuzzing.  A target is tests/fuzz/NAME_fuzz.c with its seeds in
# tests/fuzz/corpus/NAME/ and, if there is one, tests/fuzz/NAME.dict.
# Sources beyond the archives: FUZZ_SRC_NAME; libraries: FUZZ_LIBS_NAME.
#
# `make fuzz` searches with libFuzzer and the sanitizers in build-fuzz/;
# `make check` only runs each seed once, with the compiler of the day.

T ?= 60
# json-c is the second opinion on what JSON is.
FUZZ_LIBS_table := -ljson-c
FUZZ_SRC_api := apid/request.c apid/route.c apid/doc.c
FUZZ_LIBS_api := -ljson-c -lmd
# The agent's connection without its processes, the warden's ear for QMP,
# for the agent's answers and for an exec's frames.
FUZZ_SRC_agent := agent/conn.c agent/api.c agent/gate.c agent/hold.c agent/word.c
FUZZ_SRC_guest := warden/call.c warden/stream_exec.c warden/text.c
FUZZ_SRC_qmp := warden/qmp_msg.c warden/text.c
FUZZ_NAMES := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_BIN := $(addprefix $(B)/fuzz/,$(FUZZ_NAMES))
FUZZ_REPLAY := $(patsubst %,$(B)/unit/fuzz/%_test,$(FUZZ_NAMES))
FUZZ_SAN := address,undefined
FUZZ_SRC_cli := cli/column.c cli/env.c cli/esc.c cli/near.c cli/out.c cli/size.c cli/sse.c
FUZZ_LIBS_cli := $(LIB_JSON) -lsmartcols
fuzz_obj = $(call obj,tests/fuzz/$(1)_fuzz.c $(FUZZ_SRC_$(1)))

.PHONY: fuzz fuzz-build fuzz-replay
fuzz: deps-lint		## fuzz every decoder for T seconds each (T=60)
	$(Q)$(MAKE) --no-print-directory B=build-fuzz CC=clang OPT='-O1 -g' \
	    EXTRA='-fsanitize=fuzzer-no-link,$(FUZZ_SAN) -fno-sanitize-recover=all -U_FORTIFY_SOURCE' \
	    EXTRA_LD='-fsanitize=fuzzer,$(FUZZ_SAN)' fuzz-build
	$(Q)bad=; for n in $(FUZZ_NAMES); do \
		tests/fuzz/run "$$n" "$(T)" build-fuzz || bad="$$bad $$n"; \
	done; \
	if [ -n "$$bad" ]; then echo "findings in:$$bad"; exit 1; fi

unit-build: $(FUZZ_REPLAY)
fuzz-build: $(FUZZ_BIN)
fuzz-replay: $(FUZZ_REPLAY)	## run each fuzz seed once
	$(Q)B=$(B) R=fuzz tests/check unit

define fuzz_rules
$(B)/fuzz/$(1): $(call fuzz_obj,$(1)) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -o $$@ \
	    $(call fuzz_obj,$(1)) $(LIBPROTO) $(LIBCOMMON) $$(FUZZ_LIBS_$(1))

$(B)/unit/fuzz/$(1)_test: $(call fuzz_obj,$(1)) $(B)/obj/tests/fuzz/replay.o \
    $(LIBPROTO) $(LIBCOMMON) $(wildcard tests/fuzz/corpus/$(1)/*)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -o $$@ \
	    $(call fuzz_obj,$(1)) $(B)/obj/tests/fuzz/replay.o \
	    $(LIBPROTO) $(LIBCOMMON) $$(FUZZ_LIBS_$(1))
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call fuzz_rules,$(n))))
