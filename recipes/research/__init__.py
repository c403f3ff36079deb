"""How what ships was made and measured: warm-ups, model cards, one-off comparisons, each with its command.

Read first: warmup_smolgeo.py. Nothing imports from here.
"""
