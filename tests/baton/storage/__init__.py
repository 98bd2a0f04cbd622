"""One contract for two storages: DynamoDB, and the memory that other tests use."""
