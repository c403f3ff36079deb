"""Models that ship with the library. Read first: geoworld-tiny/README.md. Holds data alone: nothing is imported."""
