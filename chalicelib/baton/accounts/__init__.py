"""Accounts: register, log in, log out, devices, password, deletion."""
