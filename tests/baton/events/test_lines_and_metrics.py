"""The log: each line of a request is JSON, has its request id and login, and contains no secret."""

import ast
import json
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.accounts.status import STATUS_EVENTS
from chalicelib.baton.browser.bound import SKIPPED_EVENTS, SKIPPED_OTHERWISE
from chalicelib.baton.events.log import FACTS, Log
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.http import jobs
from chalicelib.baton.policy import DAY_S, KEY_RING_REFRESH_S
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD, Device
from tools.dev.gateway import DevelopmentClock, Gateway, LambdaContext
from tools.moving.commands import EXPORTED

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "baton" / "metrics.md"
OTHER_METRICS = {"exchange_ms", "login_ms", "signing_key_age_days", "configuration_findings"}


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Serve with two environments that log and count everything, as in AWS at DEBUG."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_LOG_LEVEL", "DEBUG")
    modules = [load_environment(clock) for _ in range(2)]
    for module in modules:
        module.baton.log.metrics = True
    return Gateway([module.app for module in modules])


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Return the new lines. A line that is not JSON is a failure."""
    return lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def events(lines: list[dict[str, Any]]) -> list[str]:
    """List the events of log lines, in order."""
    return [line["message"] for line in lines if "message" in line]


def metrics(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Add up the embedded metrics."""
    sums: dict[str, float] = {}
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
            assert directive["Namespace"] == "Baton"
            assert directive["Dimensions"] == [["service"]]
            for metric in directive["Metrics"]:
                sums[metric["Name"]] = sums.get(metric["Name"], 0) + line[metric["Name"]]
    return sums


def test_every_line_and_metric_of_a_request_names_its_request_and_login(
    make_device: Callable[..., Device], lines: Callable[[], list[dict[str, Any]]], tables: Tables
) -> None:
    """The test goes from login to reuse. Each line also names the deployment, since one AWS account can have two."""
    phone = make_device()
    phone.register("ada@example.com")
    said = [phone.get("/me"), phone.exchange(), phone.post("/logout", {"surprise": 1})]
    first = lines()
    assert events(first) == ["registered", "answered", "answered", "exchanged", "answered", "refused"]
    answered = {answer.headers["baton-request-id"] for answer in said}
    assert answered < {line["request_id"] for line in first}
    assert {line["lineage"] for line in first} == {phone.tokens["device_id"]}
    assert {line["service"] for line in first} == {tables.prefix}
    assert metrics(first).keys() == {"registered", "exchanged", "exchange_ms", "refused_unknown_field"}
    used = phone.token
    phone.exchange()
    phone.exchange(used, attempt="another-attempt-of-a-thief")
    reused = lines()
    assert [line["level"] for line in reused if line.get("message") == "token_reused"] == ["WARNING"]
    assert metrics(reused)["token_reused"] == 1
    assert {line["lineage"] for line in reused} == {phone.tokens["device_id"]}


