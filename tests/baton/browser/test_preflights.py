"""T7 of docs/baton/attacks.md: the preflight of every route, for pages that sign and for pages with a cookie."""

import pytest

from chalicelib.baton.http.answer import ALLOWED_FIELDS
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import PAGE, Browser
from tests.baton.fixture import description

SPA = "https://spa.example.com"
PATHS = {path: {method.upper() for method in item} for path, item in description()["paths"].items()}
UNLISTED = ("https://evil.example", f"{SPA}.evil.example", "https://SPA.example.com", "null", f"{PAGE}:8443")


@pytest.fixture(scope="module")
def browser(pages: World) -> Browser:
    """Open a browser."""
    return Browser(pages)


@pytest.mark.parametrize("path", PATHS)
def test_the_preflight_of_a_route_allows_its_methods(browser: Browser, path: str) -> None:
    """The answer is 204, is valid for two hours, and allows only the requesting origin."""
    for origin, credentials in ((SPA, None), (PAGE, "true")):
        answer = browser.request("OPTIONS", path.replace("{", "").replace("}", ""), page={"origin": origin})
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers.get("access-control-allow-credentials") == credentials
        assert PATHS[path] <= set(answer.headers["access-control-allow-methods"].split(", "))
        assert answer.headers["access-control-allow-headers"] == ALLOWED_FIELDS
        assert answer.headers["access-control-max-age"] == "7200"
        assert answer.headers["vary"] == "Origin"
    for origin in UNLISTED:
        answer = browser.request("OPTIONS", path.replace("{", "").replace("}", ""), page={"origin": origin})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "Origin"
