"""Tokens: issue, verify, exchange, revoke and introspect them."""
