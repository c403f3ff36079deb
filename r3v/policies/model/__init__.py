"""One transformers model: load it, encode for it, call it.

Read first: loading.py. Must not import: samplers and servers, which use it.
"""
