"""Config trees from YAML and flags, their checks and their help.

Read first: config.py. Must not import: engines and learners: a tree is plain values.
"""
