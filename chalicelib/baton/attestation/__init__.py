"""Attestation: what the platform of a device proves about the app, and about the hardware that keeps the key."""
