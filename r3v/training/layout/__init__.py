"""How examples lie in a batch: the prefix trie, its rows and positions, its attention.

Read first: trie.py. Must not import: the module and the fit that use it.
"""
