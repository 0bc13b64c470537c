"""The mathematics: pure functions in forward/backward pairs, one concept a file."""
