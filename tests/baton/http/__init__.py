"""Requests read, routes run, answers written."""
