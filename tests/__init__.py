"""The tests: yours beside those of Baton (tests/baton)."""
