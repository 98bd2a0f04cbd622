"""Addresses, login, roles."""
