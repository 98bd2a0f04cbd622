"""The tests, on the same shelves as the code."""
