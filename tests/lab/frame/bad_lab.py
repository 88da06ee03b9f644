#!/usr/bin/env python3
"""For tests/lab/frame_long.py: a case that fails, with <markup>."""
import sys

LAB = {"config": "bare", "deadline": 30}

if __name__ == "__main__":
    print("ok one")
    print("not ok <two> & \x01")
    sys.exit(1)
