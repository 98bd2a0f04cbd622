"""What the operator watches: one JSON line an event, and a metric for those worth counting (CloudWatch EMF).

Redacted by construction: only the facts of ``FACTS`` are written, and none of them is ever a secret. Every line and
every metric of a request carries its id, and the lineage from the moment one is known. docs/metrics.md is the page.
"""

import functools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.metrics import EphemeralMetrics

_LEVELS: Final = ("debug", "info", "warning", "error")

EVENTS: Final[Mapping[str, str]] = {
    "answered": "debug",  # API Gateway's access log has a line for each already
    "refused": "info",  # our own trouble (5xx): warning
    "registered": "info",
    "registration_retried": "info",
    "logged_in": "info",
    "login_retried": "info",
    "password_refused": "info",
    "throttled": "info",
    "exchanged": "debug",  # its metric's line carries request and lineage already
    "renewed": "debug",  # the same
    "exchange_retried": "info",
    "exchange_superseded": "info",
    "token_reused": "warning",
    "foreign_key_exchange": "warning",
    "generation_ahead": "warning",
    "nonce_replayed": "info",
    "stepped_up": "info",
    "password_changed": "info",
    "logged_out": "info",
    "logged_out_everywhere": "info",
    "revoked": "info",
    "device_ended": "info",
    "account_active": "info",
    "account_disabled": "info",
    "account_deleted": "info",
    "keys_checked": "info",
    "keys_rotated": "warning",
    "configuration_finding": "warning",
    "configuration_audited": "info",
    "audit_lost": "error",
    "defect": "error",
}
"""Every event, and the level of its line."""

FACTS: Final[Mapping[str, str]] = {
    "request_id": "the id the client was given",
    "lineage": "the login, by its id",
    "account": "the account, by its id",
    "client": "the client application",
    "generation": "the number of the current token",
    "code": "the slug of the refusal",
    "reason": "why, in words that are not for the client",
    "status": "the HTTP status",
    "route": "method and route template, never the path",
    "bucket": "the kind of throttle, never whose",
    "event": "the event that could not be kept",
    "kind": "the type of a defect",
    "where": "the functions and lines it came from",
    "revision": "the number of the key ring's last change",
    "signing_key_age_days": "how old the newest signing key is",
    "subject": "the table, key, log group, stage or function a finding is about",
    "problem": "what is not as it must be",
    "findings": "how many things are not as they must be",
}
"""Every fact that may stand in a line. None is a secret, an address or a name."""

_LAST: Final = frozenset({"answered", "refused", "keys_checked", "configuration_audited"})
"""How a request, or a scheduled job, ends: what was counted in it is sent."""

_MEASURED: Final = frozenset({"signing_key_age_days", "findings"})
"""Facts that are metrics themselves, under their own name."""

_TIMED: Final[Mapping[str, str]] = {"exchanged": "exchange_ms", "logged_in": "login_ms"}
"""Whose latency is a metric. The engine's own is DynamoDB's ``SuccessfulRequestLatency``, which costs nothing."""


class PowertoolsSignals:
    """Emit through AWS Lambda Powertools. Made at start, imported at the first event.

    One of its own for each environment, which answers one request at a time: so what stands on the lines of a
    request is an attribute.
    """

    def __init__(self, *, service: str, level: str, metrics: bool) -> None:
        """Log for ``service``, a deployment, from ``level`` upwards; ``metrics`` writes embedded metrics too."""
        self._service = service
        self._level = level
        self._told = frozenset(_LEVELS[_LEVELS.index(level.lower()) :])
        self._counts = metrics
        self._counted = False
        self._timed: str | None = None
        self._began = 0.0
        self._standing: dict[str, str | int] = {}

    @functools.cached_property
    def _logger(self) -> "Logger":
        from aws_lambda_powertools import Logger  # noqa: PLC0415 - cold start

        return Logger(service=self._service, level=self._level, location=None)

    @functools.cached_property
    def _metrics(self) -> "EphemeralMetrics":
        from aws_lambda_powertools.metrics import EphemeralMetrics  # noqa: PLC0415 - cold start

        return EphemeralMetrics(namespace="Baton", service=self._service)

    def begin(self, *, request_id: str) -> None:
        """Forget the request before; this id stands on all that follows."""
        self._standing = {"request_id": request_id}
        self._began = time.perf_counter()
        self._timed = None

    def about(self, *, lineage: str) -> None:
        """Put the lineage on all that follows in this request; the first one named stays."""
        self._standing.setdefault("lineage", lineage)

    def emit(self, event: str, /, **facts: str | int) -> None:
        """Write the event's line and count it; how a request ended sends what was counted."""
        try:
            if "lineage" in facts:
                self._standing.setdefault("lineage", facts["lineage"])
            level = "warning" if event == "refused" and int(facts["status"]) >= 500 else EVENTS.get(event, "info")  # noqa: PLR2004 - 5xx
            if level in self._told:
                line = {name: fact for name, fact in {**self._standing, **facts}.items() if name in FACTS}
                getattr(self._logger, level)(event, extra=line)
            if self._counts:
                self._count(event, facts)
        except Exception:  # noqa: BLE001, S110 - a line that cannot be written must not fail a login
            pass

    def _count(self, event: str, facts: Mapping[str, str | int]) -> None:
        if event != "answered":
            name = f"refused_{facts['code']}" if event == "refused" else event
            self._metrics.add_metric(name=name, unit="Count", value=1)
            self._counted = True
            self._timed = _TIMED.get(event, self._timed)
        for measured in _MEASURED & facts.keys():
            self._metrics.add_metric(name=measured, unit="None", value=float(facts[measured]))
        if event in _LAST and self._counted:
            self._send()

    def _send(self) -> None:
        if self._timed:
            took_ms = (time.perf_counter() - self._began) * 1000
            self._metrics.add_metric(name=self._timed, unit="Milliseconds", value=round(took_ms, 1))
        for name, fact in self._standing.items():
            self._metrics.add_metadata(name, fact)
        self._counted = False
        self._timed = None
        self._metrics.flush_metrics()
