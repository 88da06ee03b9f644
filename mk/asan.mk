# The unit tests and fuzz seeds once more under ASan, UBSan and LSan.

ASAN := address,undefined
.PHONY: asan
asan: deps-lint		## unit tests under the sanitizers
	$(Q)$(MAKE) --no-print-directory B=build-asan OPT='-O1 -g' \
	    EXTRA='-fsanitize=$(ASAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -U_FORTIFY_SOURCE -DMEWS_ASAN' \
	    EXTRA_LD='-fsanitize=$(ASAN)' unit-build
	$(Q)B=build-asan ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 \
	    UBSAN_OPTIONS=print_stacktrace=1 tests/check unit
