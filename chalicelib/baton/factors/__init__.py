"""How a person proves who they are: passwords, rate limits and step-up."""
