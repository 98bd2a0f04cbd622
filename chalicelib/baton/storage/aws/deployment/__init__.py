"""The audit of a deployment: what is required, what is observed."""
