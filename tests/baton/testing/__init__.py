"""Tests of the test kit for teams: worlds, phones, thieves, faults."""
