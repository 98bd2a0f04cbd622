"""Fixtures: a victim and a thief, in front of the gateway."""

from collections.abc import Callable

import pytest

from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.fixture import load_environment
from tests.baton.proofs.hostile.scene import Scene
from tests.baton.wire.conversation import Device
from tools.dev.gateway import DevelopmentClock, Gateway


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put the gateway in front of one environment: these requests are sequential."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    return Gateway([load_environment(clock).app])


@pytest.fixture
def scene(make_device: Callable[..., Device], tables: Tables) -> Scene:
    """Create the scene."""
    return Scene(make_device, tables)
