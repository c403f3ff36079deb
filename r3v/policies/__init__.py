"""The one seam to engines: `Policy` in base.py, and one room for each kind of engine.

Read first: base.py. Must not import: data sets, learners, runs.
"""
