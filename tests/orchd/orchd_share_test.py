#!/usr/bin/env python3
"""orchd alone: what callers share, and what of it nobody takes from another
(docs/operations.md, "What callers share").

usage: orchd_share_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import select

from orchd_callers_test import busy
from orchd_tenant_test import group, make, user
from peers import *  # noqa: F403

ALL = 64  # streams of a VM, and requests that wait for one
SIGNALS = 8  # beside them
KEPT = []  # sockets that nobody closes meanwhile


def up(**kw):
    """What the one before kept goes: there are only so many descriptors."""
    KEPT.clear()
    return Peers(**kw).start()


def of_uid(l, uid):
    return [i for i, (u, _) in l.callers.items()
            if u == uid and i not in l.gone]


def readable(s):
    """Also of a descriptor that select(2) has no bit for."""
    p = select.poll()
    p.register(s, select.POLLIN)
    return bool(p.poll(0))


def crowd(l, uid, n, groups=()):
    """n silent connections; those that were refused, with their words."""
    before = len(of_uid(l, uid))
    socks = [l.connect(uid, groups) for _ in range(n)]
    KEPT.extend(socks)
    l.settle(0.1)
    refused = []
    for s in socks:
        if readable(s):
            refused.append(s.recv(1024, socket.MSG_PEEK).decode())
    eq(len(of_uid(l, uid)) - before + len(refused), n)
    return socks, refused


def strangers():
    """However many connect, whoever is listed has the rest to himself."""
    with up(max_conns=100) as l:
        a, said = crowd(l, l.stranger, 50)
        eq(len(of_uid(l, l.stranger)), 6)
        for word in ("not listed in mews.conf", "has 6", "at most 12",
                     "close some or try again"):
            assert word in said[0], said[0]
        b, _ = crowd(l, l.stranger + 2, 50)
        eq(len(of_uid(l, l.stranger + 2)), 3)
        assert all(role == ROLE_NONE for _, role in l.callers.values())
        for uid, role in ((0, ROLE_ADMIN), (l.admin, ROLE_ADMIN),
                          (l.user, ROLE_USER)):
            c = l.client(uid)
            eq(l.callers[c.id], (uid, role))
            eq(l.call(c, LIST, doc=vm_query()).status, 200)
        # who is refused is told, whatever strangers do
        cs, said = crowd(l, l.user, 100)
        assert said, "no end"
        busy(cs[-1])
        for s in a:
            s.close()
        l.settle(0.1)
        eq(l.call(l.client(l.stranger), LIST, doc=vm_query()).status, 403)


def admins():
    """Users cannot take what is kept for root and admins, one of those not
    what is kept for another, and none of them what is kept for a user."""
    with up(max_conns=100) as l:  # 88: 22 of them the user's, 5 each admin's
        _, said = crowd(l, l.user, 100)
        eq(len(of_uid(l, l.user)), 78)
        for word in ("your user has 78", "at most 88", "max_connections",
                     "close some or try again"):
            assert word in said[0], said[0]
        crowd(l, 0, 10)
        eq(len(of_uid(l, 0)), 5)
        eq(l.call(l.client(l.admin), LIST, doc=vm_query()).status, 200)
    with up(max_conns=100) as l:
        crowd(l, 0, 100)
        eq(len(of_uid(l, 0)), 61)
        crowd(l, l.user, 30)
        eq(len(of_uid(l, l.user)), 22)


def users():
    """Two users who take all they get leave a third what is kept for him."""
    with up(max_conns=100, nusers=3) as l:
        first, _ = crowd(l, l.user, 100)
        crowd(l, l.user - 1, 100)
        eq((len(of_uid(l, l.user)), len(of_uid(l, l.user - 1))), (64, 7))
        crowd(l, l.user - 2, 20)
        eq(len(of_uid(l, l.user - 2)), 7)
        for s in first:
            s.close()
        l.until(lambda: not of_uid(l, l.user), "end of his connections")
        eq(l.call(l.client(l.user - 2), LIST, doc=vm_query()).status, 200)


GROUP = 4712


def tenants():
    """However many are in a tenant, and whatever the users of mews.conf take, a
    member of another has connections, and logs."""
    with up(max_conns=100) as l:  # 88: 22 of them the user's, 5 each admin's
        one, many = l.uids + 100, range(l.uids + 101, l.uids + 109)
        eq(make(l, "a", group(GROUP, "operator")).status, 201)
        eq(make(l, "b", user(one, "operator")).status, 201)
        took = 0
        for uid in many:
            _, said = crowd(l, uid, 20, [GROUP])
            took += len(of_uid(l, uid))
        crowd(l, l.user, 100)
        listed = len(of_uid(l, l.user))
        crowd(l, one, 20)
        mine = len(of_uid(l, one))
        assert mine >= 4, "%d of a, %d listed: %d are left to b" % (
            took, listed, mine)
        eq((took, listed, mine), (28, 22 + 10, 6))
        assert "your tenant" in said[0], said[0]
        crowd(l, 0, 10)
        assert len(of_uid(l, 0)) >= 5


def fewest():
    """RULE TENANT_FEWEST: who lists another's people in his own crowded tenant takes
    nothing from them."""
    with up(max_conns=100) as l:
        one, many = l.uids + 100, range(l.uids + 101, l.uids + 109)
        eq(make(l, "a", group(GROUP, "operator"), user(one, "viewer")).status,
           201)
        eq(make(l, "b", user(one, "operator")).status, 201)
        for uid in many:
            crowd(l, uid, 20, [GROUP])
        crowd(l, one, 20)
        assert len(of_uid(l, one)) >= 6, len(of_uid(l, one))


def stream(l, uid, kind=STREAM_EXEC):
    c = l.client(uid)
    KEPT.append(c)
    return c, l.call(c, STREAM, "a", kind=kind)


def waits(l, uid, kind=STREAM_EXEC):
    """A request for a stream that is not answered now."""
    c = l.client(uid)
    KEPT.append(c)
    rid = l.ask(c, STREAM, "a", kind=kind)
    l.settle(0.05)
    return c, rid, rid not in l.res


def streams():
    """One caller does not hold all streams of a VM, and gives back what he
    had when his connections end."""
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        mine = []
        while True:
            c, rid, is_waiting = waits(l, l.user, STREAM_EXEC if len(mine) % 2
                                       else STREAM_CONSOLE_LOG)
            if is_waiting:
                break
            eq(l.res[rid].status, 101)
            mine.append(c)
            assert len(mine) < ALL, "no end"
        eq(len(mine), ALL - 2 * 4)
        for uid in (0, l.admin):
            for _ in range(4):
                eq(stream(l, uid)[1].status, 101)
            c, _, is_waiting = waits(l, uid)
            assert is_waiting
            c.sock.close()
        mine[0].sock.close()
        l.until(lambda: mine[0].id in l.gone, "API_GONE")
        eq(l.answer(rid).status, 101)
        l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=mine[1].id)))
        l.until(mine[1].hung_up, "hang-up")
        eq(stream(l, l.user)[1].status, 101)
        c, _, is_waiting = waits(l, l.user)
        assert is_waiting
        c.sock.close()
        # another VM has its own
        eq(l.create(root, "b").status, 201)
        eq(l.call(l.client(l.user), STREAM, "b", kind=STREAM_EXEC).status, 101)
        # a VM that goes with its streams; they end afterwards
        eq(l.call(root, DELETE, "a").status, 204)
        for c in mine:
            c.sock.close()
        l.settle(0.1)
        eq(l.create(root, "a").status, 201)
        eq(stream(l, l.user)[1].status, 101)


def signals():
    """They are none of the streams, have shares of their own, and are given
    back by whatever ends them."""
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        mine = [stream(l, l.user, STREAM_SIGNAL) for _ in range(SIGNALS + 4)]
        eq([r.status for _, r in mine], [101] * 6 + [503] * 6)
        for word in ("too many signals to this vm are under way",
                     "your user has 6", "at most 8", "wait for their answers"):
            assert word in mine[-1][1].error(), mine[-1][1]
        for uid in (0, l.admin):
            eq(stream(l, uid, STREAM_SIGNAL)[1].status, 101)
            eq(stream(l, uid, STREAM_SIGNAL)[1].status, 503)
        # all of them, and not one of the streams
        got = [stream(l, l.user)[1].status for _ in range(ALL - 2 * 4)]
        eq(got, [101] * len(got))
        assert waits(l, l.user)[2]
        # nor do streams take a place of theirs, nor give one back
        eq(stream(l, l.user, STREAM_SIGNAL)[1].status, 503)
        mine[0][0].sock.close()
        l.until(lambda: mine[0][0].id in l.gone, "API_GONE")
        l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=mine[1][0].id)))
        l.until(mine[1][0].hung_up, "hang-up")
        got = [stream(l, l.user, STREAM_SIGNAL)[1].status for _ in range(3)]
        eq(got, [101, 101, 503])
        # what could not be given away
        mine = [c for c, _ in mine[2:]]
        for c in mine:
            c.sock.close()
        l.until(lambda: all(c.id in l.gone for c in mine), "their ends")
        l.launch.chan.close()
        l.until(lambda: l.ended, "BOOT_ENDED")
        for _ in range(SIGNALS + 1):
            r = stream(l, l.user, STREAM_SIGNAL)[1]
            eq(r.status, 503)
            assert "too many" not in r.error(), r


def logs():
    """Logs are read of all VMs out of one number of places: a user who follows
    many of several VMs leaves the admins theirs, and gives back what he had,
    also of a VM that is gone."""
    with up() as l:
        root = l.client()
        for name in "abc":
            eq(l.create(root, name).status, 201)

        def log(uid, name, kind=STREAM_CONSOLE_LOG):
            c = l.client(uid)
            KEPT.append(c)
            return c, l.call(c, STREAM, name, kind=kind, flags=STREAM_FOLLOW)
        mine = []
        while True:
            c, r = log(l.user, "abc"[len(mine) % 3],
                       (STREAM_CONSOLE_LOG, STREAM_VMM_LOG)[len(mine) % 2])
            if r.status != 101:
                break
            mine.append(c)
            assert len(mine) < LOGS_MAX, "no end"
        eq((len(mine), r.status), (LOGS_MAX - 2 * 4, 503))
        for word in ("too many logs of vms are being read", "your user has 56",
                     "at most 64", "end a log that you follow"):
            assert word in r.error(), r.error()
        for uid in (0, l.admin):
            eq([log(uid, "a")[1].status for _ in range(5)], [101] * 4 + [503])
        # none of it is a place for a command
        eq(stream(l, l.user)[1].status, 101)
        mine[0].sock.close()
        l.until(lambda: mine[0].id in l.gone, "API_GONE")
        eq([log(l.user, "b")[1].status for _ in range(2)], [101, 503])
        eq(l.call(root, DELETE, "c").status, 204)
        of_c = mine[2::3]
        for c in of_c:
            c.sock.close()
        l.until(lambda: all(c.id in l.gone for c in of_c), "their ends")
        got = [log(l.user, "b")[1].status for _ in range(len(of_c) + 1)]
        eq(got, [101] * len(of_c) + [503])


def kept_ends():
    """A stream that is nobody's part any more is nobody's: an apid that keeps
    its end of one has nothing of it."""
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        before = len(os.listdir("/proc/%d/fd" % l.p.pid))
        for kind in (STREAM_EXEC, STREAM_CONSOLE, STREAM_CONSOLE_LOG,
                     STREAM_SIGNAL):
            for how in (CLOSED, "hang-up", "apid ends"):
                c, r = stream(l, l.user, kind)
                eq(r.status, 101)
                mine = socket.socket(fileno=r.fd)
                _, fd = l.until(lambda: l.launch.streams and
                                l.launch.streams.pop(), "LAUNCH_STREAM")
                theirs = socket.socket(fileno=fd)
                for x in (mine, theirs):
                    x.settimeout(2)
                mine.send(b"up")
                theirs.send(b"down")
                if how == CLOSED:
                    l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=c.id)))
                elif how == "hang-up":
                    c.sock.close()
                else:
                    l.api[ROOM_API].close()
                    l.until(lambda: l.ended, "BOOT_ENDED")
                    l.ended.clear()
                    l.api.pop(ROOM_API)
                    l.plumb(ROOM_API)
                # what was said is not lost, and nothing follows it
                eq((theirs.recv(9), theirs.recv(9)), (b"up", b""))
                for x in (mine, theirs):
                    try:
                        x.send(b"x")
                    except BrokenPipeError:
                        continue
                    raise AssertionError("%s: kept after %s" % (kind, how))
                mine.close()
                theirs.close()
        l.settle(0.1)
        eq(len(os.listdir("/proc/%d/fd" % l.p.pid)), before)


SMALL = dict(max_conns=64, nofile=256 + 8 + 3 * 64)  # as mewsd gives it, of one VM


def fds_of(l):
    return len(os.listdir("/proc/%d/fd" % l.p.pid))


def deaf_apid():
    """The users' apid reads nothing more: orchd has descriptors all the same,
    and admins are served."""
    with up(**SMALL) as l:
        l.client()
        before = fds_of(l)
        deaf = l.api.pop(ROOM_API)
        for _ in range(900):
            l.connect(l.user).close()
        l.settle(0.1)
        more = fds_of(l) - before
        assert more <= 64, "%d descriptors more" % more
        s = l.connect(l.user)
        said = s.recv(1024).decode()
        assert "no room for this connection now" in said, said
        for uid in (0, l.admin):
            eq(l.call(l.client(uid), LIST, doc=vm_query()).status, 200)
        deaf.close()


def deaf_launcher():
    """Nor do streams that launchd does not read use them up."""
    with up(**SMALL) as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        before, refused = fds_of(l), None
        l.launch.chan, deaf = None, l.launch.chan
        for _ in range(700):
            c = l.client(l.user)
            r = l.call(c, STREAM, "a", kind=STREAM_EXEC)
            c.sock.close()
            l.conns.pop(c.id)[1].close()
            l.until(lambda: c.id in l.gone, "API_GONE")
            if r.status != 101:
                refused = r
                break
            os.close(r.fd)
        more = fds_of(l) - before
        assert refused and more <= 64, "%d descriptors more" % more
        assert "on their way to the launcher" in refused.error(), refused
        eq(l.call(l.client(l.admin), LIST, doc=vm_query()).status, 200)
        deaf.close()


def one_each():
    """A connection has one stream, as an honest apid asks for: what ends with
    it is never more than was counted."""
    with up() as l:
        eq(l.create(l.client(), "a").status, 201)
        c, r = stream(l, l.user)
        eq(r.status, 101)
        for kind in (STREAM_EXEC, STREAM_SIGNAL, STREAM_CONSOLE_LOG):
            r = l.call(c, STREAM, "a", kind=kind)
            eq((r.status, r.error()),
               (409, "this connection has a stream already"))


def waiting():
    """Requests of one user that wait for a VM do not keep root from it."""
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        held = held_up(l, l.launch, LAUNCH_STOP)
        asked = []
        for _ in range(ALL):
            KEPT.append(l.client(l.user))
            asked.append(l.ask(KEPT[-1], STOP, "a"))
        l.settle(0.1)
        done = [l.res[i] for i in asked if i in l.res]
        eq([r.status for r in done], [503] * 8)
        for word in ("requests wait for this vm", "your user has 56",
                     "at most 64", "wait for their answers"):
            assert word in done[0].error(), done[0].error()
        late = l.ask(root, STOP, "a")
        l.settle(0.1)
        assert late not in l.res, l.res[late]
        let_go(l.launch, held)
        eq(l.answer(late).status, 200)
        eq([l.answer(i).status for i in asked].count(200), 56)
        # and all of it was given back
        eq(l.call(l.client(l.user), STOP, "a").status, 200)


if __name__ == "__main__":
    run(__file__, strangers, admins, users, tenants, fewest, streams, signals, logs, kept_ends,
        deaf_apid, deaf_launcher, one_each, waiting)
