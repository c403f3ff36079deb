"""The loop of the curriculum: diagnose, mix, practise, learn, guard.

Read first: spiral.py. Must not import: commands.
"""
