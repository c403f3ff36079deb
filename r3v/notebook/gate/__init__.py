"""Whether a batch of changed notes may stay: paired, sequential, with stated error rates.

Read first: gate.py. Must not import: evolution, which calls it.
"""
