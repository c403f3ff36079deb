"""Whether a batch of changed notes may stay: paired, sequential, with stated error rates.

Read first: gate.py. Must not import: evolution, which calls it.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.notebook.gate.gate")
