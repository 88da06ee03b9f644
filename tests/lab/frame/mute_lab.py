#!/usr/bin/env python3
"""For tests/long/lab_frame_test.py: no case at all is no success."""
LAB = {"config": "bare", "deadline": 30}
