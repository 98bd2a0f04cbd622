"""Journeys, one file each. A frozen struct holds the ports; called, it returns a value or raises a refusal."""
