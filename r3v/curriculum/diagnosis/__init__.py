"""What a model is bad at: probes, cells of skill and error, shrunken estimates, findings, the page.

Read first: diagnosis.py. Must not import: practice, agents, the spiral.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.curriculum.diagnosis.diagnosis")
