"""Baton: a login backend for mobile apps, on AWS Chalice and DynamoDB."""

__version__ = "0.1.0"
