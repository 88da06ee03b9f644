#!/usr/bin/env python3
"""`make bench`: what the suite costs, against the bare tools in the same run.

bench.py [N [VMS [PART...]]]: N runs of each, VMS stand-in VMs for what may
grow with their number.  It lives in a private host, like the system tests.
A missed budget is printed and does not fail; a thing that does not work does.
"""
import os
import sys

import host
import report
import suite  # found by host

import api  # noqa: E402
import boot  # noqa: E402
import scale  # noqa: E402
import vmm  # noqa: E402

OUT = os.path.join(suite.BUILD, "bench.md")


def main():
    suite.enter()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    vms = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    parts = {"boot": lambda: boot.against_bare(rep, n),
             "share": lambda: boot.control_plane(rep, n),
             "exec": lambda: api.exec_trip(rep, n),
             "get": lambda: api.calls(rep, n),
             "vmm": lambda: vmm.both(rep, n),
             "scale": lambda: scale.all_of(rep, n, vms)}
    rep = report.Report()
    print("machine: " + report.machine(), flush=True)
    for name, fn in parts.items():
        if len(sys.argv) > 3 and name not in sys.argv[3:]:
            continue
        try:
            fn()
        except Exception:
            with open(host.LOG, "w") as f:
                f.write(suite.Suite().logs())
            print("bench: %s failed; logs in %s" % (name, host.LOG),
                  file=sys.stderr)
            raise
    with open(OUT, "w") as f:
        f.write("machine: %s\n\n%s" % (report.machine(), rep.markdown()))
    print("as a table: " + OUT)
    return 0


sys.exit(main())
