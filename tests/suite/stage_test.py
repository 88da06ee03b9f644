#!/usr/bin/env python3
"""mk/stage: several at once in one folder, as targets of one make may be; what
of the hypervisors is staged."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

AT_ONCE = 3


def at_once():
    with tempfile.TemporaryDirectory(dir="/run") as d:
        for n in range(AT_ONCE):
            with open("%s/guest%d" % (d, n), "w") as f:
                f.write("%d" % n)
        base = d + "/stage"
        runs = [subprocess.Popen(
            [suite.TOP + "/mk/stage", base, "%s/guest%d" % (d, n), "/dev/null"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=dict(os.environ, STAGE_VMM="/bin/true"))
            for n in range(AT_ONCE)]
        said = [p.communicate(timeout=60)[0] for p in runs]
        assert [p.returncode for p in runs] == [0] * AT_ONCE, said
        # the last one's tree, whole
        tree = os.readlink(base + "/current")
        assert sorted(os.listdir(base)) == sorted([".lock", tree, "current"]), \
            os.listdir(base)
        assert os.path.exists(base + "/current/boot/initramfs")


def microvm():
    """QEMU for KVM alone is there if it takes the sandbox that it is given."""
    with tempfile.TemporaryDirectory(dir="/run") as d:
        for small, there in (("/bin/true", True), ("/bin/false", False),
                             ("/nowhere", False), ("", False)):
            subprocess.run(
                [suite.TOP + "/mk/stage", d, "/dev/null", "/dev/null"],
                check=True, timeout=60,
                env=dict(os.environ, STAGE_VMM="/bin/true",
                         STAGE_MICROVM=small))
            assert os.path.exists(
                d + "/current/usr/bin/qemu-system-x86_64-microvm") == there, small


if __name__ == "__main__":
    suite.enter()
    sys.exit(suite.run({"at once": at_once, "microvm": microvm}))
