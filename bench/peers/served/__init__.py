"""What runs as a process of its own: one server a peer, and Baton."""
