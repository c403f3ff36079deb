"""Choose one of several candidates at test time, by votes, by the model's own scores, or both.

Read first: selector.py. Must not import: an engine (only `policies.base`), learners.
"""
