"""Arithmetic of memory and work: what a recipe's stages take, from a model's configuration alone.

Read first: `activations.py`, then `stages.py`. Must not import: engines, learners. It is checked against slices of true
width in `tests/plan/test_true_shapes.py`; nothing here has met a GPU.
"""
