#!/usr/bin/env python3
"""apid's long deadlines: an orchd and a VM that never answer."""
import sys
import time

import players as t


def silent(cl, least, most):
    start = time.monotonic()
    cl.sock.settimeout(most)
    t.want(cl.answer()[0], 504, "status")
    cl.end()
    t.H.expect_closed(cl)
    return time.monotonic() - start >= least


def console():
    cl = t.H.client()
    cl.upgrade("/ws/v1/vms/web/console")
    st = t.Stream(t.H.expect(t.STREAM, cl))
    t.want(silent(cl, 14, 20), True, "not before 14 s")
    st.frame()
    st.end()


def ask():
    cl = t.H.client().send(t.name_get("web"))
    m = t.H.expect(t.GET, cl)
    t.want(silent(cl, 119, 130), True, "not before 119 s")
    # too late, and nobody is there to hear it: no reason to end
    t.H.answer(m, 200, t.VM, t.vm_wire("web"))
    t.healthy()


def cases():
    t.case("the vm never answers", console)
    t.case("orchd never answers", ask)


sys.exit(t.run(cases))
