"""The only package that uses AWS: DynamoDB, KMS and the checks of a deployment."""
