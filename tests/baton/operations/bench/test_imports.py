"""How ``make bench-imports`` writes what it saw."""

import pytest

from bench.imports import WATCHED, row


def test_a_row_tells_how_many_modules_and_which_heavy_ones() -> None:
    """Asked for twice is one module; the CPU is the median, in milliseconds."""
    route, path, modules, cpu, unit, *marks = row(
        "POST /oauth/token", ["botocore", "chalice", "chalice", "ssl"], [9.0, 0.2, 0.1]
    ).split()
    assert (route, path, modules, cpu, unit) == ("POST", "/oauth/token", "3", "200", "ms")
    assert {name for name, mark in zip(WATCHED, marks, strict=True) if mark == "yes"} == {"Chalice", "TLS"}


@pytest.mark.parametrize("module", WATCHED.values())
def test_every_heavy_module_is_seen(module: str) -> None:
    """One at a time: no column stands for another's."""
    assert row("GET /me", [module], [0.1]).count("yes") == 1
