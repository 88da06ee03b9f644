#!/usr/bin/env python3
"""orchd alone: VMs that run and that its store, an older one that was put back, does
not know.  They are kept until a host admin adopts or ends them, or their time is
over; what does not run goes at once.

usage: orchd_orphans_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import os
import shutil

from orchd_failing_test import TEST_BUILD, Locked
from orchd_full_test import fill, small
from peers import *  # noqa: F403

O_LIST, O_ADOPT, O_DELETE = (API_ORPHAN_LIST, API_ORPHAN_ADOPT, API_ORPHAN_DELETE)
LONG = 3600 * 1000


def hexid(uid):
    return "%016x" % uid


def orphans(l, c=None):
    r = l.call(c or l.client(), O_LIST)
    eq(r.status, 200)
    return {o["uid"]: o for o in doc_list(
        r.tail, lambda b: clean(tables.unpack("Orphan", b)))}


def root(l):
    """A host admin, who stays for his answer."""
    l.root_is = l.client()
    return l.root_is


def adopt(l, uid, name, key="", c=None, tenant=""):
    return l.ask(c or root(l), O_ADOPT, hexid(uid), key=key, tenant=tenant,
                 doc=tables.pack("OrphanAdopt", name=name))


def drop(l, uid, key="", c=None):
    return l.ask(c or root(l), O_DELETE, hexid(uid), key=key)


def save(l):
    """The store as it is now, orchd having ended."""
    shutil.copytree(l.store, l.root + "/saved", dirs_exist_ok=True)


def restore(l, **kw):
    """That one is put back, as docs/operations.md says."""
    l.kill()
    for name in os.listdir(l.store):
        os.unlink(os.path.join(l.store, name))
    for name in os.listdir(l.root + "/saved"):
        to = shutil.copy(os.path.join(l.root, "saved", name), l.store)
        os.chown(to, l.uid, l.uid)
    return l.start(**kw)


def with_orphan(names=("new",), before=("old",), orphan_ms=LONG, **kw):
    """A suite whose store is older than these VMs, which run."""
    l = Peers(orphan_ms=orphan_ms, **kw)
    l.start()
    c = l.client(l.user)
    for n in before:
        eq(l.create(c, n).status, 201)
    l.settle()
    l.kill()
    save(l)
    l.start()
    c = l.client(l.user)
    l.uid_of = {n: l.create(c, n).vm()["uid"] for n in names}
    l.view_of = {n: l.get(c, n).vm() for n in names}
    l.settle()
    restore(l)
    l.until(lambda: l.call(l.client(), O_LIST).status == 200, "both lists")
    return l


def told(l, kind, where=None):
    return [m for m in (where or l.launch).log if m[0] == kind]


def kept():
    with with_orphan() as l:
        uid, was = l.uid_of["new"], l.view_of["new"]
        l.settle()
        found = orphans(l)
        eq(list(found), [uid])
        o = found[uid]
        eq((o["uid"], o["status"], o["pid"], o["ip_address"], o["mac_address"],
            o["cpu_cores"], o["memory_mb"], o["reason"]),
           (uid, "running", was["pid"], was["ip_address"], was["mac_address"],
            2, 256, ""))
        eq(o["ends_at"] - o["found_at"], LONG * 10**6)
        assert "runs, and is not in the store" in l.log()
        # nobody but a host admin hears of it
        c = l.client(l.user)
        eq([v["name"] for v in l.vms(c)], ["old"])
        for name in ("new", hexid(uid)):
            eq(l.get(c, name).status, 404)
            eq(l.get(l.client(), name).status, 404)
        for rid in (l.ask(c, O_LIST), adopt(l, uid, "mine", c=c), drop(l, uid, c=c)):
            eq(l.answer(rid).status, 403)
        for who, n in ((c, 0), (l.client(), 1)):
            got = [d for d in doc_list(l.call(who, DOCTOR).tail, check_view)
                   if d[0] == "orphans"]
            eq(len(got), n)
        # what it has is not given to another, its name is
        r = l.create(c, "new")
        eq(r.status, 201)
        v = r.vm()
        assert v["ip_address"] != was["ip_address"], v
        assert l.launch.vms[v["uid"]][1] != l.launch.vms[uid][1]
        eq(l.call(c, DELETE, "new").status, 204)
        # its tap is made good, and again with a new netd
        def goods():
            return [m for m in told(l, NET_TAP_OPEN, l.net)
                    if net_tap.of(m[2]).vm == uid and
                    net_tap.of(m[2]).flags == NET_ADOPT]
        n = len(goods())
        assert n
        for room, chan in ((ROOM_NETD, l.net), (ROOM_LAUNCHD, l.launch)):
            chan.chan.close()
            l.settle()
            eq(l.call(l.client(), O_LIST).status, 503)
            eq(l.answer(drop(l, 0x1234)).status, 503)
            l.plumb(room)
            l.until(lambda: l.call(l.client(), O_LIST).status == 200, "lists")
        assert len(goods()) > n
        eq(list(orphans(l)), [uid])
        l.restart()
        l.until(lambda: l.call(l.client(), O_LIST).status == 200, "both lists")
        eq(list(orphans(l)), [uid])
        eq(told(l, LAUNCH_FORGET)[1:], [])
        assert uid in l.launch.vms and uid in l.net.taps and uid in l.launch.kept
        eq(l.launch.starts[uid], 1)


def adopted():
    with with_orphan(("new", "other")) as l:
        uid, was = l.uid_of["new"], l.view_of["new"]
        last = len(l.events(l.client(l.user)))
        eq(l.answer(adopt(l, uid, "old")).status, 409)
        eq(l.answer(adopt(l, 0x1234, "x")).status, 404)
        r = l.answer(adopt(l, uid, "back", key="k"))
        eq(r.status, 200)
        v = r.vm()
        eq((v["uid"], v["name"], v["status"], v["adopted"], v["tenant"],
            v["cpu_cores"], v["memory_mb"], v["pid"], v["kernel_cmdline"]),
           (uid, "back", "running", True, "default", 2, 256, was["pid"], ""))
        for f in "ip_address", "mac_address":
            eq(v[f], was[f])
        # its retry is told how it is, another use is another request
        eq(l.answer(adopt(l, uid, "back", key="k")).vm()["uid"], uid)
        eq(l.answer(adopt(l, uid, "more", key="k")).status, 422)
        eq(l.answer(adopt(l, uid, "again")).status, 404)
        eq(list(orphans(l)), [l.uid_of["other"]])
        e = [(e["type"], e["name"]) for e in l.events(l.client(l.user))[last:]]
        eq(e, [("VM_CREATED", "back"), ("VM_READY", "back")])
        # it is one like any other from now on
        c = l.client(l.user)
        l.restart()
        c = l.client(l.user)
        l.await_state(c, "back", "running")
        eq(l.get(c, "back").vm()["adopted"], True)
        eq(l.launch.starts[uid], 1)
        eq(l.call(c, STOP, "back").status, 200)
        eq(l.call(c, START, "back").status, 200)
        eq(l.get(c, "back").vm()["ip_address"], was["ip_address"])
        assert b'"hostname":"back"' in l.launch.specs[uid]
        eq(l.call(c, DELETE, "back").status, 204)
        eq(l.answer(drop(l, l.uid_of["other"])).status, 204)
        eq(l.leaks(c), [])


def quotas():
    """It is charged, and so refused where it does not fit; what is refused leaves
    it as it was."""
    with with_orphan() as l:
        uid = l.uid_of["new"]
        eq(l.call(root(l), API_TENANT_CREATE, doc=tables.pack(
            "TenantCreate", name="small",
            quotas=dict(memory_mb=255, vms=0, cpus=0, operations=0, streams=0,
                        readers=0, requests=0))).status, 201)
        r = l.answer(adopt(l, uid, "a", tenant="small"))
        eq(r.status, 403)
        assert "memory" in r.error(), r
        eq(orphans(l)[uid]["reason"], "")
        eq(l.call(root(l), API_TENANT_CHANGE, "small", doc=tables.pack(
            "TenantChange", quotas=dict(memory_mb=256, vms=0, cpus=0,
                                        operations=0, streams=0, readers=0,
                                        requests=0))).status, 200)
        eq(l.answer(adopt(l, uid, "a", tenant="small")).vm()["tenant"], "small")
        t = tables.unpack("Tenant", l.call(root(l), API_TENANT_GET, "small").tail)
        eq((t["used"]["vms"], t["used"]["memory_mb"]), (1, 256))


def ended():
    with with_orphan() as l:
        uid = l.uid_of["new"]
        waiting = held_up(l, l.launch, LAUNCH_RELEASE)
        rid = drop(l, uid, key="k")
        l.until(lambda: waiting, "RELEASE")
        eq(orphans(l)[uid]["status"], "deleting")
        eq(l.answer(adopt(l, uid, "x")).status, 409)
        # an orchd that begins meanwhile knows of no wish; the retry repeats it
        l.kill()
        l.launch.hook = None
        l.start()
        l.until(lambda: l.call(l.client(), O_LIST).status == 200, "both lists")
        eq(list(orphans(l)), [uid])
        del rid
        eq(l.answer(drop(l, uid, key="k")).status, 204)
        eq(l.answer(drop(l, uid, key="k")).status, 204)
        eq(l.answer(drop(l, uid)).status, 404)
        c = l.client(l.user)
        eq(l.leaks(c), [])
        eq([e["name"] for e in l.events(l.client(l.user)) if e["name"] != "old"], [])


def in_time():
    with with_orphan(orphan_ms=1500) as l:
        uid = l.uid_of["new"]
        l.settle(0.5)
        assert uid in l.launch.vms
        l.until(lambda: uid not in l.launch.vms, "its end", 5)
        assert "nobody adopted it in time" in l.log()
        c = l.client(l.user)
        l.until(lambda: uid not in l.net.taps, "its tap's", 5)
        eq(l.leaks(c), [])
    with with_orphan(orphan_ms=0) as l:
        l.until(lambda: l.uid_of["new"] not in l.launch.vms, "its end", 5)
        l.until(lambda: l.uid_of["new"] not in l.net.taps, "its tap's", 5)
        eq(l.leaks(l.client(l.user)), [])


def remains():
    """What does not run is nobody's: a jail that ended, a tap, a folder."""
    with up(orphan_ms=LONG) as l:
        l.kill()
        l.launch.vms[0xa1] = [LV_GONE, 3, 0]
        l.launch.vms[0xa2] = [LV_GONE, 0xffff, 0]
        l.net.taps[0xa1] = (3, 0x0a4d0063, b"\2aaaaa")
        l.net.taps[0xa3] = (4, 0x0a4d0064, b"\2aaaab")
        l.launch.kept.add(0xa4)
        l.start()
        l.until(lambda: not l.launch.vms and not l.net.taps and
                not l.launch.kept, "their release")
        eq(orphans(l), {})
        # of one that is an orphan as well, when it ends
        l.kill()
        l.launch.vms[0xa5] = [LV_READY, 3, 77]
        l.net.taps[0xa5] = (3, 0x0a4d0063, b"\2aaaaa")
        l.start()
        l.until(lambda: l.call(l.client(), O_LIST).status == 200, "both lists")
        eq(list(orphans(l)), [0xa5])
        l.launch.exit(0xa5)
        l.until(lambda: not l.launch.vms and not l.net.taps, "its release")
        eq(orphans(l), {})


