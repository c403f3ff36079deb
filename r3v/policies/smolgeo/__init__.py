"""smolgeo: SmolLM2-135M with eyes of ours, put together on this machine from a file of the package index.

Read first: assemble.py. Must not import: `policies.model`, which loads what is made here.
"""
