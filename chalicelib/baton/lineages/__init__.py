"""What a login is: its state, its rules and the registry of clients. No I/O."""
