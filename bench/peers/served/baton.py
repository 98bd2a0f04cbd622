"""Baton as ``make dev`` serves it, in one process, over the engine the environment names. Says where, and waits."""

import json
import os
import signal
import sys
import threading
from importlib.metadata import version

from tools.dev.serve import development


def main() -> None:
    """Serve until ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Its log goes to standard output, as Lambda wants it: here it joins the errors, so that one line alone announces.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as announcement:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with development(0) as running:
            versions = {"Python": sys.version.split()[0], "Chalice": version("chalice")}
            said = {"port": running.server.server_port, "path": "/api/oauth/token", "tokens": [], "versions": versions}
            print(json.dumps(said), file=announcement, flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                return


if __name__ == "__main__":
    main()
