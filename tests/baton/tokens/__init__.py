"""The tests of tokens: issuing, calls and exchanges."""
