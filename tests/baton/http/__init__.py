"""The tests of reading requests, running routes and writing answers."""
