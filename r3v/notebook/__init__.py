"""M2Note: notes from failures, kept in one file, found by retrieval, accepted by a gate. No weights change.

Read first: evolve/evolve.py. Must not import: reflection's loop and the curriculum.
"""
