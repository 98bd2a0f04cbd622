"""The tests of signatures, digests and exactly-once rules."""
