"""The reference clients keep the client contract."""
