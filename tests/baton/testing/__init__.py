"""The test kit for teams: worlds, phones, thieves, faults."""
