"""The log: one JSON line for each event, and metrics of the counted events (CloudWatch EMF).

Only the facts of ``FACTS`` are written, and none of them is a secret. Every line and every metric of a request carries
the request id, and the lineage once it is known. docs/baton/metrics.md lists the events and the metrics.

Baton uses no logging library. The format is one documented object, and a library took a sixth of the time of an
exchange and 6 ms of each cold start.
"""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from chalicelib.baton.events.names import EVENTS, Event

_LEVELS: Final = ("debug", "info", "warning", "error")

FACTS: Final[Mapping[str, str]] = {
    "request_id": "the id that the client received",
    "lineage": "the id of the login",
    "account": "the id of the account",
    "client": "the client application",
    "generation": "the number of the current token",
    "code": "the code of the error",
    "provider": "the identity provider, a name of `providers.toml`",
    "reason": "the private reason of an error, for the operator",
    "status": "the HTTP status",
    "route": "method and route template, never the path",
    "limit": "the kind of rate limit, never the account or address",
    "event": "the event that could not be written",
    "kind": "the type of an unplanned exception",
    "where": "the functions and lines of an unplanned exception",
    "first_of_account": (
        "1 for an account's first event of this name in a day, else 0. Only `token_reused` and `throttled` have this "
        "fact. The metrics `token_reused_accounts` and `throttled_accounts` are the sums of its values"
    ),
    "mail": "the name of the text of a mail",
    "revision": "the number of the key ring's last change",
    "signing_key_age_days": "the age of the newest signing key",
    "subject": "what a finding of the daily audit is about: a table, KMS key, log group, API stage or function",
    "finding": "the difference from the required configuration",
    "configuration_findings": "the number of findings",
    "revoked_certificates": "the number of revoked certificates in the list of Android",
    "revoked_tokens": "the number of refresh tokens of Apple that the hourly job revoked, or dropped after 30 days",
    "waiting_tokens": "the number of refresh tokens of Apple that wait for their revocation",
}
"""Every fact that a line may have. No fact is a secret, an address or the name of a person."""

_LAST: Final = frozenset(
    {
        "answered",
        "refused",
        "keys_checked",
        "configuration_audited",
        "revocation_list_checked",
        "apple_revocations_checked",
    }
)
"""The events that end a request or a scheduled job. Such an event sends the metrics."""

_MEASURED: Final = ("signing_key_age_days", "configuration_findings")
"""Facts that are also metrics, under their own name."""

_TIMED: Final[Mapping[str, str]] = {"exchanged": "exchange_ms", "logged_in": "login_ms"}
"""Event -> the metric for the duration of the request. AWS has a metric for DynamoDB: ``SuccessfulRequestLatency``."""

_NAMESPACE: Final = "Baton"
_UNKNOWN: Final = Event("info")
_DIMENSIONS: Final = [["service"]]
_STANDARD_OUTPUT: Final = 1
_CHARACTERS_MAX: Final = 200
"""The maximum length of a fact, in characters. Baton's longest fact is ``where``: the places of an internal error."""


