"""``make dev`` and ``make demo``, as a person starts them."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from tests.baton.fixture import load_environment
from tests.baton.repository import ours_only
from tools import demo
from tools.dev import engine, serve
from tools.dev.serve import DEMO_PASSWORD

pytestmark = ours_only

ROOT = Path(__file__).parents[4]
PATIENCE_S = 60


def environment(**more: str) -> dict[str, str]:
    """Return an environment without variables of Baton and AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "AWS_"))}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'clients' / 'python'}", **more}


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_healthy(url: str, process: subprocess.Popen[str]) -> dict[str, object]:
    """Send requests until the server answers."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                members = json.loads(answer.read())
                assert isinstance(members, dict)
                return members
        except OSError:
            time.sleep(0.1)
    raise AssertionError(process.communicate()[1])


def asked(url: str, members: object = None) -> dict[str, object]:
    """Send GET, or POST with JSON, as curl does."""
    body = None if members is None else json.dumps(members).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        said = json.loads(answer.read())
    assert isinstance(said, dict)
    return said


@pytest.fixture
def serving() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start the server of ``make dev`` on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "tools.dev.serve"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(PORT=str(port)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield port, process
        if process.poll() is None:
            process.kill()


@pytest.mark.prove(ci=True)
def test_make_dev_serves_prints_its_addresses_and_stops(serving: tuple[int, subprocess.Popen[str]]) -> None:
    """The health check answers, the printed curl line works, and an interrupt ends the server cleanly."""
    port, process = serving
    url = f"http://localhost:{port}/api"
    assert until_healthy(url, process)["status"] == "ok"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    for what in (url, "demo@example.com", "mobile-opaque", "rotating_refresh", "make demo", "Stopped."):
        assert what in shown
    assert "\033[" not in shown  # no colours outside a terminal


def test_make_dev_serves_over_https(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``TLS=1``, only a client that trusts the new authority accepts the certificate.

    Cookies get the offer of a binding.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    own = {**kept, "BATON_TABLE_PREFIX": "baton-tls"}
    with mock.patch.dict(os.environ, own, clear=True), serve.development(0, tls=True) as running:
        assert running.url.startswith("https://localhost:")
        assert running.authority is not None
        context = ssl.create_default_context(cafile=running.authority)
        entry = {"email": "tls@example.com", "password": DEMO_PASSWORD, "client_id": "web"}
        origin = running.url.removesuffix("/api")
        request = urllib.request.Request(
            f"{running.url}/register",
            data=json.dumps(entry).encode(),
            headers={"Content-Type": "application/json", "Origin": origin},
        )
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            assert answer.headers["Secure-Session-Registration"].startswith('(ES256);path="/api/session/bind";')
        with pytest.raises(urllib.error.URLError, match="certificate"):
            urllib.request.urlopen(request, timeout=20)

        # The console of this server is a page of this origin. A page of http://localhost is another server's.
        def clock(page: str) -> urllib.request.Request:
            fields = {"Content-Type": "application/json", "Origin": page}
            return urllib.request.Request(f"{origin}/_dev/clock", data=b'{"skip": 0}', headers=fields)

        with urllib.request.urlopen(clock(origin), timeout=20, context=context) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(clock(origin.replace("https", "http")), timeout=20, context=context)
        printed = serve.table(running, sys.stdout)
        assert f"--cacert {running.authority} {running.url}/login" in printed
        assert "certutil" in printed
        assert "http://" not in printed.replace("https://", "")
        gone = running.authority
    assert not gone.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_make_dev_lists_the_routes_of_the_team() -> None:
    """Routes of Baton and ``OPTIONS`` are not in the list."""
    assert serve.own_routes(load_environment()) == ["POST /transfers"]


@pytest.mark.prove(ci=True)
def test_the_printed_curl_line_works(serving: tuple[int, subprocess.Popen[str]]) -> None:
    """The server accepts the command of the table unchanged."""
    port, process = serving
    until_healthy(f"http://localhost:{port}/api", process)
    assert process.stdout is not None
    line = next(line for line in process.stdout if "curl" in line)
    match = re.search(r"(http://\S+) -H '(.+?)' -d '(.+)'", line)
    assert match is not None
    name, _, value = match[2].partition(": ")
    request = urllib.request.Request(match[1], data=match[3].encode(), headers={name: value}, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert json.loads(answer.read())["token_type"] == "Bearer"


@pytest.mark.prove
def test_several_demos_can_run_in_sequence(serving: tuple[int, subprocess.Popen[str]]) -> None:
    """They use a running server, whose clock each demo resets.

    A demo whose reader closes the pipe ends without an error.
    """
    port, process = serving
    url = f"http://localhost:{port}"
    until_healthy(f"{url}/api", process)
    for read_on in (False, True):
        with subprocess.Popen(
            [sys.executable, "-m", "tools.demo"],
            cwd=ROOT,
            env=environment(PORT=str(port)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as demonstration:
            assert demonstration.stdout is not None
            assert demonstration.stderr is not None
            assert demonstration.stdout.readline() == f"Using the server at {url}\n"
            if read_on:
                told = demonstration.stdout.read()
                assert "steps worked" in told
                assert [line for line in told.splitlines() if line != line.rstrip() or len(line) > 110] == []
            else:
                demonstration.stdout.close()
            assert demonstration.stderr.read() == ""
        assert demonstration.returncode == 0
        server_time = asked(f"{url}/api/time")["server_time"]
        assert isinstance(server_time, int)
        assert abs(server_time - time.time()) < 600  # 960 seconds were skipped


@pytest.mark.prove(ci=True)
def test_make_dev_creates_the_tables_of_the_team(tmp_path: Path) -> None:
    """The tables of ``tables.yaml`` are created beside Baton's tables, with the prefix of the deployment."""
    page = (ROOT / "docs" / "baton" / "tables.md").read_text("utf-8")
    (tmp_path / "tables.yaml").write_text(page.split("```yaml\n")[1].split("```")[0], "utf-8")
    program = (
        "import sys\nfrom pathlib import Path\nfrom tools import template\nfrom tools.dev import engine, serve\n"
        "template.OWN = Path(sys.argv[1])\n"
        "with serve.development(0):\n    print(*engine.client().list_tables()['TableNames'])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "tables.yaml")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    names = ("audit", "ephemeral", "lineages", "orders", "users")
    assert sorted(done.stdout.split()) == [f"baton-dev-{name}" for name in names]


@pytest.mark.prove(ci=True)
def test_make_demo_runs_without_a_server() -> None:
    """Every step succeeds, and the exit code is 0."""
    told = subprocess.run(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        env=environment(PORT=str(free_port())),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert told.returncode == 0, told.stderr
    for word in ("token_reused", "answer lost", "invalid_digest", "wrong_key", "ended_everywhere", "steps worked"):
        assert word in told.stdout


@pytest.mark.prove(ci=True)
def test_chalice_local_serves_baton_with_the_engine() -> None:
    """The test runs the server of Chalice with the stage ``local``, and the database on loopback."""
    engine_port, port = free_port(), free_port()
    beside = subprocess.Popen(
        [sys.executable, "-m", "tools.dev.engine", str(engine_port)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    chalice = None
    try:
        assert beside.stdout is not None
        assert "database" in beside.stdout.readline()
        chalice = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("chalice")),
                "local",
                "--stage",
                "local",
                "--no-autoreload",
                "--port",
                str(port),
            ],
            cwd=ROOT,
            env=environment(
                AWS_ENDPOINT_URL_DYNAMODB=f"http://127.0.0.1:{engine_port}",
                AWS_ACCESS_KEY_ID="x",
                AWS_SECRET_ACCESS_KEY="x",
                AWS_DEFAULT_REGION="us-east-1",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        url = f"http://localhost:{port}"
        assert until_healthy(url, chalice)["database"] == "reachable"
        # The stage, the output of the engine and the README use this port.
        assert asked(f"{url}/.well-known/oauth-authorization-server")["token_endpoint"] == (
            "http://localhost:8001/oauth/token"
        )
        entry = {"email": "ada@example.com", "password": DEMO_PASSWORD, "client_id": "simple"}
        assert asked(f"{url}/register", entry)["token_type"] == "Bearer"
        beside.send_signal(signal.SIGINT)
        _, noise = beside.communicate(timeout=20)
        assert noise == ""  # no line for each request
    finally:
        for process in (chalice, beside):
            if process is not None:
                process.kill()
                process.communicate(timeout=20)


@pytest.mark.parametrize("main", [serve.main, engine.main, demo.main], ids=["dev", "engine", "demo"])
@pytest.mark.parametrize("port", ["abc", "-1", "0", "70000", "8000.0", "0000801234"])
def test_an_invalid_port_is_refused(main: Callable[[list[str]], int], port: str) -> None:
    """The command prints one sentence, and starts nothing."""
    with pytest.raises(SystemExit, match=f"A port is a number from 1 to 65535, not '{port}'."):
        main([port])


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"BATON_LOG_LEVEL": "bogus"}, "BATON_LOG_LEVEL is one of DEBUG"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"}, "Cannot use the database at http://127.0.0.1:1."),
    ],
)
def test_a_failed_start_of_make_dev_is_one_sentence(wrong: dict[str, str], said: str) -> None:
    """No traceback is printed, because the code has no defect."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.dev.serve", str(free_port())],
        cwd=ROOT,
        env=environment(**wrong),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
