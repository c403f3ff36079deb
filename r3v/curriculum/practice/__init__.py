"""Practice problems with answers that were checked: made, edited, relabelled, filtered.

Read first: generate.py. Must not import: agents and the spiral.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.curriculum.practice.item")
