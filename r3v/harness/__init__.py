"""r3v inside evaluation harnesses: lmms-eval 0.7 asks its models as `--model r3v`, and any data set becomes its task.

Read first: chat.py. Must not import: app.
"""
