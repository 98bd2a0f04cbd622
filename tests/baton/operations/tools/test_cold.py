"""How ``make bench-cold`` reads what it measures."""

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
    """Ours, a package that ships, what Lambda brings, or Python."""
    wanted = {
        "app": "Baton",
        "chalicelib.baton.http.dispatch": "Baton",
        "chalice.app": "chalice",
        "botocore.session": "botocore and its own",
        "urllib3.util": "botocore and its own",
        "dateutil.tz": "botocore and its own",
        "awslambdaric.bootstrap": "runtime client",
        "msgspec.structs": "msgspec",
        "json.decoder": "standard library",
    }
    assert {module: owner(module) for module in wanted} == wanted


def test_shares_are_of_the_modules_themselves_and_the_shortest_look_counts() -> None:
    """What a module imports is somebody else's; a line of the function's own log is no import."""
    slower = TOLD.replace("       100 |        100", "       900 |        900")
    assert shares([slower, TOLD, slower]) == {
        "cryptography": 120,
        "Baton": 7,
        "botocore and its own": 30,
        "standard library": 3,
    }


def test_a_ratio_is_of_medians() -> None:
    """One slow start moves nothing."""
    starts = [Start(0.4, 1.0), Start(9.0, 9.0), Start(0.2, 1.0)]
    bare = [Start(0.1, 0.5), Start(0.1, 0.5), Start(7.0, 7.0)]
    assert ratio(starts, bare, cpu) == pytest.approx(4.0)
    assert ratio(starts, bare, wall) == pytest.approx(2.0)
