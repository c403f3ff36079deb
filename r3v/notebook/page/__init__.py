"""The notebook in a browser, on loopback.

Read first: server.py. Must not import: evolution and models.
"""
