#!/usr/bin/env python3
"""The system tests with real guests, on KVM as the probe chooses it."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402

LAB = {"config": "bare", "deadline": 1500}
# The lab's SVM, QEMU's, gives a guest an interrupt twice if time is up between
# its injection and the guest's next exit.  With KVM's "PV EOI" that is long,
# and several guests soon hang with a lock of theirs held; so they do without.
KHZ = subprocess.run([lab.BUILD + "/tsc-khz"], stdout=subprocess.PIPE,
                     check=True, text=True).stdout.strip()
GUEST = {"kernel_cmdline": "nopv tsc_early_khz=" + KHZ}

if __name__ == "__main__":
    sys.exit(subprocess.run(
        [sys.executable, lab.TOP + "/tests/run/system_test.py"],
        env=dict(os.environ, MEWS_TEST_ACCEL="auto",
                 MEWS_TEST_GUEST=json.dumps(GUEST))).returncode)
