# Programs with one rule switched off: build-off/RULE/PROGRAM, one target per
# line of tests/rules or tests/lab/rules and program of it.  Only the rule's
# own files are compiled again; all else is what ships.

# The agent is no room, and comes in an initramfs of its own.
SRC_mews-agent := $(AGENT_SRC)
LD_mews-agent = $(STATIC_LD)

RULES := $(sort $(shell awk '!/^\#/ && NF >= 4 { \
	n = split($$3, p, ","); \
	for (i = 1; i <= n; i++) print $$1 "|" $$2 "|" p[i] }' tests/rules tests/lab/rules))

off_word = $(word $(2),$(subst |, ,$(1)))
off_comma := ,
# The rule's files that are this program's: its room's and the archives'.
off_src = $(filter $(SRC_$(2)) $(COMMON_SRC) $(PROTO_SRC),$(subst \
	$(off_comma), ,$(1)))
off_def = $(patsubst %,-DRULE_OFF_%=1,$(subst +, ,$(1)))
off_dir = build-off/$(1)/obj/$(2)
# The room's own objects are linked instead of those that ship.  The archives'
# make an archive that is searched before each of them, so that a program gets
# only what it uses.
off_obj = $(patsubst %.c,$(call off_dir,$(1),$(3))/%.o,$(call off_src,$(2),$(3)))
off_own = $(filter $(patsubst %.c,$(call off_dir,$(1),$(3))/%.o,$(SRC_$(3))),$(call off_obj,$(1),$(2),$(3)))
off_rest = $(call obj,$(filter-out $(call off_src,$(2),$(3)),$(SRC_$(3))))
off_lib = $(call off_dir,$(1),$(3))/off.a

# $(1) rule, $(2) files, $(3) program
define off_rule
build-off/$(1)/$(3): $(call off_own,$(1),$(2),$(3)) \
    $(call off_rest,$(1),$(2),$(3)) $(call off_lib,$(1),$(2),$(3)) \
    $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LD_$(3)) -o $$@ $$(filter %.o,$$^) \
	    $(call off_lib,$(1),$(2),$(3)) $(LIBPROTO) \
	    $(call off_lib,$(1),$(2),$(3)) $(LIBCOMMON) $(LIBS_$(3))
$(call off_lib,$(1),$(2),$(3)): $(filter-out $(call off_own,$(1),$(2),$(3)),$(call off_obj,$(1),$(2),$(3)))
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
$(call off_obj,$(1),$(2),$(3)): $(call off_dir,$(1),$(3))/%.o: %.c | $(B)/.deps
	@mkdir -p $$(@D)
	$$(call say,CC,$$< without $(1))
	$$(Q)$$(CC) $$(CPPFLAGS_ALL) $(call off_def,$(1)) $$(CFLAGS_ALL) -MMD -MP -c \
	    -o $$@ $$<
OFF_$(3) += build-off/$(1)/$(3)
endef
$(foreach r,$(RULES),$(eval $(call off_rule,$(call off_word,$(r),1),$(call off_word,$(r),2),$(call off_word,$(r),3))))

# What cases of the lab run without a rule, where the lab is brought it from.
OFF_LAB := $(shell awk '!/^\#/ && NF >= 4 { n = split($$3, p, ","); \
	for (i = 1; i <= n; i++) print $$1 "/" p[i] }' tests/lab/rules) \
	JAIL_KEEPER_FILTER/mews-keeper KEEPER_PEER/mews-keeper
$(addprefix $(B)/off/,$(OFF_LAB)): $(B)/off/%: build-off/%
	@mkdir -p $(@D)
	$(Q)cp $< $@
lab-files: $(addprefix $(B)/off/,$(OFF_LAB)) $(B)/stage-standin/.stamp-kill \
    hostile
lab-files: $(B)/off/AGENT_KEY/initramfs
$(B)/off/%/initramfs: $(B)/off/%/mews-agent mk/initramfs mk/modules $(GUEST)/vmlinuz
	$(call say,CPIO,$@)
	$(Q)mk/initramfs $(GUEST)/kernel $< /bin/busybox $@

# Every program with a rule off, or one program's.
.PHONY: off
off: $(foreach r,$(ROOMS) $(HOSTILE_ROOMS),$(OFF_$(r)))	## build every program once without each rule
off-%:
	@$(MAKE) --no-print-directory $(OFF_$*)
-include $(shell find build-off -name '*.d' 2>/dev/null)
