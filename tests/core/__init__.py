"""The rules, tested as functions of values."""
