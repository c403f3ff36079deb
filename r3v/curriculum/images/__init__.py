"""Pictures from outside: pools, search, download, remote editing.

Read first: finders.py. Must not import: agents and the spiral.
"""
