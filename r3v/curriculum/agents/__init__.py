"""Planner, selector, writer and checker: models that make practice from real pictures.

Read first: agents.py. Must not import: the spiral, which opens them.
"""
