"""The state of a login, its rules and the registry of clients. No I/O."""
