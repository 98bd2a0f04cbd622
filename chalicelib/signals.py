"""What the operator watches: one JSON line an event, and a metric for those worth counting (CloudWatch EMF).

Redacted by construction: only the facts a journey names are written, and no journey names a secret.
"""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger, Metrics

_WARNINGS = frozenset({"token_reused", "foreign_key_exchange", "generation_ahead", "unavailable"})
_ERRORS = frozenset({"defect"})
_LINES_ONLY = frozenset({"answered", "refused"})


class PowertoolsSignals:
    """Emit through AWS Lambda Powertools. Made at start, imported at the first event."""

    def __init__(self, *, level: str, metrics: bool) -> None:
        """Log from ``level`` upwards; ``metrics`` writes embedded metrics too."""
        self._level = level
        self._counts = metrics

    @functools.cached_property
    def _logger(self) -> "Logger":
        from aws_lambda_powertools import Logger  # noqa: PLC0415 - cold start

        return Logger(service="baton", level=self._level)

    @functools.cached_property
    def _metrics(self) -> "Metrics":
        from aws_lambda_powertools import Metrics  # noqa: PLC0415 - cold start

        return Metrics(namespace="Baton", service="baton")

    def emit(self, event: str, /, **facts: str | int) -> None:
        """Write the event's line and count it; a request's ``answered`` sends what was counted."""
        try:
            log = (
                self._logger.error
                if event in _ERRORS
                else self._logger.warning
                if event in _WARNINGS
                else self._logger.info
            )
            log(event, extra=dict(facts))
            if self._counts:
                self._count(event, facts)
        except Exception:  # noqa: BLE001, S110 - a line that cannot be written must not fail a login
            pass

    def _count(self, event: str, facts: dict[str, str | int]) -> None:
        if event == "answered":
            if self._metrics.metric_set:  # sent empty, they are a warning in words among lines of JSON
                self._metrics.flush_metrics()
        elif event == "refused":
            self._metrics.add_metric(name=f"refused_{facts['code']}", unit="Count", value=1)
        elif event not in _LINES_ONLY:
            self._metrics.add_metric(name=event, unit="Count", value=1)
