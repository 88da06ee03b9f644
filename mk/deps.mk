# What the project needs from Debian, and the one target that installs it.
# A missing package is installed; a machine that has them all is not touched.

DEPS_BUILD := gcc libc6-dev pkg-config libevent-dev libconfuse-dev \
	libsqlite3-dev libjson-c-dev libnl-3-dev libnl-route-3-dev \
	libnftables-dev libnftnl-dev libmnl-dev libseccomp-dev libcap-dev \
	libcurl4-openssl-dev libsmartcols-dev libwslay-dev libbsd-dev libmd-dev
DEPS_RUN := qemu-system-x86 busybox-static iproute2 cpio xz-utils
DEPS_TEST := python3 python3-h11 python3-pyelftools nftables procps mount
# of the release's own clang, which apt knows once it has lists
CLANG_RT = libclang-rt-$(shell apt-cache depends clang | \
	sed -n 's/^ *Depends: clang-\([0-9]*\)$$/\1/p')-dev
DEPS_LINT = clang clang-tidy clang-format cppcheck pmccabe $(CLANG_RT)
# The lab's image is made of packages that are unpacked, not installed.
DEPS_ROOT := mmdebstrap git util-linux mount
DEPS_LAB := qemu-system-x86 busybox-static cpio e2fsprogs util-linux

.PHONY: deps deps-lint
deps: $(B)/.deps	## install what building and testing needs
deps-lint: $(B)/.deps-lint

# One at a time: two of these targets may be due at once, and apt does not wait.
define apt_install
	$(Q)missing=$$(dpkg-query -W -f '$${db:Status-Abbrev} $${Package}\n' \
	    $(1) 2>/dev/null | sed -n 's/^ii  *//p' | sort > $@.have; \
	    printf '%s\n' $(1) | sort -u | comm -23 - $@.have); \
	rm -f $@.have; \
	if [ -n "$$missing" ]; then \
		echo "installing:" $$missing; \
		flock mk/deps.mk sh -c 'apt-get update -qq && \
		    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		    --no-install-recommends "$$@"' apt $$missing \
		    > $@.log 2>&1 || { tail -20 $@.log; exit 1; }; \
	fi
	$(Q)touch $@
endef

$(B)/.deps: mk/deps.mk
	@mkdir -p $(B)
	$(call apt_install,$(DEPS_BUILD) $(DEPS_RUN) $(DEPS_TEST))

$(B)/.deps-lint: mk/deps.mk $(B)/.deps
	@mkdir -p $(B)
	$(call apt_install,$(DEPS_BUILD) $(DEPS_LINT))

$(B)/.deps-lab: mk/deps.mk
	@mkdir -p $(B)
	$(call apt_install,$(DEPS_LAB))
