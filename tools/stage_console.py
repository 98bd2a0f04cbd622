"""``make console STAGE=prod``: the console for the operators of a deployment, on this machine.

It has two pages of the console of ``make dev``: Accounts and Metrics. This program checks each request of a page, and
invokes the function ``operate`` of the stage with the operator's own AWS credentials. The credentials never reach the
page. The page has a key that only this process accepts. The process ends 30 minutes after the last request.
"""

import functools
import hmac
import json
import os
import re
import secrets
import socketserver
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from chalicelib.baton import errors
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.testing.gateway import GatewayResponse
from tools import aws, stage_metrics
from tools.dev.api import guards, static
from tools.dev.api.accounts import change_of
from tools.dev.api.answers import DevRefusal, DevRequest, as_json, routed
from tools.dev.api.history import Generation, Presentation, pictured
from tools.stages import UnknownStage, enter

KEY_FIELD: Final = "baton-console-key"
IDLE_MAX_S: Final = 30 * 60
BODY_BYTES_MAX: Final = 16 * 1024
INVOKE_MAX_S: Final = 20
SEARCHED_S: Final = (60 * 60, 24 * 60 * 60, 7 * 24 * 60 * 60)
"""The maximum age of the searched log lines, in seconds. While a search has too few lines, it uses the next value."""
LINES_MAX: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""The id of an account, a login or a request. Only such a text may be part of the filter of a search."""

Invoke = Callable[[dict[str, object]], dict[str, Any]]
Search = Callable[[str], list[dict[str, Any]]]
Measure = Callable[[int], dict[str, Any]]


class Stage:
    """A deployment. Each call to AWS uses the operator's own credentials."""

    def __init__(self, stage: str, operator: str, invoke: Invoke, search: Search, measure: Measure) -> None:
        """Use the function ``operate``, the log lines and the metrics of a stage. ``operator``: the caller's ARN."""
        self._stage, self._operator, self._invoke, self._search = stage, operator, invoke, search
        self._measure = measure
        self._routes: dict[str, Callable[[DevRequest], GatewayResponse]] = {
            "GET mode": self._mode,
            "GET accounts": self._find,
            "GET accounts/{}": self._show,
            "GET accounts/{}/lineages": self._lineages,
            "GET accounts/{}/activity": self._activity,
            "POST accounts/{}/{}": self._change,
            "GET requests": self._requests,
            "GET metrics": self._metrics,
        }

    def answer(self, request: DevRequest) -> GatewayResponse:
        """Answer a request, which the HTTP handler has already checked. Raises ``DevRefusal``."""
        return routed(self._routes, request)

    def _operate(self, **request: object) -> dict[str, Any]:
        answer = self._invoke({"operator": self._operator, **request})
        error = answer.get("error")
        if error:
            raise DevRefusal(error["status"], error["code"], error["detail"])
        return answer

    def _mode(self, request: DevRequest) -> GatewayResponse:
        request.parameters()
        return as_json({"mode": "stage", "stage": self._stage, "operator": self._operator})

    def _find(self, request: DevRequest) -> GatewayResponse:
        """Find an account by its address or id, or otherwise by the id of one of its logins or requests.

        The search for a login or a request reads the log of the API: its lines have the account.
        """
        text = request.parameters("q").get("q", "").strip()
        if not text:
            detail = "`q` must be an e-mail address, or the id of an account, a login or a request."
            raise DevRefusal(400, "wrong_type", detail)
        found = self._operate(op="find", q=text)["accounts"]
        if not found and _NAME.fullmatch(text):
            accounts = {line["account"] for line in self._search(text) if isinstance(line.get("account"), str)}
            found = [one for account in sorted(accounts) for one in self._operate(op="find", q=account)["accounts"]]
        return as_json({"accounts": found})

    def _show(self, request: DevRequest) -> GatewayResponse:
        request.parameters()
        shown = self._operate(op="account", account=request.path[1])
        return as_json({**shown, "activity": self._operate(op="activity", account=request.path[1])["events"]})

    def _lineages(self, request: DevRequest) -> GatewayResponse:
        """Show what is stored about each login: the generation, the attempts of the last 4 exchanges, and reuses."""
        request.parameters()
        account = request.path[1]
        shown = self._operate(op="account", account=account)["lineages"]
        events = self._operate(op="activity", account=account)["events"]
        return as_json({"account": account, "lineages": [pictured(one, _reuses(one, events)) for one in shown]})

    def _activity(self, request: DevRequest) -> GatewayResponse:
        before = request.parameters("before").get("before", "")
        return as_json(self._operate(op="activity", account=request.path[1], before=before))

    def _change(self, request: DevRequest) -> GatewayResponse:
        return as_json(self._operate(**change_of(request)))

    def _requests(self, request: DevRequest) -> GatewayResponse:
        """Return the log lines of a request, a login or an account."""
        text = request.parameters("q").get("q", "").strip()
        if not _NAME.fullmatch(text):
            raise DevRefusal(400, "wrong_type", "`q` must be the id of a request, a login or an account.")
        return as_json({"lines": self._search(text)})

    def _metrics(self, request: DevRequest) -> GatewayResponse:
        hours = request.parameters("hours").get("hours", "3")
        if hours not in map(str, stage_metrics.PERIODS_S):
            raise DevRefusal(400, "wrong_type", "`hours` must be 3, 24 or 168.")
        return as_json(self._measure(int(hours)))


