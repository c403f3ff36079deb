"""GeoQA in English with its pictures, rebuilt from four public repositories at pinned commits.

Read first: make.py. The reader of what is made here is `r3v.data.sets.geoqa`.
"""
