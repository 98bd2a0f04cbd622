"""Commands without AWS credentials, or with an incomplete engine: one line with the remedy, and exit code 1."""

import os
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import pytest

from tools import audit, aws, deploy, doctor, drill, operate, plan, restore, stage_console
from tools.dev import serve
from tools.dev.engine import client
from tools.template import ROOT

COMMANDS: dict[str, Callable[[], int]] = {
    "deploy": lambda: deploy.main(["deploy", "dev"]),
    "data": lambda: deploy.main(["data", "dev"]),
    "fill": lambda: deploy.main(["fill", "dev"]),
    "plan": plan.main,
    "drill": lambda: drill.main("dev"),
    "restore": lambda: restore.main(["baton-dev", "baton-dev2", "60"]),
    "operate": lambda: operate.main(["rotate-root"]),
    "stage_console": lambda: stage_console.main("dev"),
    "doctor": lambda: doctor.main("dev"),
    "audit": lambda: audit.main("dev"),
}
RAISED = sorted(COMMANDS.keys() - {"audit", "doctor"})
"""Commands that end with an error of AWS. The other commands are checks: for them, an unreachable service is a
finding."""


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Callable[[], int]:
    """Run each command in turn."""
    return COMMANDS[request.param]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set an environment without AWS settings, except for the stage."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("AWS_", "BATON_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "STAGE": "dev",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield
    # The commands copy the settings of the stage into the environment.
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def told(run: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail, and return the one line that it prints."""
    assert run() == 1
    shown = capsys.readouterr()
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1, shown.err
    return lines[0]


def test_without_a_region_the_line_says_how_to_set_it(
    command: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: the commands printed six wrong remedies, or NoRegionError."""
    assert told(command, capsys).startswith("Set AWS_DEFAULT_REGION: no region is set.")
    assert "->" not in capsys.readouterr().out


def test_without_credentials_the_line_says_where_to_get_them(
    command: Callable[[], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The region is set."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    line = told(command, capsys)
    assert line.startswith("Set AWS credentials")
    assert "aws sso login" in line


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], str]]:
    """Start a server that gives one status and body to every request, and return its address."""
    answer = (500, "")

    class Handler(BaseHTTPRequestHandler):
        """Sends the fixed answer."""

        def do_POST(self) -> None:
            """Answer a request."""
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST  # noqa: N815 - a name of http.server

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    def answering(status: int, body: str) -> str:
        nonlocal answer
        answer = (status, body)
        return url

    yield answering
    server.shutdown()
    thread.join()
    server.server_close()


LACKING = {
    "moto, which fails with a page": (500, "<!doctype html>\n<title>500 Internal Server Error</title>"),
    "dynoxide, which has DynamoDB alone": (404, "<UnknownOperationException/>"),
    "an engine that says so": (
        400,
        "<ErrorResponse><Error><Code>InvalidAction</Code><Message>no</Message></Error></ErrorResponse>",
    ),
}


@pytest.mark.parametrize("answer", LACKING.values(), ids=LACKING)
@pytest.mark.parametrize("name", RAISED)
def test_an_engine_without_a_call_is_reported_in_one_line(
    name: str,
    answer: tuple[int, str],
    engine: Callable[[int, str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line has the call and the remedy. Bug: the command printed a traceback of forty lines."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine(*answer))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", os.environ["AWS_ENDPOINT_URL"])
    assert COMMANDS[name]() == 1
    (line,) = capsys.readouterr().err.strip().splitlines()[:1]
    calls = ("sts GetCallerIdentity", "sts get_caller_identity", "kms DescribeKey", "kms describe_key")
    assert any(call in line for call in (*calls, "dynamodb get_item"))
    assert "Traceback" not in line


def test_a_missing_call_is_named_with_the_remedy(
    engine: Callable[[int, str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The test compares the whole line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine(*LACKING["dynoxide, which has DynamoDB alone"]))
    assert told(COMMANDS["deploy"], capsys) == (
        "error: sts GetCallerIdentity: the engine lacks this call (Unknown). "
        "remedy: unset AWS_ENDPOINT_URL to use AWS, or use an engine that has this call"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine(*LACKING["moto, which fails with a page"]))
    assert told(COMMANDS["deploy"], capsys).startswith("error: sts GetCallerIdentity: the answer is not one of AWS")


@pytest.mark.parametrize("name", RAISED)
def test_an_unreachable_engine_is_reported_in_one_line(
    name: str, engine: Callable[[int, str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line has the address and the remedy."""
    engine(200, "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    assert COMMANDS[name]() == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert "127.0.0.1:1" in shown or "EndpointConnectionError" in shown


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException", "ThrottlingException"])
def test_an_error_of_aws_is_reported_in_one_line(code: str) -> None:
    """The line has the call, the code and the message, without a traceback."""
    from botocore.exceptions import ClientError

    line = aws.said(ClientError({"Error": {"Code": code, "Message": "no,\nnot now"}}, "DescribeTable"))
    assert line is not None
    assert f"{code}: no, not now. remedy: " in line
    assert "\n" not in line


def test_a_defect_of_baton_keeps_its_traceback() -> None:
    """A defect is not an error of AWS."""

    @aws.in_one_line
    def main() -> int:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        main()


@pytest.mark.parametrize(
    ("reason", "remedy"),
    {
        "dynamodb describe_table: UnrecognizedClientException": aws.CREDENTIALS,
        "dynamodb describe_table: NoCredentialsError": aws.CREDENTIALS,
        "dynamodb describe_table: AccessDeniedException": "use credentials that are allowed to read this",
        "dynamodb describe_table: EndpointConnectionError": doctor.NETWORK,
        "dynamodb describe_table: ResourceNotFoundException": "make deploy STAGE=dev",
    }.items(),
)
def test_the_doctor_distinguishes_credentials_from_a_missing_table(reason: str, remedy: str) -> None:
    """Bug: the remedy was always `make deploy`."""
    assert doctor.remedy_for(reason, "make deploy STAGE=dev") == remedy


def test_make_dev_with_an_incomplete_engine_prints_one_line(
    engine: Callable[[int, str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine is reachable, so the line does not say "unreachable"."""
    body = '{"__type": "com.amazonaws.dynamodb.v20120810#UnknownOperationException"}'
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", engine(400, body))
    assert serve.main(["18997"]) == 1
    said = capsys.readouterr().err
    assert "dynamodb CreateTable: the engine lacks this call (UnknownOperationException)" in said
    assert len(said.splitlines()) == 1


def test_the_tools_client_is_made_for_each_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: a client of an ended database was used for the next database, and every later test failed."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for port in (1, 2):
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{port}")
        assert client().meta.endpoint_url == f"http://127.0.0.1:{port}"


def test_every_command_that_calls_aws_is_in_the_table() -> None:
    """A new command is tested like the others."""
    found = {path.stem for path in (ROOT / "tools").glob("*.py") if "@aws.in_one_line" in path.read_text("utf-8")}
    named: Sequence[str] = [name for name in COMMANDS if name not in {"data", "fill"}]
    assert found - {"aws"} == set(named)
