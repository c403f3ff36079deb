"""What goes to others: tasks and comparisons for evaluation harnesses.

Read first: harness.py.
"""
