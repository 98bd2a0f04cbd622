"""Authentication factors: passwords, rate limits and step-up."""
