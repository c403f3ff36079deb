"""What people call: the command line.

Read first: cli.py. Nothing but recipes is above this room.
"""
