# Programs with one rule switched off: build-off/RULE/PROGRAM, one target per
# line of tests/rules.  Only the rule's own files are compiled again; all
# else is what ships.

RULES := $(shell awk '!/^\#/ && NF >= 4 { print $$1 "|" $$2 "|" $$3 }' tests/rules)

off_word = $(word $(2),$(subst |, ,$(1)))
off_comma := ,
off_src = $(subst $(off_comma), ,$(2))
off_def = $(patsubst %,-DRULE_OFF_%=1,$(subst +, ,$(1)))
# The program's objects: the rule's own first, so that they are taken before
# the archives' members of the same name.
off_obj = $(patsubst %.c,build-off/$(1)/obj/%.o,$(call off_src,,$(2)))
off_rest = $(call obj,$(filter-out $(call off_src,,$(2)),$(SRC_$(3))))

# $(1) rule, $(2) files, $(3) program
define off_rule
build-off/$(1)/$(3): $(call off_obj,$(1),$(2)) $(call off_rest,$(1),$(2),$(3)) \
    $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LD_$(3)) -o $$@ $$^ $(LIBS_$(3))
OFF_$(3) += build-off/$(1)/$(3)
endef
# $(1) rule, $(2) files: once, for however many programs
define off_compile
$(call off_obj,$(1),$(2)): build-off/$(1)/obj/%.o: %.c | $(B)/.deps
	@mkdir -p $$(@D)
	$$(call say,CC,$$< without $(1))
	$$(Q)$$(CC) $$(CPPFLAGS) $(call off_def,$(1)) $$(CFLAGS_ALL) -MMD -MP -c \
	    -o $$@ $$<
endef
off_pair = $(call off_word,$(1),1)|$(call off_word,$(1),2)
$(foreach r,$(sort $(foreach p,$(RULES),$(call off_pair,$(p)))),$(eval \
	$(call off_compile,$(call off_word,$(r),1),$(call off_word,$(r),2))))
$(foreach r,$(RULES),$(eval $(call off_rule,$(call off_word,$(r),1),$(call off_word,$(r),2),$(call off_word,$(r),3))))

# What cases of the lab run without a rule, where the lab is brought it from.
OFF_LAB := $(shell awk '!/^\#/ && $$5 == "lab" { print $$1 "/" $$3 }' tests/rules) \
	JAIL_KEEPER_FILTER/mews-keeper KEEPER_PEER/mews-keeper
$(addprefix $(B)/off/,$(OFF_LAB)): $(B)/off/%: build-off/%
	@mkdir -p $(@D)
	$(Q)cp $< $@
lab-files: $(addprefix $(B)/off/,$(OFF_LAB)) $(B)/stage-standin/.stamp-kill \
    hostile

# Every program with a rule off, or one program's.
.PHONY: off
off: $(foreach r,$(ROOMS) $(HOSTILE_ROOMS),$(OFF_$(r)))	## build every program once without each rule
off-%:
	@$(MAKE) --no-print-directory $(OFF_$*)
-include $(shell find build-off -name '*.d' 2>/dev/null)
