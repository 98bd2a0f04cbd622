"""Tokens: minted, called with, exchanged."""
