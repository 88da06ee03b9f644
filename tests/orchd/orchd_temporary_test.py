#!/usr/bin/env python3
"""orchd alone: temporary VMs, which go when nobody uses them (docs/api.md).

usage: orchd_temporary_test.py [CASE...]  MEWS_PROGRAM: another mews-orchd, no controls
"""
from peers import *  # noqa: F403

MS = 400  # temporary_timeout here


def temps(**kw):
    return up(temporary_ms=MS, **kw)


def make(l, c, name, **kw):
    r = l.create(c, name, temporary=True, **kw)
    eq(r.status, 201)
    assert r.vm()["temporary"], r.vm()
    return time.monotonic()


def gone(l, c, name):
    l.until(lambda: l.get(c, name).status == 404, name + " gone")
    return time.monotonic()


def stays(l, c, name, ms=3 * MS):
    end = time.monotonic() + ms / 1000
    while time.monotonic() < end:
        eq(l.state(c, name), "running")
        l.pump(0.05)


def opened(l, kind, name="a", uid=0):
    c = l.client(uid)
    eq(l.call(c, STREAM, name, kind=kind).status, 101)
    return c


def hang_up(l, c):
    c.sock.close()
    l.until(lambda: c.id in l.gone, "API_GONE")
    return time.monotonic()


def idle():
    """One that nobody uses goes, with all that it had; its name is free."""
    with temps() as l:
        c = l.client()
        eq(l.create(c, "stays").status, 201)
        begun = make(l, c, "a")
        took = gone(l, c, "a") - begun
        assert took > 0.9 * MS / 1000, "gone after %.2f s" % took
        eq(l.leaks(c), [])
        eq([e["type"] for e in l.events(l.client()) if e["name"] == "a"],
           ["VM_CREATED", "VM_RUNNING", "VM_READY", "VM_DELETED"])
        assert "temporary, and nobody uses it" in l.log(), l.log()
        vm = l.get(c, "stays").vm()
        eq((vm["status"], bool(vm.get("temporary"))), ("running", False))
        make(l, c, "a")
        # to be asked for is no use
        for _ in range(3):
            l.get(c, "a")
        gone(l, c, "a")


def held():
    """A command or a console keeps it as long as it is open, a log does not;
    then it has the whole time again."""
    with temps() as l:
        c = l.client()
        for kind in (STREAM_EXEC, STREAM_CONSOLE):
            make(l, c, "a")
            one, two = opened(l, kind), opened(l, kind, uid=l.user)
            stays(l, c, "a")
            hang_up(l, one)
            stays(l, c, "a")
            # by its apid's word, too
            l.api[two.room].send(CLOSED, bytes(api_conn(conn=two.id)))
            gone(l, c, "a")
        make(l, c, "a")
        log = opened(l, STREAM_CONSOLE_LOG)
        gone(l, c, "a")
        hang_up(l, log)
        make(l, c, "a")
        one = opened(l, STREAM_EXEC)
        stays(l, c, "a", 2 * MS)
        begun = hang_up(l, one)
        took = gone(l, c, "a") - begun
        assert took > 0.9 * MS / 1000, "gone after %.2f s" % took
        eq(l.leaks(c), [])


def apid_dies():
    """All that an apid served is let go when it ends."""
    with temps() as l:
        c = l.client()
        make(l, c, "a")
        one = opened(l, STREAM_EXEC, uid=l.user)
        stays(l, c, "a")
        assert not one.hung_up()
        l.api[ROOM_API].close()
        l.plumb(ROOM_API)
        gone(l, c, "a")


def ended():
    """One that has ended goes, whatever ended it; who waits sees how."""
    with temps() as l:
        c = l.client()
        for how in ("exit", "crash", "stop"):
            make(l, c, how)
            uid = l.get(c, how).vm()["uid"]
            one = opened(l, STREAM_EXEC, how)
            if how == "stop":
                eq(l.call(c, STOP, how).status, 200)
            else:
                l.launch.exit(uid, EXIT_GUEST_PANIC if how == "crash" else
                              EXIT_GUEST_OFF)
            l.await_state(c, how, "crashed" if how == "crash" else "stopped")
            gone(l, c, how)
            hang_up(l, one)
        # a start of it is a new life
        make(l, c, "a")
        eq(l.call(c, STOP, "a").status, 200)
        eq(l.call(c, START, "a").status, 200)
        one = opened(l, STREAM_EXEC)
        stays(l, c, "a")
        hang_up(l, one)
        gone(l, c, "a")
        eq(l.leaks(c), [])


def restart():
    """A kill -9 of orchd loses none and keeps none: the time begins anew."""
    with temps() as l:
        c = l.client()
        make(l, c, "a")
        one = opened(l, STREAM_EXEC)
        stays(l, c, "a", 2 * MS)
        begun = time.monotonic()
        l.restart()
        one.sock.close()
        c = l.client()
        l.await_state(c, "a", "running")
        assert l.get(c, "a").vm()["temporary"]
        took = gone(l, c, "a") - begun
        assert took > 0.9 * MS / 1000, "gone after %.2f s" % took
        # killed while it goes
        make(l, c, "b")
        waiting = held_up(l, l.launch, LAUNCH_RELEASE)
        l.until(lambda: waiting, "LAUNCH_RELEASE")
        l.kill()
        let_go(l.launch, [])
        l.start()
        c = l.client()
        gone(l, c, "b")
        eq(l.leaks(c), [])


def shares():
    """No caller has all that there may be, not after a restart either."""
    with up(max_vms=24, nusers=2) as l:  # 24: 3 a user's, 1 an admin's
        c = l.client(l.user)

        def fill():
            n = 0
            # whose it is, is not the word of an apid
            while (r := l.create(c, "a%d" % len(l.vms(c)), temporary=True,
                                 owner=l.user - 1)).status == 201:
                n += 1
            eq(r.status, 503)
            for word in ("too many temporary vms", "your user has 19",
                         "at most 24", "end one of yours"):
                assert word in r.error(), r.error()
            return n
        eq(fill(), 19)
        eq(l.create(c, "stays").status, 201)
        eq(l.create(l.client(), "root", temporary=True).status, 201)
        eq(l.call(c, DELETE, "a3").status, 204)
        eq(l.call(c, DELETE, "a4").status, 204)
        l.restart()
        c = l.client(l.user)
        l.await_state(c, "a0", "running")
        eq(l.call(c, DELETE, "a5").status, 204)
        eq(l.create(c, "b1", temporary=True).status, 201)
        eq(l.create(c, "b2", temporary=True).status, 201)
        eq(l.create(c, "b3", temporary=True).status, 201)
        eq(l.create(c, "b4", temporary=True).status, 503)
        eq(l.create(l.client(l.user - 1), "his", temporary=True).status, 201)


if __name__ == "__main__":
    run(__file__, idle, held, apid_dies, ended, restart, shares)
