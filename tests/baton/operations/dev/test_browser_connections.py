"""A browser gets a new connection for each request. On a used one, Chromium hides a lost answer from the app."""

import pytest

from tests.baton.operations.dev.conftest import Server


@pytest.mark.parametrize(("fields", "closed"), [([("Sec-Fetch-Mode", "cors")], True), ([], False)])
def test_a_connection_of_a_browser_is_closed_after_its_answer(
    server: Server, fields: list[tuple[str, str]], *, closed: bool
) -> None:
    """Measured in Chromium 156: a request on a used connection that closes without an answer is sent a second time."""
    for target in ("/api/time", "/_dev/clock", "/"):
        status, headers, _ = server.send("GET", target, [("Host", f"localhost:{server.port}"), *fields], b"")
        assert status == 200
        assert (("Connection", "close") in headers) is closed
