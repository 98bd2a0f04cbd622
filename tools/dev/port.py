"""The port argument of a command."""


def read_port(said: str) -> int:
    """Return the port, or exit with an error message."""
    if said.isascii() and said.isdigit() and len(said) <= 5 and 1 <= int(said) <= 65_535:
        return int(said)
    raise SystemExit(f"A port is a number from 1 to 65535, not {said[:64]!r}.")
