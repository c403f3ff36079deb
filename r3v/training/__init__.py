"""Fits: the LightningModule, what a fit keeps and resumes, several devices, export.

Read first: module.py. Must not import: a learner (reflection, notebook, curriculum), pages or commands.
"""
