#!/usr/bin/env python3
"""For tests/lab/frame_long.py: over its deadline."""
import signal

LAB = {"config": "bare", "deadline": 2}

if __name__ == "__main__":
    print("ok one", flush=True)
    signal.pause()
