"""Baton, the login backend: an upgrade replaces this folder."""
