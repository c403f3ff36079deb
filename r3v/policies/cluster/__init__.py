"""Policies on the workers of a Ray cluster.

Read first: policy.py. Must not import: learners and runs.
"""
