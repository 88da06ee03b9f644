#!/usr/bin/env python3
"""The CLI against a stand-in for the API: who owns the terminal's mode, and
that it is as before on every way out."""
import contextlib
import os
import pty
import resource
import select
import signal
import termios
import threading
import time

from program import *  # noqa: F403

READY = b"here it is"


def is_raw(fd):
    lflag = termios.tcgetattr(fd)[3]
    return not lflag & (termios.ICANON | termios.ISIG | termios.ECHO)


def is_cooked(fd):
    lflag = termios.tcgetattr(fd)[3]
    want = termios.ICANON | termios.ISIG | termios.ECHO
    return lflag & want == want


def until(what, text):
    end = time.monotonic() + DEADLINE
    while not what():
        if time.monotonic() > end:
            raise Bad("never " + text)
        select.select([], [], [], 0.01)


def keys_handler(keys, ends=None):
    """A program that says READY and collects what is typed; Ctrl-C ends it
    with 130."""
    def script(ws, rq):
        ws.send(b"\x01" + READY)
        while True:
            m = ws.recv()
            if m is None or m[0] == 8:
                return
            if m[1][:1] == b"\x00":
                keys.append(m[1][1:])
            if m[1][:2] == b"\x00\x03" and (ends is None or ends(keys)):
                ws.status(130)
                ws.close()
                return
    return exec_handler(script)


def session(*args, keys=None, ends=None):
    """(setup, pid, fd) of a session whose program runs."""
    s = Setup(keys_handler([] if keys is None else keys, ends))
    pid, fd = in_terminal(s, ["exec", *args, "web", "sleep", "1000"])
    read_until(fd, READY)
    return s, pid, fd


@case
def raw_with_input_only():
    """-t without -i: the keys are this side's, and Ctrl-C is the guest's."""
    keys = []
    s, pid, fd = session("-t", keys=keys)
    with s:
        same(is_cooked(fd), True, "not raw")
        os.write(fd, b"\x03")
        same(wait_status(pid), 130)
        same(keys, [b"\x03"])
        os.close(fd)
    s, pid, fd = session("-it")
    with s:
        until(lambda: is_raw(fd), "raw")
        os.write(fd, b"\x03")
        same(wait_status(pid), 130)
        same(is_cooked(fd), True, "as before")
        os.close(fd)


@case
def terminal_for_what_is_used():
    """-t alone needs no terminal to read from."""
    with Setup(keys_handler([])) as s:
        for args, want in (("-t", READY), ("-it", b"-t needs a terminal")):
            sh, fd = shell(s)
            os.write(fd, ("%s exec %s web x </dev/null\n" % (
                MEWS, args)).encode())
            read_until(fd, want)
            os.write(fd, b"\x03exit\n")
            os.close(fd)
            os.waitpid(sh, 0)


@case
def interrupt_twice_gives_up():
    """A program that ignores Ctrl-C does not hold this side."""
    s, pid, fd = session("-t", ends=lambda keys: False)
    with s:
        os.write(fd, b"\x03")
        select.select([], [], [], 0.2)
        os.write(fd, b"\x03")
        same(wait_status(pid), 130)
        os.close(fd)


def floods(ws, rq):
    """Writes until Ctrl-C comes; then it ends with 42."""
    got = threading.Event()

    def read():
        with contextlib.suppress(OSError):
            while (m := ws.recv()) is not None and m[0] != 8:
                if m[1] == b"\x00\x03":
                    break
        got.set()
    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(OSError):
        while not got.is_set():
            ws.send(b"\x01" + READY * 5000)
        ws.status(42)
        ws.close()


@case
def interrupt_of_what_writes():
    """Ctrl-C is the program's also in the middle of its output."""
    with Setup(exec_handler(floods)) as s:
        pid, fd = in_terminal(s, ["exec", "-t", "web", "yes"])
        read_until(fd, READY)
        select.select([], [], [], 0.3)  # the terminal is full
        os.write(fd, b"\x03")
        select.select([], [], [], 0.3)
        read_until(fd, None)
        same(wait_status(pid), 42)
        os.close(fd)


@case
def keys_against_a_flood():
    """What is typed gets there while output comes without an end."""
    with Setup(exec_handler(floods)) as s:
        pid, fd = in_terminal(s, ["exec", "-it", "web", "yes"])
        read_until(fd, READY)
        os.write(fd, b"\x03")
        read_until(fd, None)
        same(wait_status(pid), 42)
        os.close(fd)


@case
def interrupt_of_what_nobody_reads():
    """Where no output is taken any more a second Ctrl-C ends it."""
    with Setup(exec_handler(floods)) as s:
        pid, fd = in_terminal(s, ["exec", "-t", "web", "yes"])
        select.select([fd], [], [], DEADLINE)
        select.select([], [], [], 0.3)
        for _ in range(2):
            os.kill(pid, signal.SIGINT)
            select.select([], [], [], 1.2)
        same(wait_status(pid), 130)
        os.close(fd)


@case
def quit_key():
    keys = []
    s, pid, fd = session("-t", keys=keys, ends=lambda keys: True)
    with s:
        os.write(fd, b"\x1c")
        until(lambda: keys == [b"\x1c"], "Ctrl-\\ in the guest")
        os.write(fd, b"\x1c")
        same(wait_status(pid), 128 + signal.SIGQUIT)
        os.close(fd)


