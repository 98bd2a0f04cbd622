"""The tests of the settings and of Baton's public names."""
