"""The metrics that the console of a stage draws, read from CloudWatch with the operator's own rights.

The operation is ``GetMetricData``.
"""

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from chalicelib.baton.storage.aws.service import AwsClient

NAMESPACE: Final = "Baton"
PERIODS_S: Final[Mapping[int, int]] = {3: 5 * 60, 24: 30 * 60, 168: 3 * 3600}
"""The seconds of one point, for each number of hours that a page can show: a line has at most 56 points."""


class Metric(NamedTuple):
    """One metric that the console draws as a line.

    Where CloudWatch has no value, the line of a count is at zero, and the line of a duration has a gap.
    """

    name: str
    title: str
    statistic: str = "Sum"

    @property
    def counts(self) -> bool:
        """Whether the metric counts events."""
        return self.statistic == "Sum"


DRAWN: Final = (
    Metric("logged_in", "Logins"),
    Metric("password_refused", "Wrong passwords"),
    Metric("throttled", "Refused by a rate limit"),
    Metric("exchanged", "Exchanges"),
    Metric("exchange_retried", "Exchanges repeated after a lost answer"),
    Metric("token_reused", "Logins ended by a reuse"),
    Metric("refused_unavailable", "Answers 503"),
    Metric("login_ms", "Time of a login, 95th percentile", "p95"),
    Metric("exchange_ms", "Time of an exchange, 95th percentile", "p95"),
)


def read(cloudwatch: AwsClient, service: str, hours: int, *, now: float | None = None) -> dict[str, Any]:
    """Return the JSON for the page Metrics: the points of each metric of a deployment. Raises ``Unavailable``."""
    period = PERIODS_S[hours]
    end = int((time.time() if now is None else now) // period + 1) * period
    asked: dict[str, Any] = {
        "MetricDataQueries": [_query(index, metric, service, period) for index, metric in enumerate(DRAWN)],
        "StartTime": end - hours * 3600,
        "EndTime": end,
        "ScanBy": "TimestampAscending",
    }
    found: list[dict[int, float]] = [{} for _ in DRAWN]
    while True:
        page = cloudwatch.call("get_metric_data", **asked)
        for one in page["MetricDataResults"]:
            seconds = (int(at.timestamp()) for at in one["Timestamps"])
            found[int(one["Id"].removeprefix("m"))].update(zip(seconds, one["Values"], strict=True))
        if not page.get("NextToken"):
            break
        asked["NextToken"] = page["NextToken"]
    times = range(end - hours * 3600, end, period)
    return {
        "hours": hours,
        "period": period,
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "unit": "count" if metric.counts else "ms",
                "points": [[at, values.get(at, 0 if metric.counts else None)] for at in times],
            }
            for metric, values in zip(DRAWN, found, strict=True)
        ],
    }


def _query(index: int, metric: Metric, service: str, period: int) -> dict[str, Any]:
    measured = {
        "Namespace": NAMESPACE,
        "MetricName": metric.name,
        "Dimensions": [{"Name": "service", "Value": service}],
    }
    return {"Id": f"m{index}", "MetricStat": {"Metric": measured, "Period": period, "Stat": metric.statistic}}
