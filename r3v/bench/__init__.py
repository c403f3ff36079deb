"""`r3v bench`: ours against a named peer, on the same work, with the limit that the arithmetic allows."""
