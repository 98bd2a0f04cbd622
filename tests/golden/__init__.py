"""Golden values: what leaves the program, recorded to the byte, so that moving code changes none of it."""
