"""The notes of the development server about a running request. One thread runs a request from start to end."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Final, Literal

from msgspec import Struct

from tools.dev.api.faults import Fault

Outcome = Literal["exchanged", "same_child", "superseded", "reuse", "ahead", "wrong_key", "inactive"]

OUTCOMES: Final[dict[str, Outcome]] = {
    "Exchanged": "exchanged",
    "Retry": "same_child",
    "Superseded": "superseded",
    "Reused": "reuse",
    "Ahead": "ahead",
    "Inactive": "inactive",
}
"""The outcome of an exchange, by the name of its verdict (``lineages/rules.py``)."""


class EngineCall(Struct, gc=False):
    """One call to an AWS service.

    ``verdict``: ``held`` or ``failed`` if the call has a condition, ``done`` for a call without a condition. If a fault
    lost the answer: ``answer lost``. After any other error: the reason of the error.
    """

    service: str
    operation: str
    table: str
    condition: str
    verdict: str
    ms: float
    sizes: list[int | None]
    """The sizes of the items in bytes. ``None``: the size is not known."""
    counted: float | None
    """The capacity units. ``None``: the database does not count them, so they are computed from ``sizes``."""


class Presented(Struct, gc=False):
    """The token that a request presented: its login and its generation."""

    account: str
    lineage: str
    generation: int


class ExchangeSeen(Struct, gc=False):
    """An exchange: the generation of the token, the attempt (8 hexadecimal digits of its digest), and the outcome."""

    generation: int
    attempt: str | None
    outcome: Outcome


class SignatureSeen(Struct, gc=False):
    """A signature that the server judged. ``verdict`` is ``verified`` or the code of the error."""

    base: Callable[[], str]
    """Return the signature base without its secrets."""
    components: Sequence[str]
    keyid: str
    created: int | None
    verdict: str

    def shown(self) -> dict[str, object]:
        """Return the signature as the development API shows it."""
        return {
            "base": self.base(),
            "components": list(self.components),
            "keyid": self.keyid,
            "created": self.created,
            "verdict": self.verdict,
        }


class Seen(Struct, gc=False):
    """The notes of one request."""

    phone: str | None = None
    request_id: str = ""
    """The id of the request if the answer has none. Empty: a random id is used then."""
    faults: tuple[Fault, ...] = ()
    closed: bool = False
    """A fault closed the connection."""
    calls: list[EngineCall] = []
    account: str | None = None
    """The account that Baton read or registered first."""
    token: Presented | None = None
    exchange: ExchangeSeen | None = None
    signature: SignatureSeen | None = None

    def fault(self, name: str) -> Fault | None:
        """Return the fault with this name that the request met, or ``None``."""
        return next((fault for fault in self.faults if fault.name == name), None)

    @property
    def skew_s(self) -> int:
        """Return how many seconds the server's clock is ahead for this request. Negative: the clock is behind."""
        return sum(fault.seconds for fault in self.faults if fault.name == "clock_skew")


CURRENT: ContextVar[Seen | None] = ContextVar("CURRENT", default=None)
"""The notes of the request that this thread runs."""
