"""GRPO and its family on groups of candidates.

Read first: reinforce.py. Must not import: the spiral, which calls it.
"""
