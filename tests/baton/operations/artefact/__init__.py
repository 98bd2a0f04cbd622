"""The built zip itself, under AWS's own runtime client."""
