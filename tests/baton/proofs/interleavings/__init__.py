"""Every interleaving of a few clients over the real flows."""
