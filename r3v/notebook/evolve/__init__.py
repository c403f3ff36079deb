"""The loop of a notebook: solve, write notes from failures, gate, commit or roll back.

Read first: evolve.py. Must not import: pages and commands.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.notebook.evolve.evolve")
