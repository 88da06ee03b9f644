#!/usr/bin/env python3
"""The build as a packager has it: flags of his own, two folders, DESTDIR.

usage: build_long.py [CASE...]
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

# of dpkg-buildflags(1), with the two that ours were at odds with
FLAGS = {"CFLAGS": "-g -O2 -Wformat -Werror=format-security",
         "CPPFLAGS": "-Wdate-time -D_FORTIFY_SOURCE=2",
         "LDFLAGS": "-Wl,-z,relro"}
STRIPPED = [".note.gnu.build-id", ".gnu_debuglink"]
D = None


def tree(name):
    """What git has, in a folder of that name."""
    to = os.path.join(D, name)
    os.mkdir(to)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=suite.TOP, check=True,
                           stdout=subprocess.PIPE).stdout
    subprocess.run(["cpio", "-0pd", "--quiet", to], cwd=suite.TOP, input=files,
                   check=True)
    return to


def make(at, *argv, **env):
    """Its output; what a make above it wants is not this one's."""
    own = {k: v for k, v in os.environ.items()
           if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "B")}
    p = subprocess.run(["make", "V=1", *argv], cwd=at, env={**own, **env},
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True)
    assert p.returncode == 0, p.stdout[-3000:]
    return p.stdout


def programs(at):
    """{name: bytes}, without what may differ."""
    found = {}
    for n in sorted(os.listdir(at + "/build")):
        path = os.path.join(at, "build", n)
        if n.startswith("mews") and not n.endswith(".big") and \
                os.path.isfile(path):
            out = os.path.join(D, "stripped")
            subprocess.run(["objcopy", *("--remove-section=" + s
                                         for s in STRIPPED), path, out],
                           check=True)
            with open(out, "rb") as f:
                found[n] = f.read()
    return found


def flags_of_the_user():
    """They come last, whether from the environment or as arguments, and there
    is no warning of theirs beside ours."""
    one, other = tree("one"), tree("another folder's")
    said = make(one, "all", **FLAGS).replace("\\\n", "")
    line = next(l for l in said.splitlines() if "common/name.c" in l)
    assert re.search(r"-O2 .*-O2 -Wformat -Werror=format-security", line), line
    assert line.index("-I. ") < line.index("-Wdate-time"), line
    assert "_FORTIFY_SOURCE=3" not in line and "warning:" not in said, line
    make(other, "all", *("%s=%s" % kv for kv in FLAGS.items()))
    a, b = programs(one), programs(other)
    assert len(a) > 8 and a.keys() == b.keys(), (a.keys(), b.keys())
    # two folders, the same programs
    assert not [n for n in a if a[n] != b[n]], [n for n in a if a[n] != b[n]]


def install():
    """Into a folder with a space in its name; what is taken away again, and
    what stays because it is the operator's."""
    to = os.path.join(D, "a root")
    make(suite.TOP, "install", "DESTDIR=" + to)
    for path in ("usr/bin/mews", "usr/libexec/mews/mewsd", "etc/mews/mews.conf",
                 "usr/lib/systemd/system/mews.service",
                 "var/lib/mews/stage/current/usr/bin/mews-keeper"):
        assert os.path.exists(os.path.join(to, path)), path
    make(suite.TOP, "uninstall", "DESTDIR=" + to)
    left = [os.path.relpath(os.path.join(d, n), to)
            for d, _, names in os.walk(to) for n in names]
    assert [p for p in left if not p.startswith("var/lib/mews/stage/")] == [
        "etc/mews/mews.conf"], left


def main():
    global D
    D = tempfile.mkdtemp(prefix="mews-build-")
    try:
        return suite.run({"flags": flags_of_the_user, "install": install})
    finally:
        shutil.rmtree(D)


if __name__ == "__main__":
    sys.exit(main())
