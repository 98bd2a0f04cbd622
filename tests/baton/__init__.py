"""Baton's own tests: a folder for each room, and for what concerns all of them."""
