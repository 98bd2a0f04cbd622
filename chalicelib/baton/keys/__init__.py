"""The secret keys of a deployment, and the public keys of devices."""
