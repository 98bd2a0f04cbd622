"""T39: ``make console`` with no key, a wrong host, a wrong confirmation, and 31 minutes without a request."""

import contextlib
import http.client
import io
import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from chalicelib.baton import errors
from chalicelib.baton.storage.aws.service import AwsClient
from tests.baton.operations.dev.conftest import Server
from tools import stage_console
from tools.dev.api import static
from tools.stage_console import IDLE_MAX_S, LINES_MAX, ConsoleServer, Stage, redirecting_file, serve

KEY = "k" * 43
OPERATOR = "arn:aws:sts::123456789012:assumed-role/operators/grace"


class Console:
    """A console over the function ``operate`` of a development server."""

    def __init__(self, serving: ConsoleServer, asked: list[dict[str, object]], now: list[float]) -> None:
        """Store the server, the requests to the function, and the clock."""
        self.serving, self.asked, self.now = serving, asked, now

    def send(
        self, method: str, path: str, members: object = None, *, key: str | None = KEY, **fields: str
    ) -> tuple[int, dict[str, Any]]:
        """Send a request as the page does."""
        body = None if members is None else json.dumps(members).encode()
        headers = {"Host": f"127.0.0.1:{self.serving.server_port}", "Content-Type": "application/json"}
        headers |= {name.replace("_", "-"): value for name, value in fields.items()}
        if key is not None:
            headers["Baton-Console-Key"] = key
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.serving.server_port, timeout=10)
        ) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            said = answer.read()
        return answer.status, json.loads(said) if said[:1] == b"{" else {}


@pytest.fixture
def lines() -> list[dict[str, Any]]:
    """Return a list of log lines, which a search finds."""
    return []


@pytest.fixture
def console(server: Server, lines: list[dict[str, Any]]) -> Iterator[Console]:
    """Serve the console."""
    from chalicelib.baton.http import jobs

    del server
    asked: list[dict[str, object]] = []
    now = [0.0]

    def invoke(request: dict[str, object]) -> dict[str, Any]:
        asked.append(request)
        answer = json.loads(json.dumps(jobs.operate(json.loads(json.dumps(request)), None)))
        assert isinstance(answer, dict)
        return answer

    serving = ConsoleServer(
        Stage("prod", OPERATOR, invoke, lambda _: lines, lambda hours: {"hours": hours}), KEY, monotonic=lambda: now[0]
    )
    thread = threading.Thread(target=serve, args=(serving,), kwargs={"poll_s": 0.02})
    thread.start()
    yield Console(serving, asked, now)
    now[0] += IDLE_MAX_S
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("key", [None, "", "k" * 42, "k" * 44, "K" * 43, "é"])
def test_a_request_without_the_key_invokes_nothing(console: Console, key: str | None) -> None:
    """Another user of this machine can open the port, but can read only the pages."""
    sent = key.encode().decode("latin-1") if key else key
    assert console.send("GET", "/_dev/mode", key=sent)[0] == 403
    assert console.send("POST", "/_dev/accounts/x/disable", {"confirm": "x"}, key=sent)[0] == 403
    assert console.asked == []


