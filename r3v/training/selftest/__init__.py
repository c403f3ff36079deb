"""What a fit checks about itself: fused equals plain, pictures are seen, and every adapter learns.

Read first: parity.py; choose.py runs it. Must not import: the module, which runs it.
"""
