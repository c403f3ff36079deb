"""DPE: diagnose weak skills, aim the data mixture, make practice, reinforce, diagnose again.

Read first: spiral/spiral.py. Must not import: commands.
"""
