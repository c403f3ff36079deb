"""The loop of the curriculum: diagnose, mix, practise, learn, guard.

Read first: spiral.py. Must not import: commands.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.curriculum.spiral.spiral")
