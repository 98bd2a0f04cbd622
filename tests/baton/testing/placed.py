"""The orders that the fixture app has placed. Its environments share them, as they would share a table."""

ORDERS: list[tuple[str, int]] = []
"""Account and item of each order, in order."""
