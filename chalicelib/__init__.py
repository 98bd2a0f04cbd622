"""Baton: a login backend for mobile apps, on AWS Chalice and DynamoDB."""

# The content of baton/VERSION: a constant, because reading a file slows the cold start. A test compares the two.
__version__ = "0.1.0-dev"
