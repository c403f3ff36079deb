"""The loop of a notebook: solve, write notes from failures, gate, commit or roll back.

Read first: evolve.py. Must not import: pages and commands.
"""
