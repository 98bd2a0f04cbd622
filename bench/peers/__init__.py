"""Measure Baton and other products with the same work in one run: ``make bench-peers``."""
