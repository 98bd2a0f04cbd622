"""The tests of addresses, logins and roles."""
