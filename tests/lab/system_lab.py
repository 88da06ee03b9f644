#!/usr/bin/env python3
"""The system tests with real guests, on KVM as the probe chooses it."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402

LAB = {"config": "bare", "deadline": 1500}

if __name__ == "__main__":
    sys.exit(any([subprocess.call(
        [sys.executable, "%s/tests/suite/%s.py" % (lab.TOP, name)],
        env=dict(os.environ, MEWS_TEST_ACCEL="auto"))
        for name in ("system_test", "system_api_test")]))
