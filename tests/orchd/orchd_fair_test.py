#!/usr/bin/env python3
"""orchd alone: of a tenant that asks for much only its own things wait.

Time is counted, not measured: the played helpers do one thing a tick, and the
processors boot guests, all that run at once a part of each.

usage: orchd_fair_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import os

from orchd_tenant_test import change, drop, get, make, people, user
from peers import *  # noqa: F403

CPUS = len(os.sched_getaffinity(0))
STARTS = 3 * CPUS  # at once, of all
MANY = 200
RUNS, READY = 10, 30  # ticks of one processor


class Host:
    """What the helpers and the processors do, a tick at a time."""

    def __init__(self, l):
        self.l, self.ticks, self.boots = l, 0, {}
        self.queues = {l.net: [], l.launch: []}
        self.most = 0  # boots at a time
        self.slow()

    def slow(self):
        for helper, queue in self.queues.items():
            def hook(kind, ident, p, queue=queue):
                if kind in (NET_TAP_OPEN, NET_TAP_CLOSE, LAUNCH_START,
                            LAUNCH_STOP, LAUNCH_RELEASE):
                    queue.append((kind, ident, p))
                    return True
                return False
            helper.hook = hook
        self.l.launch.run = lambda uid: self.boots.update({uid: 0.0})

    def fast(self):
        """All at once, from now on."""
        for helper, queue in self.queues.items():
            helper.hook = None
            for m in queue:
                helper.act(*m)
            queue.clear()
        del self.l.launch.run
        for uid in list(self.boots):
            self.step(uid, READY)

    def step(self, uid, n):
        v = self.l.launch.vms.get(uid)
        was = self.boots[uid]
        self.boots[uid] += n
        if v is None or self.boots[uid] >= READY:
            del self.boots[uid]
        if v is not None and was < RUNS <= was + n:
            v[0] = LV_RUNNING
            self.l.launch.event(uid, LE_RUNNING, pid=v[2])
        if v is not None and was < READY <= was + n:
            v[0] = LV_READY
            self.l.launch.event(uid, LE_READY)

    def tick(self):
        self.l.settle(0.01)
        self.ticks += 1
        for helper, queue in self.queues.items():
            if queue:
                helper.act(*queue.pop(0))
        self.most = max(self.most, len(self.boots))
        for uid in list(self.boots):
            self.step(uid, min(1.0, CPUS / len(self.boots)))

    def until(self, done, most=2000):
        """Ticks till then."""
        first = self.ticks
        while not done():
            assert self.ticks - first < most, "%d ticks, and not done" % most
            self.tick()
            self.l.settle(0.01)
        return self.ticks - first


def wish(l, c, tenant, name):
    return l.ask(c, CREATE, doc=vm_create(name), tenant=tenant)


def storm(l, uid, tenant, n=MANY, first=0):
    """So many creates, whose callers do not wait."""
    for i in range(first, first + n):
        c = l.client(uid)
        wish(l, c, tenant, "s%d" % i)
        l.settle(0.002)
        l.api[c.room].send(CLOSED, bytes(api_conn(conn=c.id)))
        c.sock.close()


def ticks(l, host, uid, tenant, name):
    """That one create takes."""
    c = l.client(uid)
    rid = wish(l, c, tenant, name)
    n = host.until(lambda: rid in l.res)
    eq(l.res[rid].status, 201)
    return n


def statuses(l, tenant):
    c = l.client()
    got = doc_list(l.call(c, LIST, doc=vm_query(), tenant=tenant).tail, vm_view)
    return [v["status"] for v in got]


def two(l, **more):
    alice, bob, _ = people(l)
    eq(make(l, "a", user(alice, "operator"), **more).status, 201)
    eq(make(l, "b", user(bob, "operator")).status, 201)
    return alice, bob


def all_run(l, host, n):
    host.fast()
    l.until(lambda: len(l.launch.vms) == n and all(
        v[0] == LV_READY for v in l.launch.vms.values()), "all of them", 60)


def creates():
    """A storm of creates leaves another's its time, twice at most."""
    with up(max_vms=250, ready_ms=3600000) as l:
        alice, bob = two(l)
        host = Host(l)
        alone = ticks(l, host, bob, "b", "before")
        host.until(lambda: not host.boots)
        storm(l, alice, "a")
        for _ in range(20):  # it is in full swing
            host.tick()
        n = ticks(l, host, bob, "b", "meanwhile")
        print("create: %d ticks, alone %d; %d boots at once of %d starts" % (
            n, alone, host.most, STARTS))
        # each of its questions may come behind one that is under way
        assert n <= 2 * alone + 2, "%d ticks, alone %d" % (n, alone)
        assert host.most <= STARTS, host.most
        # and of the storm nothing is lost
        all_run(l, host, MANY + 2)
        eq(statuses(l, "a"), ["running"] * MANY)


def ends():
    """What ends something waits for no start, not even its own tenant's."""
    with up(max_vms=250, ready_ms=3600000) as l:
        alice, bob = two(l)
        host = Host(l)
        ticks(l, host, alice, "a", "old")
        ticks(l, host, bob, "b", "old")
        host.until(lambda: not host.boots)
        storm(l, alice, "a", 60)
        for _ in range(20):
            host.tick()
        for uid, tenant in ((alice, "a"), (bob, "b")):
            c = l.client(uid)
            rid = l.ask(c, DELETE, "old", tenant=tenant)
            n = host.until(lambda: rid in l.res)
            eq(l.res[rid].status, 204)
            assert n <= 8, n
        # those that wait for their turns go at once
        for i in range(40, 60):
            eq(l.call(l.client(alice), DELETE, "s%d" % i, tenant="a").status,
               204)
        all_run(l, host, 40)
        eq(get(l, "a")["used"]["vms"], 40)


