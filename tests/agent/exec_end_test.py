#!/usr/bin/env python3
"""How execs end: by a signal, and when their client is gone."""
import sys
import time

from guest import Exec, call, run, run_booted

G = None
M = None


def start(text, **more):
    e = Exec(M, ["sh", "-c", text], **more)
    while b"up" not in e.out[1]:
        e.step()
    return e


def count(name):
    return int(run(M, "sh", "-c", "ps | grep -c '[0-9] root  *%s'; true" % name)[1])


def said(path):
    return run(M, "sh", "-c", "cat %s 2>/dev/null; true" % path)[1]


def wait(fn, what, deadline=15):
    end = time.monotonic() + deadline
    while not fn():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def t_healthz():
    assert call(M, "GET", "/healthz")[1]["signals"] is True


def t_term_then():
    """Without a terminal: SIGTERM, and time to do something about it."""
    e = start("trap 'echo bye; sleep 1; echo done >/tmp/term; exit' TERM; echo up;"
              "while :; do sleep 0.1; done")
    e.st.rst()
    wait(lambda: said("/tmp/term") == b"done\n", "no time was given")
    wait(lambda: count("sleep 0.1") == 0, "left behind")


def t_hup_of_terminal():
    e = start("trap 'echo bye; echo hup >/tmp/hup; exit' HUP;"
              "trap 'echo term >/tmp/hup; exit' TERM; echo up;"
              "while :; do sleep 0.1; done", tty=True, stdin=True)
    e.st.rst()
    wait(lambda: said("/tmp/hup") == b"hup\n", said("/tmp/hup"))


def t_kill_at_last():
    """What does not listen is killed, with what left its group."""
    e = start("trap '' TERM HUP; setsid sh -c \"trap '' TERM HUP; sleep 1111; sleep 3333\" &"
              " echo up; while :; do sleep 2222; done")
    wait(lambda: count("sleep 1111") == 1, "not started")
    begin = time.monotonic()
    e.st.rst()
    wait(lambda: count("sleep 1111") + count("sleep 2222") + count("sleep 3333") == 0,
         "still there", 20)
    assert time.monotonic() - begin > 3, "no grace"


def t_rest_goes_with_it():
    """The program's own end is the end of the grace for what it started."""
    e = start("(trap '' TERM; while :; do sleep 1212; done) & echo up; sleep 3434")
    e.st.rst()
    wait(lambda: count("sleep") == 0, "left behind", 4)


def t_stopped():
    e = start("trap 'echo cont >/tmp/stopped; exit' TERM; echo up;"
              "while :; do sleep 0.1; done")
    e.frame(5, bytes([19]))
    e.st.rst()
    wait(lambda: said("/tmp/stopped") == b"cont\n", "it stood")


def t_signals():
    for sig, want in ((15, 7), (1, 8), (10, 9)):
        e = start("trap 'exit 7' TERM; trap 'exit 8' HUP; trap 'exit 9' USR1; echo up;"
                  "while :; do sleep 0.1; done")
        e.frame(5, bytes([sig]))
        assert e.wait() == want, sig
    e = start("trap '' TERM; echo up; sleep 1000")
    e.frame(5, bytes([15]))
    e.frame(5, bytes([9]))
    assert e.wait() == 137
    wait(lambda: count("sleep 1000") == 0, "left behind")


def t_keys():
    """SIGINT goes to the foreground of a terminal, as its key does."""
    e = start("trap 'echo int' INT; echo up; sleep 1000; echo after; exit 5",
              tty=True, stdin=True)
    wait(lambda: count("sleep 1000") == 1, "not started")
    e.frame(5, bytes([2]))
    assert e.wait() == 5 and b"after" in e.out[1], e.out


def t_many_words():
    words = ["w%d" % i for i in range(10000)]
    code, out, _ = run(M, "sh", "-c", "echo $# ${10000}", "sh", *words)
    assert (code, out) == (0, b"10000 w9999\n"), (code, out)
    code, _, err = run(M, "true", "x" * 40000, "y" * 20000)
    assert code == 0, err


def t_nonsense():
    for bad in (b"\0", b"\x20", b"", b"\x0f\x0f"):
        e = start("echo up; sleep 1000")
        e.frame(5, bad)
        try:
            e.wait()
        except Exception:
            continue
        raise AssertionError(bad)
    wait(lambda: count("sleep 1000") == 0, "left behind")


CASES = [t_healthz, t_term_then, t_hup_of_terminal, t_kill_at_last, t_rest_goes_with_it,
         t_stopped, t_signals, t_keys, t_many_words,
         t_nonsense]


def begin(guest, mux):
    global G, M
    G, M = guest, mux


sys.exit(run_booted(CASES, begin, "end of exec: "))
