"""LoRA adapters on disk: written with what they were taught with, and refused where they do not fit. Read first:
`files.py`, through which every adapter comes and goes.
"""
