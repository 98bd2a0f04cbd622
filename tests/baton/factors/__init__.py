"""The tests of passwords, second factors and passkeys."""
