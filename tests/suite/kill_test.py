#!/usr/bin/env python3
"""I7: no process is precious.  kill -9 of each room at the messages that
change something, the retry that a careful client makes, the leak check.
Every row there is: tests/suite/kill_matrix_long.py."""
import contextlib
import os
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kills as k  # noqa: E402
import suite  # noqa: E402

# room: message, nth, and when if not both
ROWS = {
    "orchd": [("API_VM_CREATE", 1), ("NET_TAP_OPEN", 1), ("NET_TAP_READY", 1),
              ("LAUNCH_ATTACH", 1), ("LAUNCH_START", 1), ("LAUNCH_EVENT", 1),
              ("API_RES", 1), ("API_VM_RENAME", 1), ("API_VM_DELETE", 1),
              ("LAUNCH_RELEASE", 2),
              ("NET_TAP_CLOSE", 2)],
    "apid-admin": [("API_VM_CREATE", 1), ("API_VM_RENAME", 1), ("API_RES", 1)],
    "netd": [("NET_TAP_OPEN", 1), ("NET_TAP_READY", 1), ("NET_TAP_CLOSE", 2)],
    "launchd": [("LAUNCH_START", 1), ("SPAWN_PREPARED", 1), ("KEEP_GO2", 1),
                ("WARD_RUN", 1), ("SPAWN_KILL", 1), ("SPAWN_RELEASE", 2)],
    "spawner": [("SPAWN_PREPARE", 1), ("SPAWN_PREPARED", 1), ("SPAWN_KILL", 1),
                ("SPAWN_RELEASE", 2)],
}
# real guests: a kernel boots, an agent answers, through the death
REAL = [("orchd", "NET_TAP_OPEN", k.BEFORE), ("orchd", "NET_TAP_OPEN", k.AFTER),
        ("netd", "NET_TAP_OPEN", k.AFTER), ("launchd", "SPAWN_PREPARE", k.AFTER),
        ("spawner", "SPAWN_PREPARED", k.BEFORE), ("apid-admin", "API_RES", k.AFTER),
        ("orchd", "LAUNCH_START", k.AFTER | k.HALT)]
# and everybody at once
ALL = [("orchd", "API_VM_CREATE"), ("orchd", "NET_TAP_READY"),
       ("launchd", "LAUNCH_START"), ("spawner", "SPAWN_PREPARED"),
       ("launchd", "KEEP_GO2"), ("orchd", "LAUNCH_RELEASE")]
TYPES = {name: typ for typ, name in k.NAMES.items()}
NUMBERS = {name: n for n, name in k.ROOMS.items()}


def report(prefix, results):
    bad = 0
    for res in results:
        name = prefix + k.title(res["row"])
        if res["error"]:
            bad = 1
            print("%s\n%s" % (res["error"], res.get("logs", "")))
        print("%s %s" % ("not ok" if res["error"] else "ok", name), flush=True)
    return bad


def spawners_take_turns():
    """The spawner of launchd's former life may still be at work: no launchd
    meets it, and both start anew when it is done."""
    s = suite.Suite(programs=k.BUILD, stage=k.STANDIN).start()
    s.wait_helpers()
    old = s.rooms()
    os.kill(old["spawner"], signal.SIGSTOP)
    os.kill(old["launchd"], signal.SIGKILL)
    suite.wait_for(lambda: "launchd (pid %d) ended" % old["launchd"]
                   in s.logs(), "end of launchd")
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        now = s.rooms()
        assert "launchd" not in now and now["spawner"] == old["spawner"], now
        select.select([], [], [], 0.02)
    os.kill(old["spawner"], signal.SIGCONT)
    s.wait_helpers()
    now = s.rooms()
    assert now["spawner"] != old["spawner"], now
    assert now["launchd"] != old["launchd"], now
    # and one that does not end is ended
    os.kill(now["spawner"], signal.SIGSTOP)
    os.kill(now["launchd"], signal.SIGKILL)
    suite.wait_for(lambda: "spawner: does not end: killed" in s.logs(),
                   "end of the spawner")
    s.wait_helpers()
    s.stop()


def main():
    if os.geteuid() != 0:
        print("skip kill: needs root for namespaces")
        return 0
    if sys.argv[1:]:
        suite.enter()
        return suite.run({"spawners take turns": spawners_take_turns})
    table = {(room, typ, when) for room, typ, _, when in k.table()}
    rows = [(NUMBERS[room], TYPES[name], nth, when)
            for room, wanted in ROWS.items() for name, nth in wanted
            for when in (k.BEFORE, k.AFTER)]
    unknown = [k.title(r) for r in rows
               if (r[0], r[1], r[3]) not in table]
    print("%s every row is in the table" % ("not ok" if unknown else "ok"))
    print(*unknown, sep="\n")
    bad = report("", k.run_rows(rows))
    bad |= report("", k.run_rows([(NUMBERS[room], TYPES[name], 1, k.AFTER | k.HALT)
                                  for room, name in ALL]))
    bad |= report("guest: ", k.run_rows(
        [(NUMBERS[room], TYPES[name], 1, when) for room, name, when in REAL],
        2, k.REAL))
    sys.stdout.flush()
    bad |= subprocess.run([sys.executable, __file__, "take turns"]).returncode
    return bad or bool(unknown)


sys.exit(main())
