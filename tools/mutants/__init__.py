"""Mutants: each guard of the rules and of the stores removed or weakened, to see a test fail for it."""
