#!/usr/bin/env python3
"""The short run of the lab (tests/lab/lab.py): suites marked "check"."""
import os
import sys

LAB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab.py")
os.execv(sys.executable, [sys.executable, LAB, "-c", "-s"])