def unknown():
    """What launchd has not heard of yet, and one whose record cannot be read."""
    with up(orphan_ms=LONG) as l:
        l.kill()
        l.launch.vms[0xa1] = [LV_UNKNOWN, 3, 0]
        l.net.taps[0xa1] = (3, 0x0a4d0063, b"\2aaaaa")
        l.launch.vms[0xa2] = [LV_READY, 4, 77]  # its tap went
        l.start()
        l.until(lambda: l.call(l.client(), O_LIST).status == 200, "both lists")
        r = l.answer(adopt(l, 0xa1, "a"))
        eq(r.status, 503)
        assert "not heard of it yet" in r.error(), r
        r = l.answer(adopt(l, 0xa2, "b"))
        eq(r.status, 409)
        assert "its tap is not there" in r.error(), r
        l.launch.vms[0xa1][0] = LV_RUNNING
        l.launch.event(0xa1, LE_RUNNING, pid=88)
        l.settle()
        eq(l.answer(adopt(l, 0xa1, "a")).vm()["pid"], 88)
        eq(l.answer(drop(l, 0xa2)).status, 204)
        # more than can be: left alone, said, and nobody suffers
        l.kill()
        for i in range(1, 300):
            l.net.taps[0xb000 + i] = (i, 0x0a4d0100 + i,
                                      b"\2" + (0xb000 + i).to_bytes(5, "big"))
        l.start()
        l.until(lambda: len(l.net.taps) == 1, "their release")
        l.await_state(l.client(l.user), "a", "running")


