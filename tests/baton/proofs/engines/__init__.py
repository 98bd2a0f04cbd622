"""The engines: raced as they are, their histories checked against the rule, their capacity counted."""