class Log:
    """``ports.Log`` on standard output, which Lambda sends to the log group.

    A Lambda environment answers one request at a time. So its ``Log`` stores the facts of the current request.
    """

    def __init__(
        self, *, service: str, level: str, metrics: bool, write: Callable[[Mapping[str, object]], None] | None = None
    ) -> None:
        """Write the events of ``level`` and above, for the deployment ``service``.

        If ``metrics`` is true, also write embedded metrics. ``write`` writes one line, by default to standard output.
        """
        self._write = write or write_line
        self._service = service
        self._told = frozenset(_LEVELS[_LEVELS.index(level.lower()) :])
        self.metrics = metrics
        self._counted: dict[tuple[str, str], float] = {}
        self._timed: str | None = None
        self._began = 0.0
        self._standing: dict[str, str | int] = {}

    def start_request(self, *, request_id: str) -> None:
        """Begin a request: all following lines have this id. The lineage of the previous request is dropped."""
        self._standing = {"request_id": _bounded(request_id)}
        self._began = time.perf_counter()
        self._timed = None

    def end_request(self) -> None:
        """Send the metrics that are not sent yet, for example those of a job that raised."""
        with contextlib.suppress(Exception):  # a metric that cannot be written must not fail the work
            if self._counted:
                self._send()

    def set_lineage(self, *, lineage: str) -> None:
        """Add the lineage to all following lines of this request. Only the first call has an effect."""
        self._standing.setdefault("lineage", lineage)

    def record(self, event: str, /, **facts: str | int) -> None:
        """Write the line of the event and count it. The last event of a request sends the metrics."""
        try:
            if "lineage" in facts:
                self._standing.setdefault("lineage", facts["lineage"])
            ours = event == "refused" and int(facts["status"]) >= 500  # noqa: PLR2004 - a server error
            level = "warning" if ours else EVENTS.get(event, _UNKNOWN).level
            try:
                if level in self._told:
                    self._tell(event, level, facts)
            finally:  # an event whose line was lost is counted too
                if self.metrics:
                    self._count(event, facts)
        except Exception:  # noqa: BLE001, S110 - a line that cannot be written must not fail a login
            pass

    def _tell(self, event: str, level: str, facts: Mapping[str, str | int]) -> None:
        now = time.time()
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}Z"
        line = {"level": level.upper(), "message": event, "timestamp": at, "service": self._service, **self._standing}
        self._write(line | {name: _bounded(fact) for name, fact in facts.items() if name in FACTS})

    def _count(self, event: str, facts: Mapping[str, str | int]) -> None:
        if event != "answered":
            self._add(f"refused_{facts['code']}" if event == "refused" else event, "Count", 1)
            self._timed = _TIMED.get(event, self._timed)
            if "first_of_account" in facts:
                self._add(f"{event}_accounts", "Count", int(facts["first_of_account"]))
        for measured in _MEASURED:
            if measured in facts:
                self._add(measured, "None", float(facts[measured]))
        if event in _LAST and self._counted:
            self._send()

    def _add(self, name: str, unit: str, value: float) -> None:
        # Keep only the sum, because CloudWatch accepts at most a hundred values of a metric in a line.
        self._counted[name, unit] = self._counted.get((name, unit), 0) + value

    def _send(self) -> None:
        """Write the counts as one line (CloudWatch, "Specification: Embedded metric format")."""
        if self._timed:
            self._add(self._timed, "Milliseconds", round((time.perf_counter() - self._began) * 1000, 1))
        counted, self._counted, self._timed = self._counted, {}, None
        about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [_directive(tuple(counted))]}
        values = {name: value for (name, _), value in counted.items()}
        self._write({"_aws": about, "service": self._service, **self._standing, **values})


def _bounded(fact: str | int) -> str | int:
    """Shorten a long text and replace unprintable characters: a caller must not be able to forge log lines."""
    if not isinstance(fact, str) or (len(fact) <= _CHARACTERS_MAX and fact.isprintable()):
        return fact
    return "".join(character if character.isprintable() else "?" for character in fact[:_CHARACTERS_MAX])


@functools.lru_cache(maxsize=64)
def _directive(metrics: tuple[tuple[str, str], ...]) -> msgspec.Raw:
    """Build the directive that lists the metrics. It is cached, because most requests count the same metrics."""
    named = [{"Name": name, "Unit": unit} for name, unit in metrics]
    directive = {"Namespace": _NAMESPACE, "Dimensions": _DIMENSIONS, "Metrics": named}
    return msgspec.Raw(msgspec.json.encode(directive))


def write_line(line: Mapping[str, object]) -> None:
    """Write a line immediately, without a buffer: Lambda may freeze or end the environment right after an answer."""
    if sys.stdout is None:  # in a process without standard output, descriptor 1 may be a socket
        return
    os.write(_STANDARD_OUTPUT, msgspec.json.encode(line) + b"\n")
