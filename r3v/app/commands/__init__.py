"""One module a command or group of commands: its flags, what it calls, what it prints. Only argparse at import.

Read first: core.py. Must not import: each other; what several share is in common, tables and recall.
"""
