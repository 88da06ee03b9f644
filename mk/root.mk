# Fresh roots of Debian 12 and 13, in which README's two commands are run on
# what is committed here.  They stay in $(B)/root; `make clean` removes them.

.PHONY: root-12 root-13
root-12: ROOT_NAME := bookworm
root-13: ROOT_NAME := trixie
root-12 root-13: $(B)/.deps-root	## README's two commands in a fresh root of that Debian
	$(Q)mkdir -p $(B)/root && rm -rf $(B)/root/$(ROOT_NAME)*
	$(Q)mk/root make $(ROOT_NAME) $(abspath $(B))/root/$(ROOT_NAME)
	$(Q)mkdir $(B)/root/$(ROOT_NAME)/root/mews
	$(Q)git archive HEAD | tar -x -C $(B)/root/$(ROOT_NAME)/root/mews
	$(Q)mk/root run $(abspath $(B))/root/$(ROOT_NAME) sh -c \
	    'cd /root/mews && env -u MAKEFLAGS make demo && make check'

$(B)/.deps-root: mk/deps.mk
	@mkdir -p $(B)
	$(call apt_install,$(DEPS_ROOT))
