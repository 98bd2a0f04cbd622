"""The faults that the development server can inject into the requests of an app: docs/baton/development.md."""

import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import asdict

from tools.dev.api.answers import DevRefusal, integer, refuse_unknown, string

FAULTS_MAX: Final = 50
TIMES_MAX: Final = 1_000
MS_MAX: Final = 60_000
SECONDS_MAX: Final = 86_400

Takes = Literal["ms", "seconds", "account"]


class Kind(Struct, frozen=True):
    """A kind of fault: its effect (``does``), and the parameter that such a fault needs, if any (``takes``)."""

    does: str
    takes: Takes | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "request_lost": Kind("the connection closes before the request has any effect"),
    "answer_lost": Kind("the request takes effect, and the connection closes without an answer"),
    "gateway_timeout": Kind("the request takes effect, and API Gateway answers 504"),
    "throttled": Kind("API Gateway answers 429, without an effect"),
    "captive_portal": Kind("a page that is not Baton's answers: 200, text/html, without an effect"),
    "slow": Kind("the answer comes `ms` milliseconds later", "ms"),
    "database_slow": Kind("each call to DynamoDB takes `ms` milliseconds longer", "ms"),
    "database_down": Kind("DynamoDB throttles each call, without an effect"),
    "database_answer_lost": Kind("the first write to DynamoDB takes effect, and its answer is lost"),
    "kms_down": Kind("KMS refuses to decrypt the key ring, and no key ring is cached"),
    "clock_skew": Kind(
        "signatures are checked by a clock that is `seconds` off, and `server_time` has this time", "seconds"
    ),
    "cloned_device": Kind(
        "immediately: the server exchanges the newest login of `account`, as a copy would", "account"
    ),
}
"""Every fault by its name."""

IMMEDIATE: Final = "cloned_device"
_MEMBERS: Final = ("name", "match", "times", "ms", "seconds")
_MATCH: Final = ("route", "phone", "account")


class Match(Struct, frozen=True):
    """The requests to which a fault applies. An empty member fits every request."""

    route: str = ""
    phone: str = ""
    account: str = ""

    def fits(
        self, *, method: str, route: Callable[[], str | None], phone: str | None, account: Callable[[], set[str]]
    ) -> bool:
        """Check whether the fault applies to a request.

        ``account`` returns the id and the e-mail address of the account of the request, in lower case.
        """
        if self.route:
            template = route()
            if self.route not in {template, f"{method} {template}"}:
                return False
        if self.phone and self.phone != phone:
            return False
        return not self.account or self.account.lower() in account()

    def shown(self) -> dict[str, str]:
        """Return the members that are not empty."""
        return {name: value for name, value in asdict(self).items() if value}


class Fault(Struct, frozen=True):
    """A planned fault. ``name`` is a key of ``KINDS``. ``ms`` and ``seconds`` are 0 if this kind does not take them."""

    id: str
    name: str
    match: Match
    ms: int = 0
    seconds: int = 0


class Faults:
    """The planned faults. ``noted`` is called for each change."""

    def __init__(self, noted: Callable[[str, Mapping[str, object]], object]) -> None:
        """Plan no fault."""
        self._noted = noted
        self._planned: dict[str, tuple[Fault, int]] = {}
        self._lock = threading.Lock()

    def plan(self, members: Mapping[str, Any], routes: Callable[[], frozenset[str]]) -> tuple[Fault, int]:
        """Return the arguments for ``add``: the fault that the members describe, and how often it is to happen.

        Raises ``DevRefusal`` if a member is wrong.
        """
        refuse_unknown("member", list(members), _MEMBERS)
        name = string(members, "name")
        if name not in KINDS:
            raise DevRefusal(400, "unknown_fault", f"Unknown fault: {name[:64]!r}.", known=list(KINDS))
        takes = KINDS[name].takes
        for member in ("ms", "seconds"):
            if (member in members) != (takes == member):
                raise DevRefusal(
                    400, "wrong_type", f"`{name}` {'needs' if takes == member else 'does not take'} `{member}`."
                )
        match = _match(members.get("match", {}), routes)
        if takes == "account" and not match.account:
            raise DevRefusal(400, "wrong_type", f"`{name}` needs the account: `match.account`.")
        fault = Fault(
            secrets.token_hex(6),
            name,
            match,
            integer(members, "ms", least=1, most=MS_MAX, otherwise=1) if takes == "ms" else 0,
            integer(members, "seconds", least=-SECONDS_MAX, most=SECONDS_MAX, otherwise=0) if takes == "seconds" else 0,
        )
        return fault, integer(members, "times", least=1, most=TIMES_MAX, otherwise=1)

    def add(self, fault: Fault, times: int) -> None:
        """Plan a fault. Raises ``DevRefusal`` if 50 faults are planned already."""
        with self._lock:
            if len(self._planned) >= FAULTS_MAX:
                raise DevRefusal(409, "too_many_faults", f"{FAULTS_MAX} faults are planned. Delete some of them.")
            self._planned[fault.id] = (fault, times)
        self._noted("added", shown(fault, times))

    def remove(self, fault_id: str | None = None) -> bool:
        """Remove the fault with this id, or all faults for ``None``. Return whether a fault was removed."""
        with self._lock:
            ids = [fault_id] if fault_id else list(self._planned)
            removed = [self._planned.pop(one) for one in ids if one in self._planned]
        for fault, left in removed:
            self._noted("removed", shown(fault, left))
        return bool(removed)

    def listed(self) -> list[dict[str, object]]:
        """Return the planned faults, and how often each fault will still happen."""
        with self._lock:
            return [shown(fault, left) for fault, left in self._planned.values()]

    @property
    def planned(self) -> bool:
        """Whether any fault is planned."""
        return bool(self._planned)

    def meet(
        self, *, method: str, route: Callable[[], str | None], phone: str | None, account: Callable[[], set[str]]
    ) -> tuple[Fault, ...]:
        """Return the faults that apply to a request, and count one use of each.

        A fault is removed after its last use.
        """
        with self._lock:
            met = []
            for fault, left in list(self._planned.values()):
                if fault.match.fits(method=method, route=route, phone=phone, account=account):
                    met.append((fault, left - 1))
                    if left > 1:
                        self._planned[fault.id] = (fault, left - 1)
                    else:
                        del self._planned[fault.id]
        for fault, left in met:
            self._noted("hit", shown(fault, left))
        return tuple(fault for fault, _ in met)


def shown(fault: Fault, left: int) -> dict[str, object]:
    """Return a fault as the development API shows it. ``left``: how often the fault will still happen."""
    takes = KINDS[fault.name].takes
    number = {"ms": fault.ms} if takes == "ms" else {"seconds": fault.seconds} if takes == "seconds" else {}
    return {"id": fault.id, "name": fault.name, "match": fault.match.shown(), "left": left, **number}


def _match(given: object, routes: Callable[[], frozenset[str]]) -> Match:
    if not isinstance(given, dict) or not all(isinstance(value, str) and value for value in given.values()):
        raise DevRefusal(400, "wrong_type", "`match` must be an object of texts.", known=list(_MATCH))
    refuse_unknown("member", list(given), _MATCH)
    match = Match(**given)
    if match.route:
        known = routes()
        if match.route not in known | {route.partition(" ")[2] for route in known}:
            raise DevRefusal(400, "unknown_route", f"Unknown route: {match.route[:64]!r}.", known=sorted(known))
    return match
