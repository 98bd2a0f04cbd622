"""Hostile input: whatever a client can send, and whether the description of the API holds under it."""
