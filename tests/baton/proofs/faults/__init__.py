"""Fault injection: each call of each endpoint to DynamoDB and KMS fails in each way, once and permanently."""
