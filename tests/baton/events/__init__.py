"""The tests of events, log lines and metrics."""
