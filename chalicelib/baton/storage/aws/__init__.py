"""AWS clients, credentials and the audit of a deployment."""