@pytest.mark.parametrize(
    "fields",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_a_foreign_host_or_page_is_refused_with_the_key_too(console: Console, fields: dict[str, str]) -> None:
    """The rules are those of ``make dev``."""
    assert console.send("GET", "/_dev/mode", **fields)[0] == 403
    assert console.send("GET", "/", **fields)[0] == 403
    assert console.asked == []


def test_the_page_learns_the_stage_and_the_operator(console: Console) -> None:
    """The page can use no other route of the development server."""
    assert console.send("GET", "/_dev/mode") == (
        200,
        {"mode": "stage", "stage": "prod", "operator": OPERATOR},
    )
    for path in ("/_dev/faults", "/_dev/clock", "/_dev/mails", "/_dev/settings", "/_dev/reset", "/_dev/events"):
        assert console.send("GET", path)[0] == 404, path
    assert console.send("POST", "/_dev/clock", {"skip": 1})[0] == 404
    assert console.send("PUT", "/_dev/accounts", {})[0] == 405
    assert console.asked == []


def test_an_operator_finds_shows_and_ends(console: Console, server: Server) -> None:
    """Each request names the operator. The function checks the confirmation."""
    phone, email = server.registered()
    account = server.account(email)
    assert console.send("GET", f"/_dev/accounts?q={email}")[1]["accounts"] == [
        {"account": account, "email": email, "status": "active"}
    ]
    shown = console.send("GET", f"/_dev/accounts/{account}")[1]
    assert shown["logins"] == 1
    status, said = console.send("POST", f"/_dev/accounts/{account}/end", {"confirm": "wrong@example.com"})
    assert (status, said["code"]) == (400, "confirmation_wrong")
    assert phone.get("/me").status == 200
    assert console.send("POST", f"/_dev/accounts/{account}/end", {"confirm": email})[0] == 200
    assert phone.get("/me").code == "login_required"
    page = console.send("GET", f"/_dev/accounts/{account}/activity")[1]
    assert page["events"][0]["details"] == {"operator": OPERATOR}
    assert page["next"] is None
    assert {one["operator"] for one in console.asked} == {OPERATOR}


def test_a_login_or_a_request_is_found_by_the_log_lines(
    console: Console, server: Server, lines: list[dict[str, Any]]
) -> None:
    """The function has no index of logins and requests. A text that is not an id is not searched."""
    phone, email = server.registered()
    account, lineage = server.account(email), str(phone.tokens["device_id"])
    assert console.send("GET", f"/_dev/accounts?q={lineage}")[1]["accounts"] == []
    lines += [{"message": "logged_in", "account": account, "lineage": lineage}, {"message": "answered"}]
    assert console.send("GET", f"/_dev/accounts?q={lineage}")[1]["accounts"][0]["email"] == email
    assert console.send("GET", f"/_dev/requests?q={lineage}")[1] == {"lines": lines}
    assert console.send("GET", "/_dev/requests?q=x%22%20%7C%7C%20y")[0] == 400
    assert console.send("GET", "/_dev/accounts?q=")[0] == 400


def test_the_picture_of_a_stage_has_the_stored_attempts_and_the_reuse(console: Console, server: Server) -> None:
    """The picture is made only from the account state and the audit."""
    phone, email = server.registered()
    stolen = phone.tokens["refresh_token"]
    phone.exchange(attempt="a" * 22)
    attempt = server.last()["exchange"]["attempt"]
    phone.exchange(attempt="b" * 22)
    account = server.account(email)
    (picture,) = console.send("GET", f"/_dev/accounts/{account}/lineages")[1]["lineages"]
    assert [one["g"] for one in picture["generations"]] == [0, 1, 2]
    assert picture["generations"][0]["attempt"] == attempt
    assert phone.exchange(stolen, attempt="c" * 22).code == "token_reused"
    second = server.last()["exchange"]["attempt"]
    (picture,) = console.send("GET", f"/_dev/accounts/{account}/lineages")[1]["lineages"]
    assert picture["ended"]["reason"] == "reuse"
    assert [(one["attempt"], one["outcome"]) for one in picture["generations"][0]["again"]] == [(second, "reuse")]


def test_the_console_ends_after_thirty_minutes_without_a_request(console: Console) -> None:
    """A request with the key restarts the time. A request without it does not."""
    console.now[0] = IDLE_MAX_S - 1
    assert console.send("GET", "/_dev/mode")[0] == 200
    console.now[0] = 2 * IDLE_MAX_S - 2
    assert console.send("GET", "/_dev/mode", key=None)[0] == 403
    assert not console.serving.is_idle()
    console.now[0] = 2 * IDLE_MAX_S - 1
    assert console.serving.is_idle()


def test_a_function_that_fails_is_an_error_of_the_stage(server: Server) -> None:
    """The answer has the cause, and no traceback."""
    del server

    def invoke(_: dict[str, object]) -> dict[str, Any]:
        raise errors.Unavailable("lambda invoke: AccessDeniedException")

    serving = ConsoleServer(Stage("prod", OPERATOR, invoke, lambda _: [], lambda _: {}), KEY)
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
    thread.start()
    status, said = Console(serving, [], []).send("GET", "/_dev/accounts/x")
    large = Console(serving, [], []).send("POST", "/_dev/accounts/x/end", {"confirm": "x" * 20_000})
    serving.shutdown()
    thread.join()
    serving.server_close()
    assert (status, said["code"]) == (502, "stage_unavailable")
    assert "AccessDenied" in said["detail"]
    assert large[0] == 413


def test_only_this_user_can_read_the_file_with_the_key(tmp_path: Path) -> None:
    """Every user of this machine could read a command line. A fragment is not sent to a server."""
    file = redirecting_file(tmp_path, 4711, KEY)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"url=http://127.0.0.1:4711/#key={KEY}" in file.read_text("utf-8")
    with pytest.raises(FileExistsError):
        redirecting_file(tmp_path, 4711, KEY)


class Planned(AwsClient):
    """A client of AWS with planned answers."""

    def __init__(self, answer: Callable[[str, dict[str, object]], dict[str, Any]]) -> None:
        """Store the answers."""
        super().__init__("planned")
        self._planned = answer

    def call(self, operation: str, **request: object) -> dict[str, Any]:
        """Return a planned answer."""
        return self._planned(operation, request)


def test_the_function_is_invoked_and_its_failure_noticed() -> None:
    """The function is invoked by its name."""
    seen: list[object] = []

    def answer(operation: str, request: dict[str, object]) -> dict[str, Any]:
        seen.append((operation, request["FunctionName"], json.loads(str(request["Payload"], "utf-8"))))  # type: ignore[call-overload] # bytes
        return {"Payload": io.BytesIO(b'{"accounts": []}'), **failure}

    failure: dict[str, str] = {}
    assert stage_console.invoke(Planned(answer), "baton-prod-operate", {"op": "find"}) == {"accounts": []}
    assert seen == [("invoke", "baton-prod-operate", {"op": "find"})]
    failure["FunctionError"] = "Unhandled"
    with pytest.raises(errors.Unavailable):
        stage_console.invoke(Planned(answer), "baton-prod-operate", {"op": "find"})


@pytest.mark.parametrize(("each_hour", "calls"), [(0, 3), (1, 4), (300, 3)])
def test_a_search_finds_the_newest_log_lines(each_hour: int, calls: int) -> None:
    """CloudWatch returns the oldest lines first, in pages. The lines of Lambda itself are left out."""
    now = time.time()
    written = [int((now - hour * 3600 - second) * 1000) for hour in range(168) for second in range(each_hour)][::-1]
    asked: list[dict[str, object]] = []

    def answer(operation: str, request: dict[str, object]) -> dict[str, Any]:
        assert operation == "filter_log_events"
        asked.append(request)
        first, last = cast("int", request["startTime"]), cast("int", request.get("endTime", int(now * 1000)))
        found, skipped = [at for at in written if first <= at <= last], int(str(request.get("nextToken", 0)))
        events = [{"message": json.dumps({"at": at})} for at in found[skipped : skipped + 100]]
        rest = {"nextToken": str(skipped + 100)} if len(found) > skipped + 100 else {}
        return {"events": [{"message": "START RequestId"}, *events], **rest}

    found = stage_console.search(Planned(answer), "/aws/lambda/baton-prod", "AbdRE2mntPfFeBMB")
    assert [line["at"] for line in found] == written[-LINES_MAX:]
    assert len(asked) == calls
    assert asked[0]["filterPattern"] == (
        '{ $.request_id = "AbdRE2mntPfFeBMB" || $.lineage = "AbdRE2mntPfFeBMB" || $.account = "AbdRE2mntPfFeBMB" }'
    )


def test_a_missing_or_unknown_stage_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes before a browser window is opened."""
    monkeypatch.setattr("tools.aws.require_account", lambda: None)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert stage_console.main(None) == 2
    assert stage_console.main("staging") == 1
    assert "STAGE is one of" in capsys.readouterr().err
    assert opened == []


def test_the_pages_are_served_without_the_key(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages contain no secret: the key is in the fragment of the address."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    monkeypatch.setattr(static.page, "__defaults__", (tmp_path,))
    assert console.send("GET", "/", key=None)[0] == 200
    assert console.send("GET", "/nothing.js", key=None)[0] == 404


def test_the_metrics_are_of_a_time_that_the_page_offers(console: Console) -> None:
    """The request to CloudWatch contains no other value."""
    assert console.send("GET", "/_dev/metrics?hours=24") == (200, {"hours": 24})
    assert console.send("GET", "/_dev/metrics") == (200, {"hours": 3})
    for query in ("hours=4", "hours=", "hours=3&hours=3", "name=x"):
        assert console.send("GET", f"/_dev/metrics?{query}")[0] == 400
    assert console.send("GET", "/_dev/metrics", key=None)[0] == 403
