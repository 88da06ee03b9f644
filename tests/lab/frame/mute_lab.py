#!/usr/bin/env python3
"""For tests/lab/frame_long.py: no case at all is no success."""
LAB = {"config": "bare", "deadline": 30}
