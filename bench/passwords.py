"""The time of the checks of a new password, without the breach check, for typical and for hostile passwords.

A hostile password has 1,024 bytes, the maximum, and characters that become many characters in NFKC. The address is
hostile too: it has many labels of at least 8 characters. Baton compares such a label with the password up to two edits.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Final

from chalicelib.baton.factors.block_list import is_blocked
from chalicelib.baton.factors.refusals import WeakPassword
from chalicelib.baton.factors.strength import check_strength

EXPANDING: Final = "\ufdfa"
"""A character of three bytes that becomes eighteen characters in NFKC."""

TYPICAL: Final = (
    "acrobat on a violet unicycle",
    "copper lantern drifting sideways",
    "ja8dh2lskdj3kfm",
    "monkey dragon football",
    "passwordpassword",
)
HOSTILE: Final = (
    EXPANDING * 341,
    EXPANDING * 170 + "x" + EXPANDING * 170,
    "".join(chr(0xFD50 + number) for number in range(60)) * 5 + EXPANDING * 41,
    "\u0300\u0316" * 256,
    "ab" * 511 + "c",
    "abcdefghij" * 102,
)
EMAIL: Final = "ada.lovelace@analytical.example"
HOSTILE_EMAIL: Final = ".".join(f"abcdefg{number}" for number in range(7)) + "@" + "abcdefgh." * 20 + "example"
TIMES: Final = 20


def measure() -> Mapping[str, float]:
    """Return the mean time of the typical passwords and the longest time of the hostile passwords, in milliseconds."""
    is_blocked("")  # reads the list
    typical = [_milliseconds(password, EMAIL) for password in TYPICAL]
    hostile = [_milliseconds(password, HOSTILE_EMAIL) for password in HOSTILE]
    return {"typical": sum(typical) / len(typical), "hostile": max(hostile)}


def printed(measured: Mapping[str, float]) -> str:
    """Return the figures as a line."""
    return f"new password: typical {measured['typical']:.2f} ms, hostile {measured['hostile']:.1f} ms at most"


def _milliseconds(password: str, email: str) -> float:
    """Return the shortest of several measured times."""
    return min(_timed(lambda: check_strength(password, email=email)) for _ in range(TIMES)) * 1000


def _timed(check: Callable[[], None]) -> float:
    begun = time.perf_counter()
    with contextlib.suppress(WeakPassword):
        check()
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(printed(measure()))
