"""Tokens: issued, presented, exchanged, revoked, introspected."""
