"""What a fit checks about itself on its first batch: fused equals plain, and pictures are seen.

Read first: parity.py; choose.py runs it. Must not import: the module, which runs it.
"""
