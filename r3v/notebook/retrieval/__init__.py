"""Which notes a problem is shown, and how they stand in the prompt.

Read first: retrieve.py. Must not import: evolution and the gate.
"""
