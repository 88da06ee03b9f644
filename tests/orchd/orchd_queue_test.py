#!/usr/bin/env python3
"""orchd alone: requests for a VM's streams that wait for one (orchd/vm/queue.h).

usage: orchd_queue_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd
"""
import contextlib
import time

from peers import *  # noqa: F403

ALL = 64  # streams of a VM
MINE = ALL - 2 * 4  # that one of two users may have: both admins' are kept
WAIT_S = 30
KEPT = []


def asks(l, uid, name="a", kind=STREAM_EXEC):
    c = l.client(uid)
    KEPT.append(c)
    return c, l.ask(c, STREAM, name, kind=kind)


def opens(l, uid, n, name="a"):
    """n streams, all of them given; every other is a log."""
    got = [asks(l, uid, name, STREAM_CONSOLE_LOG if i % 2 else STREAM_EXEC)
           for i in range(n)]
    for c, rid in got:
        eq(l.answer(rid).status, 101)
    return [c for c, _ in got]


def close(l, c):
    c.sock.close()
    l.until(lambda: c.id in l.gone, "API_GONE")


def recorded(l, root):
    """Rows of the trail."""
    r = l.call(root, API_AUDIT, doc=tables.pack("AuditQuery", after=1 << 40))
    return sum(h["last"] for h in tables.unpack("AuditPage", r.tail)["heads"])


def waiting(l, rids):
    l.settle(0.05)
    return [r for r in rids if r not in l.res]


@contextlib.contextmanager
def full(**kw):
    """A VM whose streams are all that a user may have."""
    with up(max_conns=1000, **kw) as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        n = MINE if l.conf["nusers"] == 1 else MINE - 8
        yield l, root, opens(l, l.user, n)


def in_turn():
    """Who waits gets what becomes free, first come first served, whatever
    ends: commands, consoles, logs, by hang-up or by apid."""
    with full() as (l, root, mine):
        rids = []
        for kind in (STREAM_EXEC, STREAM_CONSOLE, STREAM_CONSOLE_LOG,
                     STREAM_EXEC):
            n = recorded(l, root)
            rids.append(asks(l, l.user, kind=kind)[1])
            # it stands in line from when the trail has it; a log is not there
            if kind != STREAM_CONSOLE_LOG:
                l.until(lambda n=n: recorded(l, root) > n, "its row")
            l.settle(0.02)
        eq(waiting(l, rids), rids)
        for i in range(3):
            if i == 2:
                l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=mine[i].id)))
            else:
                close(l, mine[i])
            eq(l.answer(rids[i]).status, 101)
            eq(waiting(l, rids), rids[i + 1:])
        # what came of it counts as any other
        close(l, mine[3])
        eq(l.answer(rids[3]).status, 101)
        _, last = asks(l, l.user)
        eq(waiting(l, [last]), [last])
        # what ends at once waits for nobody
        eq(l.call(l.client(l.user), STREAM, "a", kind=STREAM_SIGNAL).status, 101)
        # nor does another VM
        eq(l.create(root, "b").status, 201)
        opens(l, l.user, 1, "b")


def goes():
    """Who goes leaves nothing, and takes no turn."""
    with full() as (l, root, mine):
        got = [asks(l, l.user) for _ in range(4)]
        rids = [r for _, r in got]
        eq(waiting(l, rids), rids)
        close(l, got[0][0])
        l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=got[1][0].id)))
        l.until(got[1][0].hung_up, "hang-up")
        close(l, mine[0])
        eq(l.answer(rids[2]).status, 101)
        eq(waiting(l, rids), [rids[0], rids[1], rids[3]])
        close(l, got[3][0])
        close(l, mine[1])
        opens(l, l.user, 1)
        # nor do their places stay taken
        got = [asks(l, l.user) for _ in range(112)]
        l.settle(0.1)
        for c, _ in got:
            c.sock.close()
        l.until(lambda: all(c.id in l.gone for c, _ in got), "ends")
        # with an apid all of its own
        more = [asks(l, l.user)[1] for _ in range(5)]
        eq(waiting(l, more), more)
        l.api[ROOM_API].close()
        l.until(lambda: l.ended, "BOOT_ENDED")
        l.api.pop(ROOM_API)
        l.plumb(ROOM_API)
        opens(l, l.user, MINE)


