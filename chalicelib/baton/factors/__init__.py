"""Authentication factors: passwords, second factors, passkeys, their rate limits, and step-up."""
