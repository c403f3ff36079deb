"""Named data sets, in the layouts people have them in: one function for each reader of the table READERS.

Read first: geoqa.py. Must not import: policies, learners.
"""
