"""Rules. No AWS, no Chalice, no clock, no randomness, no environment."""
