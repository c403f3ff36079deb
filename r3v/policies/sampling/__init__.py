"""Draw from a model in this process and score with it; `HFPolicy`.

Read first: hf.py. Must not import: servers and clusters.
"""
