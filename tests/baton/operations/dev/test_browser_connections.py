"""A browser gets a new connection for each request.

On a kept connection, Chromium would hide a lost answer from the app.
"""

import pytest

from tests.baton.operations.dev.conftest import Server


@pytest.mark.parametrize(("fields", "closed"), [([("Sec-Fetch-Mode", "cors")], True), ([], False)])
def test_a_connection_of_a_browser_is_closed_after_its_answer(
    server: Server, fields: list[tuple[str, str]], *, closed: bool
) -> None:
    """Chromium 156 repeats a request if its kept connection closes without an answer. This was measured."""
    for target in ("/api/time", "/_dev/clock", "/"):
        status, headers, _ = server.send("GET", target, [("Host", f"localhost:{server.port}"), *fields], b"")
        assert status == 200
        assert (("Connection", "close") in headers) is closed