def others():
    """A queue full of one user's keeps nobody from his turn."""
    with full(nusers=2) as (l, root, mine):
        other = l.user - 1
        rids = [asks(l, l.user)[1] for _ in range(30)]
        eq(waiting(l, rids), rids)
        opens(l, other, 8)  # kept for him
        late = asks(l, other)[1]
        opens(l, 0, 4)
        admin = asks(l, 0)[1]
        eq(waiting(l, [late, admin]), [late, admin])
        close(l, mine[0])
        eq(l.answer(admin).status, 101)
        close(l, mine[1])
        eq(l.answer(late).status, 101)
        eq(waiting(l, rids), rids)
        close(l, mine[2])
        eq(l.answer(rids[0]).status, 101)


def bounded():
    """No more of them than their places, and those have shares as well."""
    with full() as (l, root, mine):
        got = [asks(l, l.user) for _ in range(115)]
        rids = [r for _, r in got]
        l.settle(0.2)
        done = [r for r in rids if r in l.res]
        eq(done, rids[112:])
        for word in ("too many requests wait for a stream of this vm",
                     "your user has 112", "at most 128",
                     "end a command or console of yours, or try again later"):
            assert word in l.res[done[0]].error(), l.res[done[0]]
        eq(l.res[done[0]].status, 503)
        # what waits for the VM itself has other places
        eq(l.call(l.client(l.user), STOP, "a").status, 200)
        for r in rids[:112]:
            eq((l.answer(r).status, l.res[r].error()), (409, "vm not running"))
        eq(l.call(root, START, "a").status, 200)
        l.until(lambda: l.get(root, "a").vm()["ready"], "ready")


def vm_ends():
    """They hear at once of an end of the VM that they wait for; a log that
    can be had all the same goes on waiting."""
    with full() as (l, root, mine):
        got = [asks(l, l.user, kind=k)[1] for k in (STREAM_EXEC, STREAM_CONSOLE,
                                                     STREAM_CONSOLE_LOG)]
        eq(waiting(l, got), got)
        eq(l.call(root, STOP, "a").status, 200)
        for r in got[:2]:
            eq((l.answer(r).status, l.res[r].error()), (409, "vm not running"))
        eq(waiting(l, got), got[2:])
        eq(l.call(root, DELETE, "a").status, 204)
        eq((l.answer(got[2]).status, l.res[got[2]].error()),
           (409, "vm a was deleted meanwhile"))


def no_launcher():
    """Who waits already waits for a launchd that restarts, too; a log is not
    its VM's to give."""
    with full() as (l, root, mine):
        rids = [asks(l, l.user)[1] for _ in range(2)]
        eq(waiting(l, rids), rids)
        l.launch.chan.close()
        l.until(lambda: l.ended, "BOOT_ENDED")
        close(l, mine[0])
        eq(waiting(l, rids), rids)
        l.plumb(ROOM_LAUNCHD)
        eq(l.answer(rids[0]).status, 101)
        eq(waiting(l, rids), rids[1:])


def late():
    """The time is over: said with the numbers, and nothing is left."""
    with full() as (l, root, mine):
        rid = asks(l, l.user)[1]
        began = time.monotonic()
        time.sleep(1)
        second = asks(l, l.user)[1]
        eq(waiting(l, [rid, second]), [rid, second])
        r = l.answer(rid, WAIT_S + 5)
        took = time.monotonic() - began
        assert WAIT_S - 0.5 < took < WAIT_S + 3, took
        eq(r.status, 503)
        for word in ("too many streams of this vm are open", "your user has 56",
                     "at most 64", "none ended within 30 s",
                     "end a command or console of yours, or try again later"):
            assert word in r.error(), r
        assert second not in l.res
        close(l, mine[0])
        eq(l.answer(second).status, 101)


if __name__ == "__main__":
    run(__file__, in_turn, goes, others, bounded, vm_ends, no_launcher, late)
