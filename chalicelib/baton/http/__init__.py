"""Requests, answers and routes. Outside this package, only ``service.py`` and the test kit use Chalice."""
