"""smolgeo: SmolLM2's language half with eyes of our own, fetched and put together on the user's machine."""
