"""Signatures, digests, exactly-once rules."""
