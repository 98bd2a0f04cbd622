"""The format of printed output: columns, numbers with nouns, durations."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun: ``1 item``, ``2 items``, ``12,000 items``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column. All rows have the same number of columns."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def aligned(rows: Sequence[Sequence[str]], *, gap: int = 2) -> list[str]:
    """Return each row as one line, with its cells in aligned columns. ``gap`` spaces separate the columns."""
    wide = widths(rows)
    return [(" " * gap).join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]


def roughly(seconds: float) -> str:
    """Return a duration in rounded units: ``40 s``, ``4 min``."""
    return f"{max(10, round(seconds / 10) * 10)} s" if seconds < 90 else f"{round(seconds / 60)} min"
