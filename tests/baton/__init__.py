"""Baton's own tests: a folder for each package, and folders for topics that concern all packages."""
