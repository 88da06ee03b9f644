#!/usr/bin/env python3
"""orchd alone: what netd and launchd may do to it, and it to them.

usage: orchd_helpers_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import os
import signal
import socket

from peers import *  # noqa: F403


# -- convergence (I7) ------------------------------------------------------------------

def helper_errors():
    with up() as l:
        c = l.client(l.user)

        def no_tap(kind, ident, p):
            if kind == NET_TAP_OPEN:
                l.net.err(ident, -28, b"no \x1b[31mroom\xff")
                return True
        l.net.hook = no_tap
        r = l.create(c, "a")
        eq(r.status, 500)
        assert "did not start: no ?[31mroom?" in r.error(), r
        eq(l.get(c, "a").vm()["status"], "crashed")
        l.net.hook = None
        eq(l.call(c, START, "a").status, 200)

        def no_start(kind, ident, p):
            if kind == LAUNCH_START:
                l.launch.err(ident, launch_vm.at(p).vm)
                return True
        l.launch.hook = no_start
        eq(l.create(c, "b").status, 500)
        eq(l.call(c, DELETE, "b").status, 204)
        l.launch.hook = None
        eq(l.leaks(c), [])
        # a STOP that fails is sent again; one for a VM it lost ends it
        n = []

        def no_stop(kind, ident, p):
            if kind == LAUNCH_STOP and len(n) < 2:
                n.append(1)
                l.launch.err(ident, launch_vm.at(p).vm)
                return True
        l.launch.hook = no_stop
        eq(l.call(c, STOP, "a").status, 200)
        eq(len(n), 2)
        l.launch.hook = None
        eq(l.call(c, START, "a").status, 200)
        l.launch.vms.clear()
        eq(l.call(c, STOP, "a").status, 200)
        # releases that fail go on until they do not
        eq(l.call(c, START, "a").status, 200)
        m = []

        def no_release(kind, ident, p):
            if kind == LAUNCH_RELEASE and len(m) < 3:
                m.append(1)
                l.launch.err(ident, launch_vm.at(p).vm)
                return True
        l.launch.hook = no_release
        eq(l.call(c, DELETE, "a").status, 204)
        eq(len(m), 3)
        eq(l.leaks(c), [])


def twice_and_late():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        for kind, ident, p in list(l.net.log) + list(l.launch.log):
            if kind == NET_TAP_OPEN:
                l.net.ready(ident, uid)
                l.net.err(ident, -5)
            elif kind == LAUNCH_START:
                l.launch.done(ident, uid)
                l.launch.err(ident, uid)
        l.launch.event(uid, LE_RUNNING, pid=5001)
        l.launch.event(uid, LE_READY)
        l.settle()
        eq(l.state(c, "a"), "running")
        l.launch.exit(uid, EXIT_KILLED, b"signal 9", 9)
        l.launch.event(uid, LE_EXITED, reason=EXIT_GUEST_OFF)
        l.await_state(c, "a", "crashed")
        v = l.get(c, "a").vm()
        eq((v["reason"], v["exit_status"], v["pid"]),
           ("hypervisor killed: signal 9", 137, 0))
        l.settle()
        # the end of a life that is over does not end the next
        waiting = held_up(l, l.launch, LAUNCH_RELEASE)
        l.settle()
        eq(l.call(c, START, "a").status, 200)
        l.launch.exit(uid)
        l.await_state(c, "a", "stopped")
        l.until(lambda: waiting, "RELEASE")
        rid = l.ask(c, START, "a")
        l.settle()
        l.launch.event(uid, LE_EXITED, reason=EXIT_KILLED)
        l.launch.event(uid, LE_RUNNING, pid=4)
        let_go(l.launch, waiting)
        eq(l.answer(rid).status, 200)
        eq(l.leaks(c), [])
        l.until(lambda: [e["type"] for e in l.events(l.client(l.user))].count(
            "VM_READY") == 3, "VM_READY of all three lives")


def never_answered():
    """Deadlines: one VM waits for its tap, one for START, one for what came
    of it, one for its stop."""
    with up(ready_ms=1000) as l:
        cs = [l.client(l.user) for _ in range(4)]
        uid = l.create(cs[3], "stop").vm()["uid"]
        drop = {"tap": NET_TAP_OPEN, "start": LAUNCH_START}
        run, l.launch.run = l.launch.run, lambda uid: None

        def net_hook(kind, ident, p):
            return kind == NET_TAP_OPEN and len([m for m in l.net.log
                                             if m[0] == NET_TAP_OPEN]) == 2

        def launch_hook(kind, ident, p):
            if kind == LAUNCH_STOP:
                l.launch.done(ident, uid)
                return True
            return kind == LAUNCH_START and len([m for m in l.launch.log
                                            if m[0] == LAUNCH_START]) == 2
        l.net.hook, l.launch.hook = net_hook, launch_hook
        rids = []
        for c, n in zip(cs, ("tap", "start", "event")):
            rids.append(l.ask(c, CREATE, doc=vm_create(n)))
            l.settle(0.02)
        rids.append(l.ask(cs[3], STOP, "stop"))
        eq([l.answer(r, 20).status for r in rids], [500, 500, 500, 200])
        l.settle(0.3)
        eq(l.leaks(cs[0]), [])
        eq(sorted(v["status"] for v in l.vms(cs[0])), ["crashed"] * 3 + ["stopped"])


def other_lists():
    """Helpers that come back holding something else than before."""
    with up() as l:
        c = l.client(l.user)
        uid = {n: l.create(c, n).vm()["uid"] for n in
               ("same", "missing", "gone", "stopped", "dying")}
        l.call(c, STOP, "stopped")
        slot = l.launch.vms[uid["gone"]][1]
        del l.launch.vms[uid["missing"]]
        l.launch.vms[uid["gone"]][0] = LV_GONE
        l.launch.vms[uid["stopped"]] = [LV_READY, 3, 77]  # nobody wants it
        l.launch.vms[0xabcdef] = [LV_RUNNING, 40, 78]  # nor knows this one
        l.net.taps[0xabcdef] = (40, 0x0a4d0063, b"\x02aaaaa")
        l.launch.vms[uid["dying"]][0] = LV_STOPPING
        l.net.chan.close()
        l.launch.chan.close()
        l.settle()
        eq(l.state(c, "same"), "running")
        l.plumb(ROOM_NETD)
        l.plumb(ROOM_LAUNCHD)
        for n in ("missing", "gone"):
            l.await_state(c, n, "crashed")
            assert l.get(c, n).vm()["reason"]
        l.launch.exit(uid["dying"], EXIT_STOPPED)
        l.await_state(c, "dying", "stopped")
        eq(l.state(c, "same"), "running")
        eq(l.leaks(c), [])
        assert 0xabcdef not in l.launch.vms and 0xabcdef not in l.net.taps
        # adopted, and told to be made good
        assert [m for m in l.net.log if m[0] == NET_TAP_OPEN and
                net_tap.of(m[2]).vm == uid["same"] and
                net_tap.of(m[2]).flags == NET_ADOPT]
        assert [m for m in l.net.log if m[0] == NET_ENSURE]
        eq(l.launch.starts[uid["same"]], 1)


def host_restarts():
    """A VM that ran when its host went down: its folder may be there or not, a
    record is not, and whatever launchd says of its end nobody saw it."""
    with up() as l:
        c = l.client(l.user)
        uid = {n: l.create(c, n).vm()["uid"] for n in ("none", "folder", "record")}
        l.settle()
        l.kill()
        del l.launch.vms[uid["none"]]
        l.launch.vms[uid["folder"]] = [LV_GONE, 0xffff, 0]
        l.launch.vms[uid["record"]][::2] = [LV_GONE, 0]
        l.net.taps.clear()
        hook = l.launch.hook

        def ends(kind, ident, p):
            if kind == LAUNCH_LIST:
                l.launch.hook = hook
                for n in ("folder", "record"):
                    l.launch.held(uid[n], *l.launch.vms[uid[n]], ident)
                    l.launch.event(uid[n], LE_EXITED, reason=EXIT_KEEPER,
                                   detail=b"found dead after a restart")
                l.launch.tell(LAUNCH_LIST_END, bytes(launch_count(n=2)), ident)
                return True
            return False
        l.launch.hook = ends
        l.start()
        c = l.client(l.user)
        for n, why in (
                ("none", "was gone after a restart of the host"),
                ("folder", "was gone after a restart of the host"),
                ("record", "keeper killed: found dead after a restart")):
            l.await_state(c, n, "crashed")
            eq(l.get(c, n).vm()["reason"], why)
        l.until(lambda: uid["folder"] not in l.launch.vms, "its release")


def ended_before_list():
    """A new launchd that ends a half-made start, and says so before and after
    it lists it: the start is made again, the run that ended is over."""
    with up() as l:
        c = l.client(l.user)
        ran = l.create(c, "ran").vm()["uid"]
        run, l.launch.run = l.launch.run, lambda uid: None
        rid = l.ask(c, CREATE, doc=vm_create("half"))
        l.until(lambda: len(l.launch.vms) == 2, "START")
        l.settle()
        l.launch.chan.close()

        def said(kind, ident, p):
            if kind != LAUNCH_LIST:
                return False
            for again in (False, True):
                for uid in l.launch.vms:
                    l.launch.vms[uid][0] = LV_GONE
                    l.launch.event(uid, LE_EXITED, reason=EXIT_GUEST_PANIC,
                                   detail=b"oops")
                if not again:
                    l.launch.act(kind, ident, p)
            return True
        l.launch.hook, l.launch.run = said, run
        l.plumb(ROOM_LAUNCHD)
        eq(l.answer(rid).status, 201)
        l.await_state(c, "ran", "crashed")
        eq(l.launch.starts[ran], 1)
        eq(l.leaks(c), [])


def ending_in_list():
    """A new launchd lists a half-made start that it is about to end: its end,
    told after the list, is not the end of what was asked for."""
    with up() as l:
        c = l.client(l.user)
        run, l.launch.run = l.launch.run, lambda uid: None
        rid = l.ask(c, CREATE, doc=vm_create("half"))
        l.until(lambda: l.launch.vms, "START")
        l.settle()
        l.launch.chan.close()
        uid, = l.launch.vms

        def said(kind, ident, p):
            if kind != LAUNCH_LIST:
                return False
            l.launch.vms[uid][0] = LV_STOPPING
            l.launch.act(kind, ident, p)
            l.launch.exit(uid, EXIT_START_FAILED, b"launcher restarted")
            return True
        l.launch.hook, l.launch.run = said, run
        l.plumb(ROOM_LAUNCHD)
        eq(l.answer(rid).status, 201)
        eq(l.launch.starts[uid], 2)
        # the one that it makes now may fail for good
        l.launch.run = lambda uid: l.launch.exit(uid, EXIT_START_FAILED, b"no")
        l.launch.hook = None
        eq(l.call(c, STOP, "half").status, 200)
        eq(l.call(c, START, "half").status, 500)
        eq(l.call(c, DELETE, "half").status, 204)
        eq(l.leaks(c), [])


def gone_meanwhile():
    """A helper dies with each request in its hands, then comes back."""
    for where, room, kind in (("net", ROOM_NETD, NET_TAP_OPEN),
                              ("launch", ROOM_LAUNCHD, LAUNCH_START),
                              ("launch", ROOM_LAUNCHD, LAUNCH_STOP),
                              ("launch", ROOM_LAUNCHD, LAUNCH_RELEASE),
                              ("net", ROOM_NETD, NET_TAP_CLOSE)):
        for done in (False, True):
            with up() as l:
                h = getattr(l, where)
                c = l.client(l.user)
                waiting = held_up(l, h, kind)
                rid = l.ask(c, CREATE, doc=vm_create("a"))
                verb = {NET_TAP_OPEN: None, LAUNCH_START: None, LAUNCH_STOP: STOP}.get(
                    kind, DELETE)
                if verb:
                    eq(l.answer(rid).status, 201)
                    rid = l.ask(c, verb, "a")
                l.until(lambda: waiting, "request")
                if done:  # done, but the answer is lost with it
                    with contextlib.suppress(Gone):
                        real, h.chan = h.chan, Chan(socket.socketpair()[0], None)
                        let_go(h, waiting)
                    h.chan = real
                    for v in l.launch.vms.values():
                        v[0] = LV_READY if v[0] == LV_STARTING else v[0]
                h.chan.close()
                h.hook = None
                l.settle()
                l.plumb(room)
                got = l.answer(rid).status
                eq(got, {None: 201, STOP: 200, DELETE: 204}[verb])
                eq(l.leaks(c), [])
                assert done or max(l.launch.starts.values(), default=0) <= 1


def unread():
    """A helper that is dead already, but not yet noticed, costs no VM."""
    with up() as l:
        c = l.client(l.user)
        os.kill(l.p.pid, signal.SIGSTOP)
        rid = l.ask(c, CREATE, doc=vm_create("a"))
        l.net.chan.close()
        os.kill(l.p.pid, signal.SIGCONT)
        l.settle(0.1)
        l.plumb(ROOM_NETD)
        eq(l.answer(rid).status, 201)


def watchdog():
    """EXIT_NO_AGENT: one retry, then crashed; ready in between rearms it."""
    with up() as l:
        c = l.client(l.user)
        fails = [2]

        def run(uid):
            l.launch.vms[uid][0] = LV_RUNNING
            l.launch.event(uid, LE_RUNNING, pid=l.launch.vms[uid][2])
            if fails[0]:
                fails[0] -= 1
                l.launch.exit(uid, EXIT_NO_AGENT)
            else:
                l.launch.event(uid, LE_READY)
        l.launch.run = run
        l.create(c, "a")
        l.await_state(c, "a", "crashed")
        eq(list(l.launch.starts.values()), [2])
        assert "agent" in l.get(c, "a").vm()["reason"]
        fails[0] = 1
        l.call(c, START, "a")
        l.until(lambda: l.get(c, "a").vm()["ready"], "ready")
        eq(list(l.launch.starts.values()), [4])
        eq(l.leaks(c), [])


# -- hostile helpers (I2, I10) -------------------------------------------------

def answers_for_another():
    """netd cannot answer what launchd was asked, nor the other way round."""
    with up() as l:
        c = l.client(l.user)
        waiting = held_up(l, l.launch, LAUNCH_START)
        rid = l.ask(c, CREATE, doc=vm_create("a"))
        ident, p = l.until(lambda: waiting and waiting[0][1:], "START")
        uid = launch_vm.at(p).vm
        for send in (lambda ch: ch.send(NET_DONE, b"", ident),
                     lambda ch: l.net.err(ident, -5),
                     lambda ch: l.net.ready(ident, uid)):
            refused(l, ROOM_NETD, send)
            eq(l.state(l.client(l.user), "a"), "starting")
            assert rid not in l.res
        let_go(l.launch, waiting)
        eq(l.answer(rid).status, 201)
        waiting = held_up(l, l.net, NET_TAP_OPEN)
        rid = l.ask(c, CREATE, doc=vm_create("b"))
        ident, p = l.until(lambda: waiting and waiting[0][1:], "TAP_OPEN")
        uid = launch_vm.at(p).vm
        refused(l, ROOM_LAUNCHD, lambda ch: l.launch.done(ident, uid))
        let_go(l.net, waiting)
        eq(l.answer(rid).status, 201)
        eq(l.leaks(c), [])


def hostile_netd():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        tap = bytes(net_tap(vm=uid, ipv4=0x0a4d0063, mac=b"\x02aaaaa"))
        ready = lambda **kw: bytes(net_tap_ready(ifindex=1, **kw))
        for i, b in enumerate((
                lambda ch: ch.send(NET_TAP_READY, bytes(15), 1),
                lambda ch: ch.send(NET_TAP_READY, ready(vm=uid, pad=9), 1),
                lambda ch: ch.send(NET_HELD, tap),  # nobody asked
                lambda ch: ch.send(NET_LIST_END, bytes(8)),
                lambda ch: ch.send(NET_HELD, tap[:-1]),
                lambda ch: ch.send(NET_HELD, tap * 300),
                lambda ch: ch.send(NET_ERR, bytes(net_err(code=-5, msg=b"x" * 192))),
                lambda ch: ch.send(NET_ERR, bytes(net_err(code=-5, msg=b"x", flags=2))),
                lambda ch: ch.send(NET_DONE, b"", 1, [0]),
                lambda ch: ch.send(NET_TAP_OPEN, tap),
                lambda ch: ch.send(CREATE, bytes(200)))):
            try:
                refused(l, ROOM_NETD, b)
            except AssertionError as e:
                raise AssertionError("hostile message %d: %s" % (i, e)) from e
        for i in range(3000):  # a flood of what nobody waits for
            l.net.chan.send(NET_DONE, b"", i + 10**6)
            l.net.chan.send(NET_TAP_READY, ready(vm=i), i + 10**6)
        l.settle()
        # a READY without its tap is no tap
        l.net.hook = lambda k, i, p: k == NET_TAP_OPEN and (
            l.net.ready(i, launch_vm.at(p).vm, False) or True)
        eq(l.create(c, "b").status, 500)
        l.net.hook = None
        eq(l.state(c, "a"), "running")
        eq(l.call(c, DELETE, "b").status, 204)
        eq(l.leaks(c), [])


def hostile_launchd():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        eq(l.create(c, "s").status, 201)
        eq(l.call(c, STOP, "s").status, 200)
        stopped = l.get(c, "s").vm()["uid"]

        def ev(u=uid, kind=LE_RUNNING, pid=1, reason=0, rung=0, accel=1,
               confined=CONFINED, detail=b"", backend=1):
            return bytes(launch_event(vm=u, kind=kind, pid=pid, reason=reason,
                                      rung=rung, accel=accel, confined=confined,
                                      detail=detail, backend=backend))
        for i, b in enumerate((
                lambda ch: ch.send(LAUNCH_EVENT, ev(kind=0)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(kind=8)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(reason=11)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(rung=5)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(accel=3)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(backend=BACKENDS)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(u=0)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(pid=2**31)),
                lambda ch: ch.send(LAUNCH_EVENT, ev(
                    confined=launch_confined(verified=2))),
                lambda ch: ch.send(LAUNCH_EVENT, ev(detail=b"x" * 128)),
                lambda ch: ch.send(LAUNCH_EVENT, ev()[:-1]),
                lambda ch: ch.send(LAUNCH_EVENT, ev(), 0, [0]),
                lambda ch: l.launch.held(uid, LV_GONE, 0, 1),  # nobody asked
                lambda ch: ch.send(LAUNCH_LIST_END, bytes(8)),
                lambda ch: ch.send(LAUNCH_ERR, bytes(launch_err(vm=uid, code=5))),
                lambda ch: ch.send(LAUNCH_CAPS, bytes(launch_caps(accel=3))),
                lambda ch: ch.send(LAUNCH_CAPS, bytes(launch_caps(microvm=2))),
                lambda ch: ch.send(LAUNCH_CAPS, bytes(
                    launch_caps(accel=1, why=b"x" * 112))),
                lambda ch: ch.send(LAUNCH_START, bytes(32)))):
            try:
                refused(l, ROOM_LAUNCHD, b)
            except AssertionError as e:
                raise AssertionError("hostile message %d: %s" % (i, e)) from e
        send = l.launch.chan.send
        for u in (stopped, 0x77):  # what no one wants, what no one knows
            for kind in range(1, 7):
                send(LAUNCH_EVENT, ev(u=u, kind=kind, pid=9))
        l.settle()
        eq(l.state(c, "s"), "stopped")
        n = len(l.events(l.client(l.user)))
        for _ in range(2000):  # a flood of news that is none
            send(LAUNCH_EVENT, ev(kind=LE_READY))
            send(LAUNCH_EVENT, ev(pid=5001))
        l.settle()
        eq(len(l.events(l.client(l.user))), n)
        send(LAUNCH_EVENT, ev(confined=launch_confined(
            verified=1, cgroup=1, threads=9, filters=2**32 - 1, uid=1),
            pid=2**31 - 1))
        l.settle()
        eq(l.get(c, "a").vm()["status"], "running")


def words_of_helpers():
    """What a helper says reaches a reader as one clean line: apid's tables
    refuse anything else, and the whole list with it."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        l.launch.exit(uid, EXIT_VMM_ERROR, b"\x1b]0;x\x07\n\xff" + b"\xc3\xa9" * 40)
        l.await_state(c, "a", "crashed")
        eq(len(l.vms(c)), 1)
        assert l.get(c, "a").vm()["reason"].startswith("hypervisor error: ?]0;x")
        l.events(l.client(l.user))


if __name__ == "__main__":
    run(__file__, helper_errors, twice_and_late, never_answered, other_lists,
        host_restarts, ended_before_list, ending_in_list, gone_meanwhile, unread, watchdog,
        answers_for_another, hostile_netd, hostile_launchd,
        words_of_helpers)
