"""The form of log lines, and of the metrics that are embedded in them."""

import json
import os
import re
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from chalicelib.baton.events.log import Log
from chalicelib.baton.http.jobs import as_job


class Metric(Struct, forbid_unknown_fields=True):
    """The definition of a metric."""

    Name: Annotated[str, Meta(min_length=1, max_length=1024)]
    Unit: Literal["Count", "Milliseconds", "None"]


class Directive(Struct, forbid_unknown_fields=True):
    """The names of the metrics and of the dimensions."""

    Namespace: Annotated[str, Meta(min_length=1, max_length=1024)]
    Dimensions: Annotated[list[Annotated[list[str], Meta(max_length=30)]], Meta(min_length=1)]
    Metrics: Annotated[list[Metric], Meta(max_length=100)]


class About(Struct, forbid_unknown_fields=True):
    """The member ``_aws``."""

    Timestamp: int
    CloudWatchMetrics: list[Directive]


@pytest.fixture
def log() -> Log:
    """Make a log that writes and counts everything."""
    return Log(service="baton-test", level="DEBUG", metrics=True)


def written(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the new lines."""
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_the_counts_of_a_request_are_one_emf_document(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """CloudWatch user guide, "Specification: Embedded metric format". Each metric has its sum."""
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


def test_a_line_has_level_message_and_timestamp(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """Lambda and the CloudWatch console use these names."""
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


def test_a_request_that_counts_nothing_writes_no_metrics(capfd: pytest.CaptureFixture[str]) -> None:
    """Counts are written once, with the answer of their request."""
    log = Log(service="baton-test", level="ERROR", metrics=True)
    log.record("answered", status=200)
    assert written(capfd) == []
    for _ in range(2):
        log.record("exchanged", lineage="x", generation=1)
        log.record("answered", status=200)
        assert [line["exchanged"] for line in written(capfd)] == [1]


def test_a_request_without_a_duration_does_not_report_the_previous_one(
    log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first request ended without an answer. Its counts are still reported, but its start time is not used."""
    log.start_request(request_id="r1")
    log.record("exchanged", lineage="x", generation=1)
    log.start_request(request_id="r2")
    log.record("refused", status=400, code="malformed")
    [document] = [line for line in written(capfd) if "_aws" in line]
    assert (document["exchanged"], document["refused_malformed"]) == (1, 1)
    assert "exchange_ms" not in document


@pytest.mark.parametrize("fails", [False, True])
def test_a_job_sends_its_metrics_also_if_it_raises(log: Log, capfd: pytest.CaptureFixture[str], *, fails: bool) -> None:
    """Bug: only some events sent the metrics. The functions for mail and for operators never record such an event."""

    def note_defect(defect: Exception) -> None:
        log.record("internal_error", kind=type(defect).__name__, where="here")

    def carry_out(_: object) -> None:
        log.record("mail_sent", mail="verify")
        if fails:
            raise LookupError

    dispatch: Any = SimpleNamespace(log=log, entropy=os.urandom, note_defect=note_defect)
    with pytest.raises(LookupError) if fails else nullcontext():
        as_job(dispatch, carry_out)(object())
    [document] = [line for line in written(capfd) if "_aws" in line]
    assert (document["mail_sent"], document.get("internal_error")) == (1, 1 if fails else None)
    log.end_request()
    assert written(capfd) == []


def test_a_metric_is_sent_as_its_sum(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A metric has one number or up to a hundred. CloudWatch ignores a document with more."""
    log.start_request(request_id="r1")
    for _ in range(101):
        log.record("configuration_finding", subject="a table", problem="it is not protected")
    log.record("configuration_audited", configuration_findings=101)
    [document] = [line for line in written(capfd) if "_aws" in line]
    assert (document["configuration_finding"], document["configuration_findings"]) == (101, 101)


def test_accounts_are_counted_beside_events(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A second metric, for the alarms, counts the accounts: here three events of two accounts."""
    log.start_request(request_id="r1")
    for first in (1, 0, 1):
        log.record("token_reused", lineage="l1", first_of_account=first)
    log.record("refused", status=400, code="token_reused")
    [document] = [line for line in written(capfd) if "_aws" in line]
    assert (document["token_reused"], document["token_reused_accounts"]) == (3, 2)


def test_an_event_that_cannot_be_written_is_counted(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A line is lost if JSON cannot encode a fact. The alarm's metric must not be lost."""
    log.start_request(request_id="r1")
    log.record("token_reused", lineage="l1", generation=1)
    written(capfd)
    log.record("refused", status=400, code="token_reused", where=object())  # type: ignore[arg-type] # a defect
    [document] = written(capfd)
    assert (document["token_reused"], document["refused_token_reused"]) == (1, 1)


def test_a_line_is_written_before_the_answer_is_returned(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the answer, Lambda may freeze or end the environment, so nothing may stay in a buffer."""
    read, written = os.pipe()
    monkeypatch.setattr("chalicelib.baton.events.log._STANDARD_OUTPUT", written)
    log.record("token_reused", lineage="l1", generation=1)
    os.close(written)
    with os.fdopen(read, "rb") as told:
        assert told.read().count(b"\n") == 1


@pytest.mark.parametrize("character", ["x", "\n", "\x1b", "\u2028", "\u202e", "\ud800", "\x00"])
def test_a_long_or_unprintable_fact_is_cut_and_escaped(
    log: Log, capfd: pytest.CaptureFixture[str], character: str
) -> None:
    """A fact has at most 200 characters, without line ends and cursor controls, so no caller can forge a log line."""
    log.start_request(request_id=f"r{character}" * 300)
    log.record("refused", status=400, code="malformed", reason=f"why{character}" * 2000)
    line = written(capfd)[0]
    for fact in (line["reason"], line["request_id"]):
        assert len(fact) == 200
        assert fact.isprintable()
    assert line["reason"].startswith("whyx" if character == "x" else "why?")
    assert (line["status"], line["code"]) == (400, "malformed")
