"""The breach check: a leaked password is refused, and another service's failure stops no registration."""

import hashlib
from collections.abc import Mapping

import pytest

from chalicelib.baton.factors.breach import PWNED_PASSWORDS, BreachCheck, is_listed
from chalicelib.baton.factors.ports import NotFetched
from chalicelib.baton.factors.refusals import Breached
from chalicelib.baton.policy import BREACH_ANSWER_BYTES_MAX, BREACH_CHECK_MAX_S

SECRET = b"monkey dragon football"
DIGEST = hashlib.sha1(SECRET, usedforsecurity=False).hexdigest().upper()
OTHERS = b"".join(b"%035X:%d\r\n" % (number, number) for number in range(1, 900))


def row(count: str, suffix: str = DIGEST[5:]) -> bytes:
    """Make the row of a suffix."""
    return f"{suffix}:{count}\r\n".encode()


class Service:
    """The service of leaked passwords, and a log."""

    def __init__(self, answer: bytes | NotFetched) -> None:
        """Store the answer of the service."""
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str], float, int]] = []
        self.events: list[tuple[str, dict[str, str | int]]] = []

    def __call__(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> bytes | NotFetched:
        """Return the answer of the service."""
        self.asked.append((url, dict(headers), within_s, bytes_max))
        return self.answer

    def start_request(self, *, request_id: str) -> None:
        """Log nothing."""

    def end_request(self) -> None:
        """Log nothing."""

    def set_lineage(self, *, lineage: str) -> None:
        """Log nothing."""

    def record(self, event: str, /, **facts: str | int) -> None:
        """Remember an event."""
        self.events.append((event, facts))

    def check(self, secret: bytes = SECRET) -> None:
        """Check a password."""
        BreachCheck(fetch=self, log=self)(secret)


@pytest.mark.parametrize("last", [b"", OTHERS], ids=["last row", "in the middle"])
def test_a_leaked_password_is_refused(last: bytes) -> None:
    """The position of its row and the number of leaks do not matter."""
    for count in ("1", "01", "9999999"):
        service = Service(OTHERS + row(count) + last)
        with pytest.raises(Breached):
            service.check()
        assert service.events == []


def test_a_row_of_padding_is_no_leak() -> None:
    """Its count is 0. Such a row never counts as a leak, with or without other rows."""
    service = Service(OTHERS + row("0"))
    service.check()
    assert service.events == []
    with pytest.raises(Breached):
        Service(row("0") + OTHERS + row("3")).check()


def test_only_twenty_bits_of_the_digest_are_sent() -> None:
    """The request also requires padding, which hides the size of the answer.

    It contains nothing else of the password.
    """
    service = Service(OTHERS)
    service.check()
    ((url, headers, within_s, bytes_max),) = service.asked
    assert url == f"{PWNED_PASSWORDS}/range/{DIGEST[:5]}"
    assert headers["Add-Padding"] == "true"
    assert headers["User-Agent"]
    assert (within_s, bytes_max) == (BREACH_CHECK_MAX_S, BREACH_ANSWER_BYTES_MAX)
    assert BREACH_CHECK_MAX_S == 0.5


def test_another_password_of_the_same_prefix_is_accepted() -> None:
    """The whole suffix is compared, from its first character."""
    suffix = DIGEST[5:]
    others = (suffix[:-1] + ("0" if suffix[-1] != "0" else "1"), suffix[1:] + "0")
    service = Service(b"".join(row("5", other) for other in others))
    service.check()
    assert service.events == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>sign in to the network</html>",
        OTHERS + b"garbage\r\n",
        OTHERS + row("1").replace(b":", b";"),
        OTHERS + row("1", DIGEST[6:]),
        OTHERS + b"\r\n",
        row("-1"),
        row("1" * 13),
    ],
)
def test_another_answer_accepts_the_password_and_is_counted(answer: bytes) -> None:
    """No row of an invalid answer is used."""
    service = Service(answer)
    service.check()
    assert service.events == [("breach_check_unavailable", {"reason": "not an answer of this service"})]


def test_no_answer_accepts_the_password_and_is_counted() -> None:
    """The event has the reason."""
    service = Service(NotFetched("TimeoutError"))
    service.check()
    assert service.events == [("breach_check_unavailable", {"reason": "TimeoutError"})]


def test_the_case_of_an_answer_does_not_matter() -> None:
    """The hexadecimal digits may have either case.

    The last row may lack a line end, and lines may end in only a line feed.
    """
    assert is_listed(row("1").lower().strip(), DIGEST[5:]) is True
    assert is_listed(OTHERS.replace(b"\r\n", b"\n") + row("7"), DIGEST[5:]) is True
    assert is_listed(OTHERS.strip(), DIGEST[5:]) is False
