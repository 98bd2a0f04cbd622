"""The tests of passwords."""
