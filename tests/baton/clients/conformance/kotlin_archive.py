"""Make the Kotlin agent start faster: write jars, a class archive and the arguments of ``java`` to build/kotlin-agent.

A run of the suite starts hundreds of short processes, and each spends most of its time on loading classes. A class
archive (JEP 350) has the classes that one such process loaded. Java accepts an archive only for jars, so the folders of
classes become jars. Usage: ``kotlin_archive.py ARGUMENTS``, the file that Maven wrote.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[4] / "build" / "kotlin-agent"
ARGUMENTS: Final = FOLDER / "arguments"
ARCHIVE: Final = FOLDER / "classes.jsa"
ANSWER: Final = {"access_token": "a", "token_type": "Bearer", "expires_in": 900, "device_id": "d", "account_id": "a"}


class Server(BaseHTTPRequestHandler):
    """Answer each request with a token, so that the client logs in, exchanges and calls."""

    def do_GET(self) -> None:
        """Answer a call."""
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Baton-Request-Id", "00000000-0000-4000-8000-000000000000")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Answer a login or an exchange."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def jar(folder: Path, number: int) -> str:
    """Write the classes of a folder to a jar, and return its path."""
    path = FOLDER / f"{number}.jar"
    with zipfile.ZipFile(path, "w") as file:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                file.write(each, each.relative_to(folder))
    return str(path)


def record(command: Sequence[str], url: str, store: str) -> None:
    """Run the agent: it opens the client, logs in, calls, exchanges and calls. Java writes the archive at its end."""
    opening = {"base_url": f"{url}/api", "client_id": "mobile", "store": store}
    entered = {"email": "ada@example.com", "password": "copper lantern drifting"}
    steps = [("open", opening), ("login", entered), ("me", {}), ("expire", {}), ("me", {}), ("state", {})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        for number, (do, named) in enumerate(steps):
            agent.stdin.write(json.dumps({"id": number, "do": do, **named}) + "\n")
            agent.stdin.flush()
            while "event" in (said := json.loads(agent.stdout.readline())):
                pass
            assert "ok" in said, said
        agent.stdin.close()
        agent.stdout.read()


def main(arguments: Path) -> None:
    """Write the files."""
    *options, _, paths, entry = arguments.read_text("utf-8").split("\n")[:6]
    FOLDER.mkdir(parents=True, exist_ok=True)
    ARCHIVE.unlink(missing_ok=True)
    each = [Path(path) for path in paths.strip('"').split(os.pathsep)]
    jars = os.pathsep.join(jar(path, number) if path.is_dir() else str(path) for number, path in enumerate(each))
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as store:
        command = ["java", f"-XX:ArchiveClassesAtExit={ARCHIVE}", *options, "-cp", jars, entry]
        record(command, f"http://127.0.0.1:{server.server_port}", store)
    server.shutdown()
    # Without -Xlog:disable, Java would print warnings about an archive between the lines of the agent.
    used = [f"-XX:SharedArchiveFile={ARCHIVE}", "-Xlog:disable", *options, "-cp", f'"{jars}"', entry]
    ARGUMENTS.write_text("\n".join(used), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
