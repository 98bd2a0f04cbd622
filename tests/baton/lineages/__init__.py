"""The tests of the rules of a login, and of the client registry."""
