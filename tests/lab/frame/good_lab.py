#!/usr/bin/env python3
"""For tests/lab/frame_long.py: one of each verdict."""
LAB = {"config": "bare", "deadline": 30}

if __name__ == "__main__":
    print("ok one")
    print("skip two: not today")
