"""The only shelf that knows Chalice: events in, answers out. Nothing is decided here."""
