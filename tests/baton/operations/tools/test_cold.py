"""The evaluation of ``make bench-cold``."""

import pytest

from bench.cold import Start, cpu, owner, ratio, shares, wall

TOLD = """import time: self [us] | cumulative | imported package
import time:       100 |        100 |   cryptography.hazmat._oid
import time:        20 |        120 | cryptography.x509
import time:         7 |          7 | chalicelib.baton.tokens.token
{"level":"INFO","message":"import time: 5 | 5 | msgspec"}
import time:        30 |         30 | urllib3.util
import time:         3 |          3 | email.utils
"""


def test_every_import_has_an_owner() -> None:
    """The owner is Baton, a package in the zip, a package of Lambda, or Python."""
    wanted = {
        "app": "Baton",
        "chalicelib.baton.http.dispatch": "Baton",
        "chalice.app": "chalice",
        "botocore.session": "botocore and its packages",
        "urllib3.util": "botocore and its packages",
        "dateutil.tz": "botocore and its packages",
        "awslambdaric.bootstrap": "runtime client",
        "msgspec.structs": "msgspec",
        "json.decoder": "standard library",
    }
    assert {module: owner(module) for module in wanted} == wanted


def test_shares_exclude_nested_imports_and_use_the_shortest_run() -> None:
    """The time of a nested import counts only for the imported module.

    A log line of the function does not count as an import.
    """
    slower = TOLD.replace("       100 |        100", "       900 |        900")
    assert shares([slower, TOLD, slower]) == {
        "cryptography": 120,
        "Baton": 7,
        "botocore and its packages": 30,
        "standard library": 3,
    }


def test_a_ratio_is_computed_from_medians() -> None:
    """One slow start does not change it."""
    starts = [Start(0.4, 1.0), Start(9.0, 9.0), Start(0.2, 1.0)]
    bare = [Start(0.1, 0.5), Start(0.1, 0.5), Start(7.0, 7.0)]
    assert ratio(starts, bare, cpu) == pytest.approx(4.0)
    assert ratio(starts, bare, wall) == pytest.approx(2.0)
