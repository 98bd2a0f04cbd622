"""Long proofs: interleavings, engines, faults, hostile input, a simulation."""
