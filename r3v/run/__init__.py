"""What every run has, whatever it learns: folder, stages, fixed settings, the fair gate, progress, stopping, disk.

Read first: core.py, then gate.py. Must not import: training, pages and learners.
"""
