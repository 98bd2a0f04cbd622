"""Long proofs: interleavings, engines, fault injection, hostile input, and a fleet simulation."""