def in_the_way():
    """A VM of the store whose place is taken: it does not start, and says why; it
    goes, or the orphan does."""
    l = Peers(orphan_ms=LONG)
    with l.start():
        c = l.client(l.user)
        eq(l.create(c, "old").status, 201)
        eq(l.call(c, STOP, "old").status, 200)
        l.settle()
        l.kill()
        save(l)
        l.start()
        c = l.client(l.user)
        eq(l.call(c, DELETE, "old").status, 204)
        uid = l.create(c, "new").vm()["uid"]
        l.settle()
        restore(l)
        l.until(lambda: l.call(l.client(), O_LIST).status == 200, "both lists")
        assert "vm old of tenant default has its slot" in orphans(l)[uid]["reason"]
        c = l.client(l.user)
        r = l.call(c, START, "old")
        eq(r.status, 409)
        assert "mews orphan rm " + hexid(uid) in r.error(), r
        eq(l.answer(adopt(l, uid, "new")).status, 409)
        eq(l.call(c, DELETE, "old").status, 204)
        eq(l.answer(adopt(l, uid, "new")).status, 200)
        eq(l.leaks(c), [])


def made_meanwhile():
    """Before helpers have told what they hold a VM is made, in the place of what
    nobody knows yet: it has another by the time that it starts."""
    l = Peers(orphan_ms=LONG)
    with l.start():
        r = l.create(l.client(l.user), "first").vm()
        l.settle()
        l.kill()
        slot, ip, mac = l.net.taps.pop(r["uid"])
        l.launch.vms.clear()
        l.net.taps[0xa1] = (slot, ip, mac)
        l.launch.vms[0xa1] = [LV_READY, slot, 77]
        for n in os.listdir(l.store):
            os.unlink(os.path.join(l.store, n))
        for kill in False, True:
            l.start(peers=False)
            l.until(lambda: l.ready, "BOOT_READY")
            l.plumb(ROOM_API)
            l.plumb(ROOM_ADMIN)
            l.boot.send(BOOT_LISTENER, fds=[os.dup(l.listener.fileno())])
            c = l.client(l.user)
            key = "k%d" % kill
            rid = l.ask(c, CREATE, key=key, doc=vm_create("first" if kill else "b"))
            l.settle(0.2)
            assert rid not in l.res
            if kill:  # it is in the store, in that place
                l.kill()
                l.start(peers=False)
                l.until(lambda: l.ready, "BOOT_READY")
                l.plumb(ROOM_API)
                l.plumb(ROOM_ADMIN)
                l.boot.send(BOOT_LISTENER, fds=[os.dup(l.listener.fileno())])
                c = l.client(l.user)
                rid = l.ask(c, CREATE, key=key, doc=vm_create("first"))
            l.plumb(ROOM_NETD)
            l.plumb(ROOM_LAUNCHD)
            v = l.answer(rid)
            eq(v.status, 201)
            v = v.vm()
            assert v["ip_address"] != r["ip_address"], v
            assert v["mac_address"] != r["mac_address"], v
            assert l.launch.vms[v["uid"]][1] != slot
            eq(list(orphans(l)), [0xa1])
            l.restart()
            l.await_state(l.client(l.user), v["name"], "running")
            eq(l.get(l.client(l.user), v["name"]).vm()["ip_address"], v["ip_address"])
            l.kill()
            if not kill:  # once more, with nothing but the orphan
                l.net.taps.pop(v["uid"])
                l.launch.vms.pop(v["uid"])
                for n in os.listdir(l.store):
                    os.unlink(os.path.join(l.store, n))


