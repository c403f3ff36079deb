"""R3V: sample rationales, teach answering, refining and selecting, gate, repeat; and a chooser.

Read first: loop.py. Must not import: notebook and curriculum.
"""
