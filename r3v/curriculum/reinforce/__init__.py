"""GRPO and its family on groups of candidates.

Read first: reinforce.py. Must not import: the spiral, which calls it.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.curriculum.reinforce.reinforce")