def not_kept():
    """An adoption that cannot be written: nothing of it is, and it is an orphan as
    before."""
    l = Peers(orphan_ms=LONG)
    with small(l):
        l.start()
        l.launch.vms[0xa1] = [LV_READY, 3, 77]
        l.net.taps[0xa1] = (3, 0x0a4d0063, b"\2aaaaa")
        l.restart()
        l.until(lambda: l.call(l.client(), O_LIST).status == 200, "both lists")
        c = l.client(l.user)
        fill(l)
        for i in range(500):  # what is left of the WAL serves some
            fill(l)
            r = l.create(c, "f%d" % i, env=["E=" + "x" * 30000])
            if r.status == 507:
                break
        eq(r.status, 507)
        for _ in range(2):
            r = l.answer(adopt(l, 0xa1, "a", key="k"))
            eq(r.status, 507)
            assert "not adopted" in r.error(), r
            eq(orphans(l)[0xa1]["reason"], "")
            eq(l.get(c, "a").status, 404)
        os.unlink(l.store + "/fill")
        # the reserve is made again with the next write
        l.until(lambda: l.create(c, "b").status in (201, 409), "room")
        eq(l.answer(adopt(l, 0xa1, "a", key="k")).status, 200)
        l.restart()
        l.await_state(l.client(l.user), "a", "running")
        eq(orphans(l), {})


