"""Loaded by every Python process of a drill, because PYTHONPATH names this folder."""

from drills.kill_switch import arm

arm()