def test_a_request_without_a_login_has_no_lineage_of_the_previous_one(
    make_device: Callable[..., Device], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """The request has its own request id, in each environment."""
    phone = make_device()
    phone.register("ada@example.com")
    for _ in range(2):
        phone.get("/me")
    lines()
    for path in ("/time", "/.well-known/jwks.json", "/me"):
        said = phone.send("GET", f"/api{path}", [("host", "api.example.com")], b"")
        told = lines()
        assert told
        assert {line["request_id"] for line in told} == {said.headers["baton-request-id"]}
        assert not any("lineage" in line for line in told)


def test_parallel_requests_do_not_mix_their_lines(
    make_device: Callable[..., Device], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """Eight threads use two environments. Each request has only the lines of its own login."""
    phones = [make_device() for _ in range(4)]
    for number, phone in enumerate(phones):
        phone.register(f"person{number}@example.com")
    lines()
    whose = {}
    with ThreadPoolExecutor(8) as pool:
        for phone, said in pool.map(lambda phone: (phone, phone.get("/me")), phones * 8):
            whose[said.headers["baton-request-id"]] = phone.tokens["device_id"]
    assert {line["request_id"]: line["lineage"] for line in lines()} == whose


def test_ending_another_device_is_logged_for_the_caller(
    make_device: Callable[..., Device], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """The event names the ended device. The lines after it name the caller again."""
    phone, tablet = make_device(), make_device()
    phone.register("ada@example.com")
    tablet.login("ada@example.com")
    path = f"/me/devices/{tablet.tokens['device_id']}"
    grant = phone.step_up("DELETE", path)
    lines()
    assert phone.request("DELETE", path, headers={"baton-grant": grant}).status == 204
    told = {line["message"]: line["lineage"] for line in lines() if "message" in line}
    assert told == {"device_ended": tablet.tokens["device_id"], "answered": phone.tokens["device_id"]}


def test_a_server_error_is_a_warning_and_a_metric(
    make_device: Callable[..., Device],
    lines: Callable[[], list[dict[str, Any]]],
    broken_engine: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing table is 503, never a login and never an end. The metric `refused_unavailable` raises an alarm."""
    monkeypatch.setattr("chalicelib.baton.storage.aws.service.ATTEMPTS", 1)
    phone, stranger = make_device(), make_device()
    phone.register("ada@example.com")
    phone.exchange()
    stranger.login("ada@example.com")
    lines()
    broken_engine.append(True)
    said = [phone.get("/me"), phone.exchange(), phone.login("ada@example.com"), phone.register("eve@example.com")]
    assert [(answer.status, answer.code) for answer in said] == [(503, "unavailable")] * len(said)
    assert all(answer.headers["retry-after"] for answer in said)
    told = lines()
    assert [line["level"] for line in told if line.get("message") == "refused"] == ["WARNING"] * len(said)
    assert metrics(told) == {"refused_unavailable": len(said)}
    broken_engine.clear()
    assert phone.exchange().status == 200


def test_the_documented_events_are_counted(
    make_device: Callable[..., Device], lines: Callable[[], list[dict[str, Any]]], clock: DevelopmentClock
) -> None:
    """A phone and a thief cause ten kinds of events, such as a retry, a reuse, clock skew and a rate limit."""
    phone, thief = make_device(), make_device()
    phone.register("ada@example.com")
    phone.login("ada@example.com")
    first, attempt = phone.token, secrets.token_urlsafe(16)
    phone.exchange(first, attempt=attempt)
    phone.exchange(first, attempt=attempt)
    phone.exchange()
    phone.exchange(first, attempt=attempt)
    thief.exchange(phone.token)
    phone.get("/me", created=int(clock.time()) - 3600)
    phone.exchange(first)
    for _ in range(12):
        thief.login("ada@example.com", password="not the password, but long")
    counted = metrics(lines())
    expected = {
        "registered": 1,
        "logged_in": 1,
        "exchanged": 2,
        "exchange_retried": 1,
        "exchange_superseded": 1,
        "exchange_wrong_key": 1,
        "refused_clock_skew": 1,
        "token_reused": 1,
        "password_refused": 10,
        "throttled": 2,
    }
    assert {name: counted.get(name) for name in expected} == expected
    assert counted["exchange_ms"] > 0
    assert counted["login_ms"] > 0


def test_the_scheduled_rotation_runs_as_in_lambda(
    tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """EventBridge's event is the input. The output is a line and a metric with the event's id. A due key rotates."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_LOG_LEVEL", "INFO")
    module = load_environment(clock)
    module.baton.log.metrics = True
    event = {"version": "0", "account": "1", "region": "r", "detail": {}, "detail-type": "Scheduled Event"}
    event |= {"source": "aws.events", "time": "t", "resources": []}
    for skipped_days in (0, 90):
        clock.skip(skipped_days * DAY_S)
        jobs.rotate_keys(event | {"id": f"event-{skipped_days}"}, LambdaContext("invocation"))
    told = lines()
    assert events(told) == ["keys_checked", "keys_rotated", "keys_checked"]
    assert [line["request_id"] for line in told if "_aws" in line] == ["event-0", "event-90"]
    assert metrics(told) == {"keys_checked": 2, "keys_rotated": 1, "signing_key_age_days": 0}
    clock.skip(KEY_RING_REFRESH_S)
    assert len(module.baton.key_ring.current(now=int(clock.time())).signing) == 3


@pytest.mark.parametrize("event", [{}, None])
@pytest.mark.parametrize("job", [jobs.rotate_keys, jobs.apple_revocations, jobs.android_revocations])
def test_a_scheduled_job_can_be_started_by_hand(
    tables: Tables,
    clock: DevelopmentClock,
    monkeypatch: pytest.MonkeyPatch,
    lines: Callable[[], list[dict[str, Any]]],
    job: Callable[[Any, LambdaContext], None],
    event: dict[str, Any] | None,
) -> None:
    """Bug: `aws lambda invoke` of the runbooks has no payload, and Chalice failed to read an event without members."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_LOG_LEVEL", "INFO")
    load_environment(clock)
    job(event, LambdaContext("by-hand"))
    assert [name for name in events(lines()) if name.endswith("_checked")] != []


def test_no_line_contains_a_secret(make_device: Callable[..., Device], capfd: pytest.CaptureFixture[str]) -> None:
    """At DEBUG with metrics, no line has a token, password, address, attempt, nonce, grant or signature."""
    phone = make_device()
    sent: set[str] = set()
    carry = phone.send

    def noting(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Any:
        hidden = {"authorization", "signature", "idempotency-key", "baton-grant", "content-digest"}
        sent.update(value.removeprefix("Bearer ") for name, value in headers if name in hidden)
        sent.update(re.findall(r'nonce="([^"]+)"', str(dict(headers).get("signature-input"))))
        return carry(method, target, headers, body)

    phone.send = noting
    phone.register("ada@example.com")
    phone.exchange()
    transfer = {"to": "Bob Builder", "amount": 20_000}
    grant = phone.step_up("POST", "/transfers", json.dumps(transfer).encode())
    assert phone.post("/transfers", transfer, {"baton-grant": grant}).status == 201
    assert phone.post("/transfers", transfer, {"baton-grant": grant}).code == "grant_invalid"
    change = {"new_password": NEW_PASSWORD}
    grant = phone.step_up("POST", "/me/password", json.dumps(change).encode())
    assert phone.post("/me/password", change, {"baton-grant": grant}).status == 204
    phone.login("ada@example.com", password="a wrong one that is long")
    phone.get("/me", tamper=lambda fields: fields.update(authorization=fields["authorization"] + "x"))
    said = capfd.readouterr().out
    assert '"password_changed"' in said
    assert '"exchanged"' in said
    assert len(sent) > 20
    for secret in sent | {PASSWORD, NEW_PASSWORD, "ada@example.com", "Bob Builder", "a wrong one that is long"}:
        assert secret not in said


def test_the_lines_of_a_login_name_the_new_login(
    make_device: Callable[..., Device], capfd: pytest.CaptureFixture[str]
) -> None:
    """Bug: they named the earlier login of the device, because its end was recorded first."""
    phone = make_device()
    phone.register("ada@example.com")
    before = phone.tokens["device_id"]
    capfd.readouterr()
    assert phone.login("ada@example.com").status == 200
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    named = {line["message"]: line["lineage"] for line in lines if "message" in line}
    assert (named["login_replaced"], named["answered"]) == (before, phone.tokens["device_id"])


def test_a_fact_that_is_not_listed_is_not_written(capfd: pytest.CaptureFixture[str]) -> None:
    """Only listed facts can be logged, so each new fact is reviewed in the table."""
    log = Log(service=f"baton-{secrets.token_hex(4)}", level="DEBUG", metrics=True)
    log.start_request(request_id="r1")
    log.record("logged_in", lineage="l1", password="hush")
    log.record("refused", status=400, code="malformed")
    said = capfd.readouterr().out
    assert '"logged_in"' in said
    assert "hush" not in said


def test_a_line_that_cannot_be_written_does_not_fail_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be closed, and an event may lack its facts."""
    log = Log(service=f"baton-{secrets.token_hex(4)}", level="DEBUG", metrics=True)
    log.record("refused")
    tried = []

    def gone(_: int, line: bytes) -> int:
        tried.append(line)
        raise BrokenPipeError

    monkeypatch.setattr("chalicelib.baton.events.log.os.write", gone)
    log.record("token_reused")
    log.record("answered")
    assert len(tried) == 3  # two lines and a metric


def test_a_process_without_standard_output_writes_to_no_other_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process started with `>&-`, the first socket gets descriptor 1. A log line would be sent on this socket."""
    log = Log(service=f"baton-{secrets.token_hex(4)}", level="DEBUG", metrics=True)
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("chalicelib.baton.events.log.os.write", lambda *_: pytest.fail("written"))
    log.record("token_reused")


def emissions() -> Iterator[tuple[str, str | None, set[str]]]:
    """Find each `log.record` in the shipped code: place, event, facts."""
    for path in (ROOT / "chalicelib" / "baton").rglob("*.py"):
        if path.name == "record.py" or "testing" in path.parts:
            continue  # record.py passes its arguments on, and the contract of the test kit writes to a store
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr == "record":
                event = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                yield (
                    f"{path.name}:{node.lineno}",
                    event if isinstance(event, str) else None,
                    {
                        keyword.arg
                        for keyword in node.keywords
                        if keyword.arg and keyword.arg not in {"details", "told"}
                    },
                )


def test_every_event_and_every_fact_is_listed() -> None:
    """The lists have no other event and no other fact."""
    said = list(emissions())
    named = {event for _, event, _ in said if event}
    computed = {"answered", "refused", EXPORTED, *STATUS_EVENTS.values(), *SKIPPED_EVENTS.values(), SKIPPED_OTHERWISE}
    assert len([event for _, event, _ in said if event is None]) == 3, "status.py, dispatch.py, bound.py"
    assert named | computed == EVENTS.keys()
    unknown = {(where, fact) for where, _, facts in said for fact in facts if fact not in FACTS}
    assert unknown == set()
    by_itself = {"request_id", "code", "reason", "first_of_account"}
    assert set().union(*(facts for _, _, facts in said)) | by_itself == FACTS.keys()


def test_an_event_of_the_audit_is_recorded_by_one_call() -> None:
    """`record` writes the line and the audit row, so that neither can be forgotten."""
    recorded = re.compile(r"log\.record\(\s*\"([a-z_]+)\"")
    shipped = [path.read_text("utf-8") for path in (ROOT / "chalicelib").rglob("*.py")]
    names = {name for text in shipped for name in recorded.findall(text)}
    assert "exchanged" in names
    assert {name for name in names if EVENTS[name].audited} == set()


def test_the_page_of_metrics_lists_exactly_the_events() -> None:
    """docs/baton/metrics.md has one row for each event, with its level."""
    rows = re.findall(r"^\| `([a-z_]+)` \| ([A-Z]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {name: level.lower() for name, level in rows} == {name: event.level for name, event in EVENTS.items()}
    kept = PAGE.read_text("utf-8").partition("The audit of an account keeps ")[2].partition(".\n")[0]
    assert re.findall(r"`([a-z_]+)`", kept) == [name for name, event in EVENTS.items() if event.audited]
    facts = re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {name: meaning.strip() for name, meaning in facts if name in FACTS} == FACTS
    accounts = {f"{event}_accounts" for event, kind in EVENTS.items() if kind.per_account}
    for metric in OTHER_METRICS | accounts:
        assert f"`{metric}`" in PAGE.read_text("utf-8")


HANDLER = "tests.baton.fixture_app.app"


def test_invalid_settings_stop_the_function_before_its_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lambda prints the exception of the import. It lists every problem and no value."""
    from awslambdaric.bootstrap import _get_handler

    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    monkeypatch.setenv("BATON_RESOURCE_SERVERS", "billing:the-secret-itself")
    monkeypatch.setenv("BATON_LOG_LEVEL", "LOUD")
    monkeypatch.delitem(sys.modules, HANDLER, raising=False)
    with pytest.raises(ValueError, match="Baton cannot start") as stopped:
        _get_handler(f"{HANDLER}.app")
    for name in ("DEVELOPMENT", "RESOURCE_SERVERS", "LOG_LEVEL"):
        assert f"BATON_{name}" in str(stopped.value)
    assert "the-secret-itself" not in str(stopped.value)
