"""The version of the library, where everything may read it."""

__version__ = "0.2.0"
