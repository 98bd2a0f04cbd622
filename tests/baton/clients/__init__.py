"""Tests of the client libraries, and of all of them together."""
