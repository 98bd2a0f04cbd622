"""The templates of ``infra/``: what they promise, and that a broken one is noticed."""
