"""`r3v serve`: an OpenAI-compatible server whose answers are selected.

Read first: app.py. Must not import: commands.
"""
