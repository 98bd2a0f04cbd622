"""One contract, two implementations: the stores on DynamoDB, and the memory the other tests use."""
