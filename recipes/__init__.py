"""Recipes: YAML files for the commands, and `plug_*.py`, which put the losses into other trainers.

Read first: geoworld_tiny.yaml. Anything may be imported; nothing imports from here.
"""
