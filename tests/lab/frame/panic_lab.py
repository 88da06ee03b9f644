#!/usr/bin/env python3
"""For tests/lab/frame_long.py: takes the lab down with it."""
LAB = {"config": "bare", "deadline": 30}

if __name__ == "__main__":
    with open("/proc/sysrq-trigger", "w") as f:
        f.write("c")
