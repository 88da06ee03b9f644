#!/usr/bin/env python3
"""The system tests with real guests, on KVM as the probe chooses it."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402

LAB = {"config": "bare", "deadline": 1500}

if __name__ == "__main__":
    sys.exit(subprocess.run(
        [sys.executable, lab.TOP + "/tests/suite/system_test.py"],
        env=dict(os.environ, MEWS_TEST_ACCEL="auto")).returncode)
