"""What every run has, whatever it learns: measuring, the journal of answers paid for.

Read first: evaluation.py. Must not import: training and learners.
"""