# SIGKILL is nobody's to catch
DEADLY = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
          signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGSEGV,
          signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGXCPU,
          signal.SIGVTALRM, signal.SIGRTMIN]


@case
def every_signal():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for sig in DEADLY:
        if sanitized.ON and sig in (signal.SIGSEGV, signal.SIGBUS,
                                    signal.SIGFPE, signal.SIGABRT,
                                    signal.SIGUSR2):
            continue  # the sanitizer's, and its tests', own
        s, pid, fd = session("-it", ends=lambda keys: False)
        with s:
            until(lambda: is_raw(fd), "raw")
            # a first SIGINT or SIGQUIT is the guest's
            for _ in range(2):
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    break
                select.select([], [], [], 0.05)
            st = wait_status(pid)
            if st not in (-sig, 128 + sig):
                raise Bad("%s: status %d" % (sig, st))
            same(is_cooked(fd), True, "cooked after %s" % sig)
            os.close(fd)


@case
def lost_server():
    gone = threading.Event()

    def script(ws, rq):
        ws.send(b"\x01" + READY)
        gone.wait(DEADLINE)
    with Setup(exec_handler(script)) as s:
        pid, fd = in_terminal(s, ["exec", "-it", "web", "sh"])
        read_until(fd, READY)
        until(lambda: is_raw(fd), "raw")
        gone.set()
        out = read_until(fd, None)
        has(out, b"broke before the command ended")
        same(wait_status(pid), 125)
        same(is_cooked(fd), True)
        os.close(fd)


@case
def stopped_and_continued():
    """kill -STOP, and whoever did it sets the terminal as a shell does."""
    s, pid, fd = session("-it")
    with s:
        until(lambda: is_raw(fd), "raw")
        cooked = termios.tcgetattr(fd)
        cooked[3] |= termios.ICANON | termios.ISIG | termios.ECHO
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        termios.tcsetattr(fd, termios.TCSANOW, cooked)
        os.kill(pid, signal.SIGCONT)
        until(lambda: is_raw(fd), "raw again")
        os.write(fd, b"\x03")
        same(wait_status(pid), 130)
        same(is_cooked(fd), True)
        os.close(fd)


def shell(s):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve("/bin/bash", ["bash", "--norc", "-i"],
                  s.env({"TERM": "xterm", "PS1": "prompt$ "}))
    read_until(fd, b"prompt$ ")
    return pid, fd


def child_of(pid):
    def look():
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return f.read().split()
    until(look, "a child of the shell")
    return int(look()[0])


@case
def stopped_under_a_shell():
    """SIGTSTP and fg, and SIGTSTP and bg, under a shell with job control."""
    keys = []
    with Setup(keys_handler(keys)) as s:
        sh, fd = shell(s)
        os.write(fd, ("%s exec -it web sh\n" % MEWS).encode())
        read_until(fd, READY)
        until(lambda: is_raw(fd), "raw")
        pid = child_of(sh)
        os.kill(pid, signal.SIGTSTP)
        read_until(fd, b"prompt$ ")
        # readline's own mode shows nothing: ask for the one of commands
        os.write(fd, b"stty -a | tr ';' '\\n'; echo di''d\n")
        out = read_until(fd, b"did\r\n")
        for word in (b"icanon", b"isig", b"echo", b"opost"):
            has(out.split(), word)
        os.write(fd, b"fg\n")
        until(lambda: is_raw(fd), "raw again")
        os.write(fd, b"abc")
        until(lambda: b"abc" in b"".join(keys), "keys in the guest")
        os.kill(pid, signal.SIGTSTP)
        read_until(fd, b"prompt$ ")
        os.write(fd, b"bg; echo di''d\n")
        read_until(fd, b"did\r\n")
        # in the background it must leave the terminal alone, also at its end
        os.write(fd, b"kill %1; wait; stty -a | tr ';' '\\n'; echo do''ne\n")
        out = read_until(fd, b"done\r\n")
        for word in (b"icanon", b"isig", b"echo", b"opost"):
            has(out.split(), word)
        os.write(fd, b"exit\n")
        os.close(fd)
        os.waitpid(sh, 0)


@case
def nohup_stays():
    """What was ignored when it began is ignored still."""
    started, go = threading.Event(), threading.Event()

    def script(ws, rq):
        started.set()
        go.wait(DEADLINE)
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        p = s.start("exec", "web", "x", preexec_fn=lambda: signal.signal(
            signal.SIGHUP, signal.SIG_IGN))
        if not started.wait(DEADLINE):
            raise Bad("no exec")
        p.send_signal(signal.SIGHUP)
        select.select([], [], [], 0.2)
        go.set()
        _, err = p.communicate(timeout=DEADLINE)
        same((p.returncode, err), (0, b""))


@case
def console_modes():
    """The console is raw on a terminal, and cooked after each way out."""
    def handler(rq, n):
        ws = upgrade(rq)
        ws.send(READY)
        while ws.recv() is not None:
            pass
    for leave in (b"\x1d.", signal.SIGTERM, signal.SIGHUP):
        with Setup(handler) as s:
            pid, fd = in_terminal(s, ["console", "web"])
            read_until(fd, READY)
            until(lambda: is_raw(fd), "raw")
            if isinstance(leave, bytes):
                os.write(fd, leave)
            else:
                os.kill(pid, leave)
            same(wait_status(pid), 0 if isinstance(leave, bytes)
                 else 128 + leave)
            same(is_cooked(fd), True)
            os.close(fd)


main()
