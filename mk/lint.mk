# Linters: layout, both compilers, clang-tidy, cppcheck, banned words, and
# every header on its own.

LINT_SRC = $(filter %.c,$(LINT_ALL))
LINT_HDR = $(filter %.h,$(LINT_ALL))
# Every one that is here: a new folder is not forgotten.
LINT_ALL := $(sort $(shell find * -path 'build*' -prune -o -name '*.[ch]' -print))

.PHONY: lint lint-circles lint-format lint-gcc lint-clang lint-tidy lint-cppcheck lint-words lint-headers
lint: lint-format lint-words lint-gcc lint-circles lint-headers lint-clang lint-tidy lint-cppcheck	## every linter
	@pmccabe $(LINT_SRC) | sort -rn | head -10 | \
	    awk '{ printf "  complexity %3d  %s:%s\n", $$1, $$6, $$7 }'

lint-format: deps-lint
	$(call say,FORMAT,$(words $(LINT_ALL)) files)
	$(Q)clang-format --dry-run -Werror $(LINT_ALL)

lint-words:
	$(call say,WORDS,banned calls)
	$(Q)tests/banned $(LINT_SRC) $(LINT_HDR)

lint-circles: lint-gcc
	$(call say,CIRCLES,of files)
	$(Q)B=$(B) tests/circles

lint-headers: deps-lint
	$(call say,HEADERS,each on its own)
	$(Q)for h in $(LINT_HDR); do \
	    $(CC) $(CPPFLAGS_ALL) $(filter-out -O2 -g,$(CFLAGS_ALL)) -Werror -U_FORTIFY_SOURCE \
	    -fsyntax-only -x c $$h || exit 1; done

# What is built anyway, a warning being an error; and the whole tree once more
# with the other compiler.
lint-gcc:
	$(Q)$(MAKE) --no-print-directory WERROR=-Werror all unit-build hostile
lint-clang: deps-lint
	$(Q)$(MAKE) --no-print-directory WERROR=-Werror B=build-clang CC=clang \
	    all unit-build

# One run a file; a stamp remembers what was clean.
TIDY_STAMP := $(patsubst %.c,build-clang/tidy/%.ok,$(LINT_SRC))
lint-tidy: $(TIDY_STAMP)
build-clang/tidy/%.ok: %.c .clang-tidy $(LINT_HDR) | deps-lint
	@mkdir -p $(@D)
	$(call say,TIDY,$<)
	$(Q)clang-tidy --quiet $< -- $(CPPFLAGS_ALL) -std=gnu17 2>build-clang/tidy/$*.log \
	    || { cat build-clang/tidy/$*.log; exit 1; }
	@touch $@

# Whatever it says is a finding, also where its exit status is 0 (findings
# of the whole program with -j).
lint-cppcheck: deps-lint
	$(call say,CPPCHECK,$(words $(LINT_SRC)) files)
	$(Q)mkdir -p build-clang/cppcheck; r=0; \
	out=$$(cppcheck --quiet --error-exitcode=1 -j2 \
	    --cppcheck-build-dir=build-clang/cppcheck --inline-suppr \
	    --enable=warning,portability --std=c11 -D_GNU_SOURCE -D__x86_64__ -D__linux__ \
	    --library=tests/cppcheck.cfg -I. $(LINT_SRC) 2>&1) || r=1; \
	[ -z "$$out" ] || { printf '%s\n' "$$out"; r=1; }; exit $$r