def helper_back():
    """A netd that was replaced makes all taps good, one after the other; what ends a
    VM meanwhile waits for none of them."""
    with up(max_vms=250) as l:
        alice, _ = two(l)
        storm(l, alice, "a", 60)
        l.until(lambda: len(l.launch.vms) == 60 and all(
            v[0] == LV_READY for v in l.launch.vms.values()), "all of them", 60)
        l.settle()
        host = Host(l)
        l.net.chan.close()
        l.plumb(ROOM_NETD)
        for _ in range(3):
            host.tick()
        n = len(host.queues[l.net])
        assert n <= 4, "%d questions at once" % n
        c = l.client(alice)
        rid = l.ask(c, DELETE, "s59", tenant="a")
        n = host.until(lambda: rid in l.res)
        eq(l.res[rid].status, 204)
        print("delete beside 60 taps: %d ticks" % n)
        assert n <= 8, "%d ticks" % n
        all_run(l, host, 59)
        # and all are made good
        l.until(lambda: len([1 for k, _, p in l.net.log if k == NET_TAP_OPEN and
                             net_tap.of(p).flags & NET_ADOPT]) >= 59, "taps")


def weights():
    """Of two that want as much, the one that weighs more has more turns."""
    with up(max_vms=250, ready_ms=3600000) as l:
        alice, bob = two(l, weight=4)
        host = Host(l)
        storm(l, alice, "a", 80)
        storm(l, bob, "b", 80)
        for _ in range(900 // CPUS):
            host.tick()
        a = statuses(l, "a").count("running")
        b = statuses(l, "b").count("running")
        print("weight 4: %d run, weight 1: %d" % (a, b))
        assert 2 * b <= a <= 6 * b and b > 0, (a, b)
        eq(change(l, "a", weight=1).status, 200)
        all_run(l, host, 160)


def hosts():
    """What is kept for VMs of host admins nobody else has."""
    with up(max_vms=250, ready_ms=3600000, max_conns=1000) as l:
        alice, _ = two(l)
        for i in range(STARTS):
            eq(make(l, "t%d" % i, user(alice, "operator")).status, 201)
        host = Host(l)
        for i in range(STARTS):
            storm(l, alice, "t%d" % i, 4)
        for _ in range(20):
            host.tick()
        n = ticks(l, host, 0, "b", "roots")
        print("a host admin's: %d ticks" % n)
        boots = host.most
        all_run(l, host, STARTS * 4 + 1)
        assert boots == STARTS, "%d boots, %d starts" % (boots, STARTS)
        assert n <= 4 * RUNS, "a host admin's took %d ticks" % n


def waits_long():
    """Whoever waits for his turn longer than a start may take is told so."""
    with up(max_vms=250, ready_ms=10000) as l:
        alice, _ = two(l)
        boots = []
        l.launch.run = boots.append
        storm(l, alice, "a", 12)
        c = l.client(alice)
        rid = wish(l, c, "a", "last")
        r = l.answer(rid, 25)
        eq(r.status, 503)
        assert ("vm last is still pending: 12 starts of tenant a go before it; "
                "it goes on by itself") in r.error(), r
        del l.launch.run
        for uid in boots:
            l.launch.run(uid)
        l.until(lambda: len(l.launch.vms) == 13, "the rest")


def lives():
    """Neither a helper that dies nor orchd loses a turn, or a VM's charge."""
    with up(max_vms=250, ready_ms=3600000) as l:
        alice, bob = two(l, quotas={"vms": 60})
        host = Host(l)
        storm(l, alice, "a", 60)
        for i in range(30):
            host.tick()
            if i % 10 == 4:
                for queue in host.queues.values():
                    queue.clear()
                l.net.chan.close()
                l.plumb(ROOM_NETD)
            if i % 10 == 7:
                for queue in host.queues.values():
                    queue.clear()
                l.launch.chan.close()
                l.plumb(ROOM_LAUNCHD)
            if i % 10 == 9:
                for queue in host.queues.values():
                    queue.clear()
                l.restart()
                eq(get(l, "a")["used"]["vms"], 60)
        # a launcher that forgot a start, or the boot of one, is told again
        host.boots = {u: 0.0 for u, v in l.launch.vms.items()
                      if v[0] != LV_READY}
        all_run(l, host, 60)
        c = l.client(alice)
        eq(l.call(c, CREATE, doc=vm_create("more"), tenant="a").status, 403)
        eq(l.call(l.client(bob), CREATE, doc=vm_create("b"), tenant="b").status,
           201)
        l.settle()
        eq((len(l.launch.vms), len(l.net.taps)), (61, 61))
        eq(drop(l, "a", force=True).status, 204)
        l.settle()
        eq((len(l.launch.vms), len(l.net.taps)), (1, 1))
        eq(get(l, "b")["used"]["vms"], 1)


if __name__ == "__main__":
    run(__file__, creates, ends, helper_back, weights, hosts, waits_long, lives)
