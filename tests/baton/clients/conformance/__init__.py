"""The conformance suite: every client in its own process, over TCP, against Baton in this process."""
