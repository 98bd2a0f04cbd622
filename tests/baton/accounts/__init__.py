"""The tests of accounts: addresses, registration, logins, migration and roles."""
