"""The storage in DynamoDB: ``BATON_STORAGE=dynamodb``, the default."""
