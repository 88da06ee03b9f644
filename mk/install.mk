# `make install`: an installed suite below $(DESTDIR).  mewsd finds the rooms'
# programs beside its own, so they share a folder; mews.conf is never
# overwritten.  What lies in /var/lib/mews/stage under an older name stays:
# VMs may be running from it.  `make uninstall` leaves mews.conf, the store and
# that tree; it takes no other option than the `make install` it undoes.

LIBEXEC := /usr/libexec/mews
UNITDIR := /usr/lib/systemd/system

.PHONY: install
install: all stage	## install into $(DESTDIR)
	install -d "$(DESTDIR)$(LIBEXEC)" "$(DESTDIR)/usr/bin" "$(DESTDIR)/etc/mews" \
	    "$(DESTDIR)$(UNITDIR)" "$(DESTDIR)/usr/lib/sysusers.d" \
	    "$(DESTDIR)/usr/lib/tmpfiles.d" "$(DESTDIR)/var/lib/mews/stage"
	install $(filter-out %/mews %/mews-keeper %/mews-warden,$(PROGRAMS)) \
	    "$(DESTDIR)$(LIBEXEC)"
	install $(B)/mews "$(DESTDIR)/usr/bin"
	install -m 644 etc/mews.service etc/mews-vms.service \
	    "$(DESTDIR)$(UNITDIR)"
	install -m 644 etc/mews.sysusers "$(DESTDIR)/usr/lib/sysusers.d/mews.conf"
	install -m 644 etc/mews.tmpfiles "$(DESTDIR)/usr/lib/tmpfiles.d/mews.conf"
	[ -e "$(DESTDIR)/etc/mews/mews.conf" ] || \
	    install -m 644 etc/mews.conf "$(DESTDIR)/etc/mews/mews.conf"
	cp -a --no-preserve=ownership $(B)/stage/$$(readlink $(B)/stage/current) \
	    $(B)/stage/current "$(DESTDIR)/var/lib/mews/stage"

.PHONY: uninstall
uninstall:		## take away what `make install` put into $(DESTDIR)
	rm -f $(addprefix "$(DESTDIR)$(LIBEXEC)"/,$(notdir $(filter-out \
	    %/mews %/mews-keeper %/mews-warden,$(PROGRAMS)))) \
	    "$(DESTDIR)/usr/bin/mews" "$(DESTDIR)$(UNITDIR)/mews.service" \
	    "$(DESTDIR)$(UNITDIR)/mews-vms.service" \
	    "$(DESTDIR)/usr/lib/sysusers.d/mews.conf" \
	    "$(DESTDIR)/usr/lib/tmpfiles.d/mews.conf"
	-rmdir "$(DESTDIR)$(LIBEXEC)"

# What the lab installs (tests/lab/unit_lab.py).
$(B)/installed/.stamp: $(PROGRAMS) $(STAGE)/.stamp $(wildcard etc/*) mk/install.mk
	$(Q)rm -rf $(@D)
	$(Q)$(MAKE) --no-print-directory -s install DESTDIR=$(@D)
	$(Q)touch $@
lab-files: $(B)/installed/.stamp
