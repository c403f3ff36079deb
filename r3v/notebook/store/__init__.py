"""The file of a notebook: append-only commits, branches, attachments, verification.

Read first: store.py. Must not import: any model, retrieval, evolution.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.notebook.store.store")
