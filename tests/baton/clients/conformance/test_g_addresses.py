"""G: addresses, paths and queries."""

from collections.abc import Callable

import pytest

from chalicelib.baton.testing.world import World
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Scene

ODD = ["a b", "caf\u00e9 \U0001f600", "~*-._", "a&b=c/d?e#f", "100%25", "\"'()!<>[]{}|\\^`", ""]


@pytest.mark.parametrize(
    "base",
    [
        "http://localhost:{port}/api///",
        "HTTP://LOCALHOST:{port}/api",
        "http://127.0.0.1:{port}/api",
        "http://[::1]:{port}/api",
    ],
    ids=["77 trailing slashes", "80 upper case", "an IPv4 address", "79 an IPv6 address"],
)
def test_77_to_80_base_urls(scene: Scene, base: str) -> None:
    """Signed as it is sent, in every form."""
    if scene.client == "swift" and "[" in base:
        pytest.skip("swift: Foundation of Swift 6.0 on Linux cannot send to an IPv6 address; the vectors have one")
    agent = scene.agent(base_url=base.format(port=scene.line.port))
    agent("register", email=EMAIL, password=PASSWORD)
    agent("me")


@pytest.mark.parametrize(
    "base", ["http://api.example.com/api", "https://user@localhost/api", "http://localhost/a/../b"]
)
def test_82_a_base_url_that_is_refused(scene: Scene, base: str) -> None:
    """An error of the program, before anything is sent."""
    with pytest.raises(Exception, match="type_error"):
        scene.agent(base_url=base)


@pytest.mark.parametrize("path", ["/me/../me", "/./me", "/%2e%2E/me", "me", "/m e", "/me?a=b"])
def test_83_a_path_that_is_refused(scene: Scene, path: str) -> None:
    """Dot segments too: a platform would resolve them."""
    agent = scene.registered()
    count = len(scene.line.log)
    assert agent.fails("call", method="GET", path=path).kind == "type_error"
    assert len(scene.line.log) == count


@pytest.mark.parametrize("word", ODD)
def test_84_an_odd_query(scene: Scene, word: str) -> None:
    """The server verifies it, and reads the same text."""
    agent = scene.registered()
    assert agent("call", method="GET", path="/orders", query={"word": word, "at_least": "3"})["json"]["word"] == word


@pytest.mark.parametrize("stage", ["/prod", "/a%20b"])
def test_78_another_stage(scene: Scene, make_world: Callable[..., World], stage: str) -> None:
    """Signed with the stage, as it is sent. The gateway of the tests needs one: the vectors have a URL without one."""
    origin = f"http://localhost:{scene.line.port}"
    make_world(BATON_ISSUER=origin + stage)
    agent = scene.agent(base_url=origin + stage)
    agent("register", email=EMAIL, password=PASSWORD)
    agent("me")


def test_81_tls(scene: Scene) -> None:
    """The rules of port 443, by an own certificate."""
    pytest.skip(f"{scene.client}: the line has no certificate; the vectors have the default port")
