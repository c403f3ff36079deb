"""Models behind an OpenAI-compatible server: ask, retry, cache, count the cost, load adapters.

Read first: policy.py. Must not import: torch and transformers.
"""
