"""`r3v plan RECIPE`: will it fit, how much work is it, and what to change.

Read first: recipe.py. The arithmetic lives in `r3v.plan`.
"""