def killed():
    """kill -9 at each boundary of an adoption and of an end: it is an orphan or it
    is adopted, and runs; it is an orphan or gone."""
    for what in "adopt", "end":
        for point in ((API_ORPHAN_ADOPT, 1, 2), (API_RES, 1, 1), (API_RES, 1, 2),
                      (LAUNCH_RELEASE, 1, 1), (LAUNCH_RELEASE, 1, 2),
                      (NET_TAP_CLOSE, 1, 2)):
            l = Peers(program=TEST_BUILD + "/mews-orchd", orphan_ms=LONG)
            with l.start():
                l.kill()
                l.launch.vms[0xa1] = [LV_READY, 3, 77]
                l.net.taps[0xa1] = (3, 0x0a4d0063, b"\2aaaaa")
                l.start(kill=point)
                ask = (lambda: adopt(l, 0xa1, "a", key="k")) if what == "adopt" \
                    else lambda: drop(l, 0xa1, key="k")
                try:
                    l.until(lambda: told(l, NET_ENSURE, l.net), "lists")
                    l.settle()
                    l.answer(ask(), 3)
                except Gone:
                    pass
                l.kill()
                assert what == "end" or (0xa1 in l.launch.vms and 0xa1 in l.net.taps)
                l.start()
                l.until(lambda: l.call(l.client(), O_LIST).status == 200, "lists")
                eq(l.answer(ask()).status, 200 if what == "adopt" else 204)
                c = l.client(l.user)
                eq(l.leaks(c), [])
                eq(orphans(l), {})
                eq(l.launch.starts, {})


if __name__ == "__main__":
    run(__file__, kept, adopted, quotas, ended, in_time, remains, unknown, in_the_way,
        made_meanwhile, not_kept, killed)
