"""The output of ``make bench-imports``."""

import pytest

from bench.imports import WATCHED, row


def test_a_row_has_the_number_of_modules_and_the_heavy_modules() -> None:
    """A module that is imported twice counts once. The CPU time is the median in milliseconds."""
    route, path, modules, cpu, unit, *marks = row(
        "POST /oauth/token", ["botocore", "chalice", "chalice", "ssl"], [9.0, 0.2, 0.1]
    ).split()
    assert (route, path, modules, cpu, unit) == ("POST", "/oauth/token", "3", "200", "ms")
    assert {name for name, mark in zip(WATCHED, marks, strict=True) if mark == "yes"} == {"Chalice", "TLS"}


@pytest.mark.parametrize("module", WATCHED.values())
def test_every_heavy_module_is_reported(module: str) -> None:
    """The test reports one module at a time, because each has its own column."""
    assert row("GET /me", [module], [0.1]).count("yes") == 1
