"""Notes in and out: folders, JSONL, Markdown, the editor.

Read first: exchange.py. Must not import: any model, retrieval, evolution.
"""
