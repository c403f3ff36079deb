"""`r3v ui`: the runs of a folder in a browser, to be read and compared.

Read first: server.py. Must not import: models and learners' loops; pages are made of the files that runs wrote.
"""