def _reuses(shown: dict[str, Any], events: Sequence[dict[str, Any]]) -> dict[int, Generation]:
    """Return the reuses that the audit has for a login, by the generation of the reused token."""
    found: dict[int, Generation] = {}
    for event in events:
        second = event.get("evidence", {}).get("second", {})
        if event.get("device_id") == shown["lineage"] and "generation" in second:
            attempt = str(second.get("attempt", ""))[:8] or None
            again = Presentation(second["at"], None, attempt, "", "reuse")
            found.setdefault(second["generation"], Generation(again=[])).again.append(again)
    return found


class ConsoleServer(ThreadingHTTPServer):
    """The HTTP server of the console. It listens only on 127.0.0.1."""

    daemon_threads = True

    def __init__(self, stage: Stage, key: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Listen on a free port of 127.0.0.1."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stage, self.key, self._monotonic = stage, key, monotonic
        self._last_request = monotonic()

    def touch(self) -> None:
        """Restart the idle time. Call this for each request with the key of the console."""
        self._last_request = self._monotonic()

    def is_idle(self) -> bool:
        """Check whether at least 30 minutes have passed since the last request that had the key."""
        return self._monotonic() - self._last_request >= IDLE_MAX_S

    def server_bind(self) -> None:
        """Bind without a lookup of the host name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: ConsoleServer

    def answer(self) -> None:
        """Answer one request. The checks of the request come before the call of the function ``operate``."""
        try:
            answer = self._answered()
        except DevRefusal as refusal:
            answer = refusal.answer()
        except errors.Unavailable as unavailable:
            answer = DevRefusal(502, "stage_unavailable", unavailable.reason).answer()
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _answered(self) -> GatewayResponse:
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and int(length) <= BODY_BYTES_MAX):
            self.close_connection = True
            raise DevRefusal(413, "too_large", f"Send at most {BODY_BYTES_MAX} bytes, with their length.")
        body = self.rfile.read(int(length))
        source, port = self.client_address[0], self.server.server_port
        guards.check(self.command, self.headers.items(), source=source, port=port, has_body=bool(body))
        url = urlsplit(self.path)
        if not url.path.startswith("/_dev/"):
            page = static.page(url.path) if self.command == "GET" else None
            if page is None:
                raise DevRefusal(404, "not_found", "The console has no such page.")
            return page
        keys = self.headers.get_all(KEY_FIELD, [])
        if len(keys) != 1 or not hmac.compare_digest(keys[0].encode(), self.server.key.encode()):
            raise DevRefusal(403, "forbidden", "The key of the console is missing or wrong. Open the file again.")
        self.server.touch()
        segments = tuple(url.path.removeprefix("/_dev").strip("/").split("/"))
        return self.server.stage.answer(DevRequest(self.command, segments, url.query, body))

    def log_message(self, *_: object) -> None:
        """Log nothing: a request line may have an e-mail address."""


def redirecting_file(folder: Path, port: int, key: str) -> Path:
    """Write a file that opens the console with its key. Only this user can read the file.

    Start the browser with this file, not with the URL: every user of this machine can read command lines.
    The URL has the key in its fragment, which a browser never sends to a server.
    """
    file = folder / "baton-console.html"
    url = f"http://127.0.0.1:{port}/#key={key}"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}">\n')
    return file


def connected(stage: str) -> Stage:
    """Return the deployment of a stage, and put the settings of the stage into the environment.

    Raises:
        UnknownStage: .chalice/config.json has no such stage.
        Unavailable: AWS does not return the operator's identity.

    """
    enter(stage)
    deployment = os.environ.get("BATON_DEPLOYMENT") or os.environ["BATON_TABLE_PREFIX"]
    functions, logs = AwsClient("lambda", read_timeout_s=INVOKE_MAX_S), AwsClient("logs", read_timeout_s=INVOKE_MAX_S)
    cloudwatch = AwsClient("cloudwatch", read_timeout_s=INVOKE_MAX_S)
    operator = str(AwsClient("sts").call("get_caller_identity")["Arn"])
    return Stage(
        stage,
        operator,
        functools.partial(invoke, functions, f"{deployment}-operate"),
        functools.partial(search, logs, f"/aws/lambda/{deployment}"),
        functools.partial(stage_metrics.read, cloudwatch, deployment),
    )


def invoke(functions: AwsClient, name: str, request: dict[str, object]) -> dict[str, Any]:
    """Invoke the function ``operate``. Raises ``Unavailable`` if the function fails."""
    answer = functions.call("invoke", FunctionName=name, Payload=json.dumps(request).encode())
    said = answer["Payload"].read()
    if "FunctionError" in answer:
        raise errors.Unavailable(f"the function {name} failed: its log group has the cause")
    return cast("dict[str, Any]", json.loads(said))


def search(logs: AwsClient, group: str, name: str) -> list[dict[str, Any]]:
    """Return log lines whose account, login or request has the id ``name``.

    The newest ``LINES_MAX`` lines of the last 7 days are returned, the oldest of them first.
    """
    wanted = " || ".join(f'$.{fact} = "{name}"' for fact in ("request_id", "lineage", "account"))
    asked: dict[str, object] = {"logGroupName": group, "filterPattern": f"{{ {wanted} }}"}
    now, lines = time.time(), list[dict[str, Any]]()
    for searched_s in SEARCHED_S:  # CloudWatch returns the oldest lines first, so the newest period is searched first.
        since = int((now - searched_s) * 1000)
        lines = [*_found(logs, {**asked, "startTime": since}), *lines]
        if len(lines) >= LINES_MAX:
            break
        asked["endTime"] = since - 1
    return lines[-LINES_MAX:]


def _found(logs: AwsClient, asked: dict[str, object]) -> list[dict[str, Any]]:
    """Return the lines of one period, from all pages of the answer."""
    lines: list[dict[str, Any]] = []
    while True:
        page = logs.call("filter_log_events", **asked)
        for event in page.get("events", ()):
            try:
                line = json.loads(event["message"])
            except ValueError:
                continue  # a line of the platform
            lines.append(line)
        if not page.get("nextToken"):
            return lines
        asked["nextToken"] = page["nextToken"]


def serve(server: ConsoleServer, *, poll_s: float = 5) -> None:
    """Serve until the console is idle for 30 minutes, or interrupted."""
    thread = threading.Thread(target=server.serve_forever, name="console", kwargs={"poll_interval": 0.1})
    thread.start()
    ended = threading.Event()
    try:
        while not server.is_idle():
            ended.wait(poll_s)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@aws.in_one_line
def main(stage: str | None) -> int:
    """Open the console of a stage in a browser, and serve it until it is idle or interrupted. Return the exit code."""
    if not stage:
        print("error: STAGE is missing. remedy: make console STAGE=prod", file=sys.stderr)
        return 2
    aws.require_account()
    try:
        to = connected(stage)
    except UnknownStage as unknown:
        print(f"error: {unknown}", file=sys.stderr)
        return 1
    key = secrets.token_urlsafe(32)
    server = ConsoleServer(to, key)
    with tempfile.TemporaryDirectory(prefix="baton-console-") as folder:
        file = redirecting_file(Path(folder), server.server_port, key)
        print(f"ok: the console of {stage} is open on this machine only, until 30 minutes without a request")
        print(f"next: {file.as_uri()}, if no browser opened it. Ctrl-C ends the console", flush=True)
        webbrowser.open(file.as_uri())
        try:
            serve(server)
            print("ok: the console has ended after 30 minutes without a request")
        except KeyboardInterrupt:
            print("\nok: the console has ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ.get("STAGE") or None))
