"""Draw from a model in this process and score with it; `HFPolicy`.

Read first: hf.py. Must not import: servers and clusters.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.policies.sampling.draw")
