"""Browsers: which page may send a request, and the login that the cookies of a request hold."""
