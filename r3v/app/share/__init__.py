"""What goes to others: adapters and models with their cards to the hub, tasks and comparisons for harnesses.

Read first: push.py.
"""
