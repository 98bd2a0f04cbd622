"""The rules of a login, and the client registry."""
