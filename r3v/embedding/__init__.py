"""Words and pictures as unit vectors, for notes and for image search; every embedder by name in table.py.

Read first: protocol.py. Must not import: notebook and curriculum, which search with it.
"""
