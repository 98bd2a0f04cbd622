"""Journeys, one file each. A frozen dataclass holds the ports; called, it returns a value or raises a refusal."""
