"""What the operator's log holds: the form of its lines, and of the metrics embedded in them."""

import json
import os
import re
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from chalicelib.baton.events.log import Log


class Metric(Struct, forbid_unknown_fields=True):
    """A definition of a metric."""

    Name: Annotated[str, Meta(min_length=1, max_length=1024)]
    Unit: Literal["Count", "Milliseconds", "None"]


class Directive(Struct, forbid_unknown_fields=True):
    """Which members are metrics, and which are dimensions."""

    Namespace: Annotated[str, Meta(min_length=1, max_length=1024)]
    Dimensions: Annotated[list[Annotated[list[str], Meta(max_length=30)]], Meta(min_length=1)]
    Metrics: Annotated[list[Metric], Meta(max_length=100)]


class About(Struct, forbid_unknown_fields=True):
    """The member ``_aws``."""

    Timestamp: int
    CloudWatchMetrics: list[Directive]


@pytest.fixture
def log() -> Log:
    """Tell everything, and count it."""
    return Log(service="baton-test", level="DEBUG", metrics=True)


def written(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Read the lines since it was last asked."""
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_what_was_counted_is_one_document_that_cloudwatch_reads(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """By the CloudWatch user guide, "Specification: Embedded metric format"; every metric has its sum."""
    log.start_request(request_id="r1")
    log.record("exchanged", lineage="l1", generation=1)
    log.record("exchanged", lineage="l1", generation=2)
    log.record("keys_checked", signing_key_age_days=3)
    [document] = [line for line in written(capfd) if "_aws" in line]
    [directive] = msgspec.convert(document["_aws"], About).CloudWatchMetrics
    units = {metric.Name: metric.Unit for metric in directive.Metrics}
    assert units == {
        "exchanged": "Count",
        "exchange_ms": "Milliseconds",
        "keys_checked": "Count",
        "signing_key_age_days": "None",
    }
    assert {name: document[name] for name in units if name != "exchange_ms"} == {
        "exchanged": 2,
        "keys_checked": 1,
        "signing_key_age_days": 3,
    }
    assert type(document["exchange_ms"]) is float
    assert directive.Dimensions == [["service"]]
    assert (document["service"], document["request_id"], document["lineage"]) == ("baton-test", "r1", "l1")


def test_a_line_says_what_when_how_grave_and_where(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """By the names that Lambda and CloudWatch's console know: level, message, timestamp."""
    log.start_request(request_id="r1")
    log.record("token_reused", lineage="l1", generation=4)
    [line] = written(capfd)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "WARNING",
        "message": "token_reused",
        "service": "baton-test",
        "request_id": "r1",
        "lineage": "l1",
        "generation": 4,
    }


def test_a_request_that_counts_nothing_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A signed call is answered, and no metric is sent empty; what was counted is sent once."""
    log = Log(service="baton-test", level="ERROR", metrics=True)
    log.record("answered", status=200)
    assert written(capfd) == []
    for _ in range(2):
        log.record("exchanged", lineage="x", generation=1)
        log.record("answered", status=200)
        assert [line["exchanged"] for line in written(capfd)] == [1]


def test_a_request_that_timed_nothing_has_no_latency_of_the_one_before(
    log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that ended without an answer leaves its counts, which are true, and not its clock, which is not."""
    log.start_request(request_id="r1")
    log.record("exchanged", lineage="x", generation=1)
    log.start_request(request_id="r2")
    log.record("refused", status=400, code="malformed")
    [document] = [line for line in written(capfd) if "_aws" in line]
    assert (document["exchanged"], document["refused_malformed"]) == (1, 1)
    assert "exchange_ms" not in document


def test_however_often_a_thing_happened_cloudwatch_takes_its_count(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A metric's value is a number, or up to a hundred of them: a document with one more is not read at all."""
    log.start_request(request_id="r1")
    for _ in range(101):
        log.record("configuration_finding", subject="a table", problem="it is not protected")
    log.record("configuration_audited", configuration_findings=101)
    [document] = [line for line in written(capfd) if "_aws" in line]
    assert (document["configuration_finding"], document["configuration_findings"]) == (101, 101)


def test_accounts_are_counted_beside_events(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """Under a name of their own, for the alarms: three events, of two accounts."""
    log.start_request(request_id="r1")
    for first in (1, 0, 1):
        log.record("token_reused", lineage="l1", first_of_account=first)
    log.record("refused", status=400, code="token_reused")
    [document] = [line for line in written(capfd) if "_aws" in line]
    assert (document["token_reused"], document["token_reused_accounts"]) == (3, 2)


def test_what_cannot_be_written_is_counted_all_the_same(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A line may be lost for a fact that JSON cannot carry; the alarm that counts it may not."""
    log.start_request(request_id="r1")
    log.record("token_reused", lineage="l1", generation=1)
    written(capfd)
    log.record("refused", status=400, code="token_reused", where=object())  # type: ignore[arg-type] # a defect
    [document] = written(capfd)
    assert (document["token_reused"], document["refused_token_reused"]) == (1, 1)


def test_a_line_is_out_before_the_answer(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda may freeze or end the environment as soon as that has left: nothing waits in a buffer."""
    read, written = os.pipe()
    monkeypatch.setattr("chalicelib.baton.events.log._STANDARD_OUTPUT", written)
    log.record("token_reused", lineage="l1", generation=1)
    os.close(written)
    with os.fdopen(read, "rb") as told:
        assert told.read().count(b"\n") == 1


@pytest.mark.parametrize("character", ["x", "\n", "\x1b", "\u2028", "\u202e", "\ud800", "\x00"])
def test_a_long_or_unprintable_fact_reached_the_log_whole(
    log: Log, capfd: pytest.CaptureFixture[str], character: str
) -> None:
    """200 characters, and none that moves a cursor or breaks a line: the second not-before time, behind fixed words."""
    log.start_request(request_id=f"r{character}" * 300)
    log.record("refused", status=400, code="malformed", reason=f"why{character}" * 2000)
    line = written(capfd)[0]
    for fact in (line["reason"], line["request_id"]):
        assert len(fact) == 200
        assert fact.isprintable()
    assert line["reason"].startswith("whyx" if character == "x" else "why?")
    assert (line["status"], line["code"]) == (400, "malformed")
