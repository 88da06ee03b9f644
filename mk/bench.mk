# Measurements: the real suite in a private host against the bare tools.
# N runs of each; VMS stand-in VMs for what grows with their number; PARTS
# of boot, share, exec, get, vmm, scale: all unless said.

N ?= 10
VMS ?= 100
PARTS ?=
BENCH_STANDIN := $(B)/bench/standin
# Static, so that a staged tree needs no libraries for it.
$(BENCH_STANDIN): $(call obj,bench/stamp.c $(STANDIN_SRC)) $(LIBPROTO) $(LIBCOMMON)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(STATIC_LD) -o $@ $^ $(LIB_JSON) -lseccomp

.PHONY: bench
bench: all guest stage $(BENCH_STANDIN) $(WIRE)	## measure against the bare tools (N=10 VMS=100)
	$(Q)B=$(B) /usr/bin/env python3 bench/bench.py $(N) $(VMS) $(PARTS)
