"""What a model is bad at: probes, cells of skill and error, shrunken estimates, findings, the page.

Read first: diagnosis.py. Must not import: practice, agents, the spiral.
"""
