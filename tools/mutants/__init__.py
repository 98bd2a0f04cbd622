"""Mutation tests: each guard of the rules and of the stores is removed or weakened, and a test must fail."""
