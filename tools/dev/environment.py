"""A Lambda environment on this machine: the built zip, unpacked, under AWS's own runtime client.

The environment has the same files as in Lambda: the zip, the standard library, boto3 and the runtime client. A module
that the zip lacks is missing here as in Lambda.
"""

import json
import os
import queue
import socketserver
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.template import of_type, parse

BROUGHT_BY_LAMBDA = (
    "awslambdaric",
    "simplejson",
    "snapshot-restore-py",
    "boto3",
    "botocore",
    "jmespath",
    "python-dateutil",
    "s3transfer",
    "six",
    "urllib3",
)
PATIENCE_S = 120
_INVOCATION = "/2018-06-01/runtime/invocation/"


class InvocationFailed(Exception):
    """The function raised, did not start, or did not answer. The message contains the output of the function."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU time of an environment from start to end, in seconds."""

    cpu_s: float


class _RuntimeApi(ThreadingHTTPServer):
    """The part of Lambda's Runtime API that a runtime client calls: it returns events and accepts answers.

    It listens only on loopback.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def server_bind(self) -> None:
        """Bind without a lookup of the host name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the signature of socketserver
        """Ignore errors of a function that was ended while it waited. Print every other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _RuntimeApi

    def do_GET(self) -> None:
        """Wait for the next event and send it."""
        event = self.server.events.get()
        if event is None:
            self.close_connection = True
            return
        self._say(
            200,
            event,
            {
                "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                "Lambda-Runtime-Deadline-Ms": str(2**42),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:baton",
                "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                "Content-Type": "application/json",
            },
        )

    def do_POST(self) -> None:
        """Receive an answer, or the report of an error."""
        said = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.path.rpartition("/")[2] if self.path.startswith(_INVOCATION) else "init"
        self._say(202, b"{}", {})
        self.server.answers.put((kind, said))

    def _say(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip as Lambda does, and return the folder."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder


class Environment:
    """The process of one Lambda environment. The constructor starts it. ``end``, or the end of ``with``, kills it."""

    def __init__(
        self, task: Path, variables: Mapping[str, str], *, handler: str = "app.app", options: Iterable[str] = ()
    ) -> None:
        """Start the function that is unpacked in ``task``, with environment ``variables`` and ``options`` of Python."""
        self.usage: Usage | None = None
        self._api = _RuntimeApi()
        self._serving = threading.Thread(target=self._api.serve_forever, kwargs={"poll_interval": 0.01})
        self._serving.start()
        self._lambdas = tempfile.TemporaryDirectory()
        _link_what_lambda_brings(Path(self._lambdas.name))
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in ``end``, with the process
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self._process = subprocess.Popen(
            # -S: do not load the installed packages of this machine.
            [sys.executable, "-S", *options, "-m", "awslambdaric", handler],
            cwd=task,
            env={
                "PATH": os.defpath,
                "LANG": "en_US.UTF-8",
                "TZ": ":UTC",
                "PYTHONPATH": f"{task}{os.pathsep}{self._lambdas.name}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "LAMBDA_TASK_ROOT": str(task),
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": "baton",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
                "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "of-the-role",
                "AWS_SECRET_ACCESS_KEY": "of-the-role",
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._process.pid

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Send an event and return the answer. Raises ``InvocationFailed``."""
        self._api.events.put(json.dumps(event).encode())
        kind, said = self._answer()
        if kind != "response":
            raise InvocationFailed(f"{kind}: {said.decode()}\n{self.log()}")
        answer = json.loads(said)
        assert isinstance(answer, dict)
        return answer

    def _answer(self) -> tuple[str, bytes]:
        for _ in range(PATIENCE_S * 10):
            try:
                return self._api.answers.get(timeout=0.1)
            except queue.Empty:
                if self._process.poll() is not None and self._api.answers.empty():
                    break
        raise InvocationFailed(f"no answer\n{self.log()}")

    def log(self) -> str:
        """Return the text that the process has written to stdout and stderr so far."""
        self._log.flush()
        return Path(f"/proc/self/fd/{self._log.fileno()}").read_text("utf-8", errors="replace")

    def end(self) -> None:
        """Kill the process, and store its CPU time in ``usage``. A second call does nothing."""
        if self.usage is None:
            if self._process.returncode is None:
                self._process.kill()
                _, status, used = os.wait4(self._process.pid, 0)
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.usage = Usage(used.ru_utime + used.ru_stime)
            else:
                self.usage = Usage(0.0)
            self._api.events.put(None)
            self._api.shutdown()
            self._serving.join()
            self._api.server_close()
            self._log.close()
            self._lambdas.cleanup()

    def __enter__(self) -> Self:
        """Return the environment. Its process already runs."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.end()


def _link_what_lambda_brings(folder: Path) -> None:
    for distribution in BROUGHT_BY_LAMBDA:
        for file in files(distribution) or ():
            first = file.parts[0]
            if first != ".." and not first.endswith(".dist-info") and not (folder / first).is_symlink():
                (folder / first).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / first)


class Packaged:
    """An environment with the routes of the packaged template. ``Gateway`` accepts this object like a Chalice app."""

    def __init__(self, template: Path, environment: Environment) -> None:
        """Serve the routes that CloudFormation would make."""
        (api,) = of_type(parse(template.read_text("utf-8")), "AWS::Serverless::Api").values()
        definition = api["DefinitionBody"]
        self.routes = {path: {method.upper() for method in methods} for path, methods in definition["paths"].items()}
        self.binary_types = definition["x-amazon-apigateway-binary-media-types"]
        self._environment = environment

    @property
    def api(self) -> Self:
        """Return this object, because ``Gateway`` reads ``api.binary_types``."""
        return self

    def __call__(self, event: Mapping[str, Any], _: object) -> dict[str, Any]:
        """Send an event to the environment."""
        return self._environment.invoke(event)
