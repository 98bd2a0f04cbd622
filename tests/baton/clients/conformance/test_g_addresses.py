"""Scenarios G: addresses, paths and queries."""

from collections.abc import Callable

import pytest

from chalicelib.baton.testing.world import World
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Scene, scenarios

pytestmark = pytest.mark.prove(ci=True)

ODD = ["a b", "caf\u00e9 \U0001f600", "~*-._", "a&b=c/d?e#f", "100%25", "\"'()!<>[]{}|\\^`", ""]


@scenarios(77, 79, 80)
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
    """For every form of the base URL, the client signs the address that it sends."""
    if scene.client == "swift" and "[" in base:
        pytest.skip("swift: Foundation of Swift 6.0 on Linux cannot send to an IPv6 address; the vectors have one")
    agent = scene.agent(base_url=base.format(port=scene.line.port))
    agent("register", email=EMAIL, password=PASSWORD)
    agent("me")


@scenarios(82)
@pytest.mark.parametrize(
    "base", ["http://api.example.com/api", "https://user@localhost/api", "http://localhost/a/../b"]
)
def test_82_a_base_url_that_is_refused(scene: Scene, base: str) -> None:
    """The client raises an error of the program, before it sends a request."""
    with pytest.raises(Exception, match="type_error"):
        scene.agent(base_url=base)


@scenarios(83)
@pytest.mark.parametrize("path", ["/me/../me", "/./me", "/%2e%2E/me", "me", "/m e", "/me?a=b"])
def test_83_a_path_that_is_refused(scene: Scene, path: str) -> None:
    """Dot segments are refused too: a platform would resolve them."""
    agent = scene.registered()
    count = len(scene.line.log)
    assert agent.fails("call", method="GET", path=path).kind == "type_error"
    assert len(scene.line.log) == count


@scenarios(84)
@pytest.mark.parametrize("word", ODD)
def test_84_an_odd_query(scene: Scene, word: str) -> None:
    """The server verifies the signature, and reads the same query."""
    agent = scene.registered()
    assert agent("call", method="GET", path="/orders", query={"word": word, "at_least": "3"})["json"]["word"] == word


@scenarios(78)
@pytest.mark.parametrize("stage", ["/prod", "/a%20b", ""])
def test_78_another_stage(scene: Scene, make_world: Callable[..., World], stage: str) -> None:
    """The client signs the path with the stage, as it is sent. A custom domain has no stage."""
    origin = f"http://localhost:{scene.line.port}"
    make_world(BATON_ISSUER=origin + stage)
    agent = scene.agent(base_url=origin + stage)
    agent("register", email=EMAIL, password=PASSWORD)
    agent("me")


@scenarios(81)
@pytest.mark.parametrize("port", [0, 443], ids=["a free port", "port 443, which a base URL leaves out"])
def test_81_tls(port: int, client: str, make_server: Callable[..., Scene]) -> None:
    """The server has its own certificate, which the platform trusts."""
    if client == "swift":
        pytest.skip("swift: its toolchain has a root of its own, which trusts no certificate of this machine")
    scene = make_server(client, port)
    agent = scene.agent()
    agent("register", email=EMAIL, password=PASSWORD)
    scene.exchanged(agent)
    assert agent("logout") == {"confirmed": True}
    expected = "localhost" if port == 443 else f"localhost:{scene.line.port}"
    assert {one.header("host") for one in scene.line.log} == {expected}


@scenarios(81)
def test_81_a_certificate_that_is_not_trusted(client: str, make_server: Callable[..., Scene]) -> None:
    """The call fails as offline. The client does not send the password."""
    scene = make_server(client, 0)
    scene.environment.clear()
    agent = scene.agent()
    assert agent.fails("login", email=EMAIL, password=PASSWORD, deadline_s=1).kind == "offline"
    assert scene.line.log == []
