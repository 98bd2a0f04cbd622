"""How commands print: columns as wide as their widest cell, and nouns in the number that is meant."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number and its noun: ``1 item``, ``2 items``, ``12,000 items``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Measure the columns of rows of one length."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def aligned(rows: Sequence[Sequence[str]], *, gap: int = 2) -> list[str]:
    """Lay rows out in columns, whatever the length of their cells."""
    wide = widths(rows)
    return [(" " * gap).join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]


def roughly(seconds: float) -> str:
    """Write a duration for a person who waits: ``40 s``, ``4 min``."""
    return f"{max(10, round(seconds / 10) * 10)} s" if seconds < 90 else f"{round(seconds / 60)} min"
