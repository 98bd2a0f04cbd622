"""Baton as deployed: the packaged zip under the runtime client of AWS, with the database that the environment names.

The program prints its address and the ids of the function's processes, and waits. The development gateway replaces API
Gateway. It runs in its own process, which is not measured, because AWS runs this part. An empty handler under the same
runtime client answers ``/floor``.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.packaged import deployed
from tools.dev.engine import ENDPOINT, over_http
from tools.dev.environment import Environment, Packaged
from tools.dev.gateway import DevelopmentClock, Gateway, GatewayServer

ENVIRONMENTS = 4
FLOOR = "/floor"
ANSWERING_SO_MUCH = """
def app(event, context):
    size = int(event["queryStringParameters"]["bytes"])
    return {"statusCode": 200, "headers": {}, "body": "x" * size}
"""
OPAQUE = """
[client.opaque]
code = 200
mechanism = "exchange"
form = "opaque"
binding = "optional"
scope = "account"
"""
"""An additional client: like `simple`, but its one token is opaque, as with most products."""


class WithFloor(Packaged):
    """An environment of Baton, and beside it an environment of the empty handler."""

    def __init__(self, template: Path, environment: Environment, bare: Environment) -> None:
        """Store the environment of the empty handler."""
        super().__init__(template, environment)
        self.routes[FLOOR] = {"POST"}
        self._bare = bare

    def __call__(self, event: Mapping[str, Any], context: object) -> dict[str, Any]:
        """Send an event to the right environment."""
        return self._bare.invoke(event) if event["resource"] == FLOOR else super().__call__(event, context)


def main() -> None:
    """Serve until ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The output of packaging goes to standard error, so that standard output has only the announcement.
    with (
        os.fdopen(os.dup(sys.stdout.fileno()), "w") as announcement,
        contextlib.ExitStack() as running,
        contextlib.suppress(KeyboardInterrupt),
    ):
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        place = Path(running.enter_context(tempfile.TemporaryDirectory()))
        os.environ["AWS_ENDPOINT_URL_KMS"] = kms = running.enter_context(over_http())
        server = running.enter_context(GatewayServer(0))
        issuer = f"https://127.0.0.1:{server.server_port}/api"
        made = deployed(place, dynamodb=os.environ[ENDPOINT], kms=kms, issuer=issuer)
        with (made.task / "chalicelib" / made.variables["BATON_CLIENTS"]).open("a", encoding="utf-8") as registry:
            registry.write(OPAQUE)
        (made.bare / "app.py").write_text(ANSWERING_SO_MUCH, "utf-8")
        bare = running.enter_context(Environment(made.bare, made.variables))
        environments = [running.enter_context(Environment(made.task, made.variables)) for _ in range(ENVIRONMENTS)]
        apps = [WithFloor(made.template, environment, bare) for environment in environments]
        # Use another environment only while the earlier ones are busy, as Lambda does.
        server.open(Gateway(apps, free=queue.LifoQueue()), DevelopmentClock())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = {
            "port": server.server_port,
            "path": "/api/oauth/token",
            "tokens": [],
            "versions": {"Python": sys.version.split()[0], "Chalice": version("chalice")},
            "function": [environment.pid for environment in (bare, *environments)],
        }
        print(json.dumps(said), file=announcement, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
