"""Candidates: sampling and grading them into shards, the pool of all rounds, which of them to use.

Read first: rollout.py. Must not import: an engine (only `policies.base`), selectors, learners.
"""
