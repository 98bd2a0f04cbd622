"""The scene of each scenario, for each client."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.testing.world import World
from tests.baton.clients.conformance.agents import parameters
from tests.baton.clients.conformance.line import Line, listening
from tests.baton.clients.conformance.scene import Scene
from tests.baton.clients.conformance.tls import certified
from tests.baton.testing.conftest import ROLES

APP = "tests/baton/testing/orders_app.py"


@pytest.fixture(params=parameters())
def client(request: pytest.FixtureRequest) -> str:
    """Return the client that a scenario tests."""
    return str(request.param)


@pytest.fixture
def line() -> Iterator[Line]:
    """Listen on a free port, as the server of the scenario."""
    with listening() as made:
        yield made


@pytest.fixture
def make_world(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Start Baton behind the line. The registry has the roles that the app names."""
    text = Clients.from_toml
    monkeypatch.setattr(
        Clients, "from_toml", lambda words, file="": text(words + ("" if "\n[roles]" in words else ROLES), file)
    )
    made: list[World] = []

    def make(**settings: str) -> World:
        hosts = ",".join(f"{host}:{line.port}" for host in ("localhost", "127.0.0.1", "[::1]"))
        world = World(APP, settings={"BATON_ISSUER": line.url, "BATON_AUTHORITIES": hosts, **settings})
        made.append(world)
        line.gateway = world.gateway
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture
def scene(client: str, line: Line, make_world: Callable[..., World], tmp_path: Path) -> Iterator[Scene]:
    """Begin a scenario. Its invariants are checked when it ends."""
    with Scene(client, line, make_world(), tmp_path) as made:
        yield made


@pytest.fixture
def make_server(
    make_world: Callable[..., World], line: Line, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, int], Scene]]:
    """Begin a scenario whose server speaks TLS, on this port or on a free port."""
    with contextlib.ExitStack() as stack:

        def make(client: str, port: int) -> Scene:
            context, environment = certified(tmp_path_factory.mktemp("tls"))
            try:
                secured = stack.enter_context(listening(port, context))
            except OSError:
                pytest.skip(f"{client}: port {port} cannot be used here")
            host = "localhost" if port == 443 else f"localhost:{secured.port}"
            world = make_world(BATON_ISSUER=f"https://{host}/api", BATON_AUTHORITIES=host)
            secured.gateway = line.gateway
            scene = stack.enter_context(Scene(client, secured, world, tmp_path))
            scene.environment |= environment
            return scene

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    """Show the requests that arrived, if a scenario fails."""
    report = yield
    scene = getattr(item, "funcargs", {}).get("scene")
    if report.failed and scene is not None:
        lines = [f"{one.method} {one.path} -> {one.status} {one.answer[:200]!r}" for one in scene.line.log[-25:]]
        report.sections.append(("requests", "\n".join(lines)))
    return report
