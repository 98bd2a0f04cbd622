"""The only package that uses Chalice: requests, answers and routes."""
