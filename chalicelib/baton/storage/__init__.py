"""The only package that opens connections: to DynamoDB, to KMS, and to services of other parties (``fetch.py``)."""
