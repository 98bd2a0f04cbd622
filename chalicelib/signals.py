"""What the operator watches: one JSON line an event, and a metric for those worth counting (CloudWatch EMF).

Redacted by construction: only the facts a journey names are written, and no journey names a secret.
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger, Metrics

_LEVELS = ("debug", "info", "warning", "error")
_LEVEL_OF = {
    "answered": "debug",  # API Gateway's access log has a line for each already
    "token_reused": "warning",
    "foreign_key_exchange": "warning",
    "generation_ahead": "warning",
    "defect": "error",
}
_LAST = frozenset({"answered", "refused"})
"""How a request ends: what was counted in it is sent."""


class PowertoolsSignals:
    """Emit through AWS Lambda Powertools. Made at start, imported at the first event."""

    def __init__(self, *, level: str, metrics: bool) -> None:
        """Log from ``level`` upwards; ``metrics`` writes embedded metrics too."""
        self._level = level
        self._told = frozenset(_LEVELS[_LEVELS.index(level.lower()) :])
        self._counts = metrics
        self._counted = False

    @functools.cached_property
    def _logger(self) -> "Logger":
        from aws_lambda_powertools import Logger  # noqa: PLC0415 - cold start

        return Logger(service="baton", level=self._level, location=None)

    @functools.cached_property
    def _metrics(self) -> "Metrics":
        from aws_lambda_powertools import Metrics  # noqa: PLC0415 - cold start

        return Metrics(namespace="Baton", service="baton")

    def emit(self, event: str, /, **facts: str | int) -> None:
        """Write the event's line and count it; how a request ended sends what was counted."""
        try:
            level = _LEVEL_OF.get(event, "info")
            if level in self._told:
                getattr(self._logger, level)(event, extra=facts)
            if self._counts:
                self._count(event, facts)
        except Exception:  # noqa: BLE001, S110 - a line that cannot be written must not fail a login
            pass

    def _count(self, event: str, facts: Mapping[str, str | int]) -> None:
        name = f"refused_{facts['code']}" if event == "refused" else event
        if event != "answered":
            self._metrics.add_metric(name=name, unit="Count", value=1)
            self._counted = True
        if event in _LAST and self._counted:
            self._counted = False
            self._metrics.flush_metrics()
