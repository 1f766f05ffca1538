"""Reward functions for `rl`, a file each."""
