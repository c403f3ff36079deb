"""`r3v serve`: an OpenAI-compatible server that samples several answers and gives the one it selects."""
