"""The port that a person names."""


def read_port(said: str) -> int:
    """Read it, or end with a sentence."""
    if said.isascii() and said.isdigit() and 1 <= int(said[:6]) <= 65_535:
        return int(said)
    raise SystemExit(f"A port is a number from 1 to 65535, not {said[:64]!r}.")
