"""What a newcomer meets first: a recipe to begin with, a chat with a model, and what a report of a fault needs.

Read first: init.py. Must not import: other commands.
"""
