"""Notes in and out: folders, JSONL, Markdown, the editor.

Read first: exchange.py. Must not import: any model, retrieval, evolution.
"""

from r3v.moved import names_of

__getattr__ = names_of(__name__, "r3v.notebook.exchange.exchange")
