#!/usr/bin/env python3
"""For tests/lab/frame_long.py: the lab hangs, its runner with it."""
import os
import signal

LAB = {"config": "bare", "deadline": 2}

if __name__ == "__main__":
    os.kill(os.getppid(), signal.SIGSTOP)
    signal.pause()
