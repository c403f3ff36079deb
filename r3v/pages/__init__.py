"""HTML pages: one kit, charts, the gallery, the report of a run.

Read first: kit.py. Must not import: learners: a page reads the files of a run.
"""
