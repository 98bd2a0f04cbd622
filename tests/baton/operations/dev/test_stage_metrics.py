"""The metrics of the console of a stage: the requests to CloudWatch, and the values for the page."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.storage.aws.service import AwsClient
from tests.baton.repository import ROOT
from tools import stage_metrics
from tools.stage_metrics import DRAWN, PERIODS_S, read

NOW = 1_800_000_123


def cloudwatch(*pages: dict[str, Any]) -> tuple[AwsClient, list[dict[str, Any]]]:
    """Return a client that answers with these pages, and the list of its requests."""
    asked: list[dict[str, Any]] = []

    def get_metric_data(**request: Any) -> dict[str, Any]:
        asked.append(request)
        return pages[len(asked) - 1]

    client = AwsClient("cloudwatch")
    client._made = SimpleNamespace(get_metric_data=get_metric_data)
    return client, asked


@pytest.mark.parametrize("hours", PERIODS_S)
def test_the_questions_name_the_deployment(hours: int) -> None:
    """Each request has the dimension of the alarms. CloudWatch accepts the period, and keeps its values long enough."""
    client, asked = cloudwatch({"MetricDataResults": []})
    found = read(client, "baton-prod", hours, now=NOW)
    (request,) = asked
    period = PERIODS_S[hours]
    assert (request["EndTime"] - request["StartTime"], request["EndTime"] % period) == (hours * 3600, 0)
    assert 0 < request["EndTime"] - NOW <= period
    for metric, query in zip(DRAWN, request["MetricDataQueries"], strict=True):
        stat = query["MetricStat"]
        assert stat["Metric"]["Dimensions"] == [{"Name": "service", "Value": "baton-prod"}]
        assert (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"]) == ("Baton", metric.name)
        assert (stat["Period"], stat["Stat"]) == (period, metric.statistic)
    points = {one["name"]: one["points"] for one in found["metrics"]}
    assert all(len(one) == hours * 3600 // period <= 60 for one in points.values())
    assert {value for _, value in points["logged_in"]} == {0}
    assert {value for _, value in points["login_ms"]} == {None}


def test_the_values_of_all_pages_are_at_their_times() -> None:
    """CloudWatch divides a long answer into pages."""
    first, second = (datetime.fromtimestamp(NOW // 300 * 300 - at, UTC) for at in (600, 300))
    pages: list[dict[str, Any]] = [
        {"MetricDataResults": [{"Id": "m0", "Timestamps": [first], "Values": [3.0]}], "NextToken": "more"},
        {"MetricDataResults": [{"Id": "m0", "Timestamps": [second], "Values": [4.0]}]},
    ]
    client, asked = cloudwatch(*pages)
    logins = read(client, "baton-prod", 3, now=NOW)["metrics"][0]["points"]
    assert [value for _, value in logins[-4:]] == [0, 3.0, 4.0, 0]
    assert asked[1]["NextToken"] == "more"


def test_each_metric_is_one_that_baton_writes() -> None:
    """A metric is an event, a refusal with its code, or a measure that docs/baton/metrics.md lists."""
    page = (ROOT / "docs/baton/metrics.md").read_text("utf-8")
    for metric in DRAWN:
        written = metric.name in EVENTS or metric.name.startswith("refused_") or f"`{metric.name}`" in page
        assert written, metric
    assert {one.name for one in DRAWN if not one.counts} == {"login_ms", "exchange_ms"}
    assert stage_metrics.NAMESPACE in page
