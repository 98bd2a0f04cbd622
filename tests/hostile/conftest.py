"""A victim and a thief, in front of the gateway."""

from collections.abc import Callable

import pytest

from chalicelib.stores.engine import Tables
from tests.hostile.scene import Scene
from tests.web.conversation import Device


@pytest.fixture
def scene(make_device: Callable[..., Device], tables: Tables) -> Scene:
    """Set the scene."""
    return Scene(make_device, tables)
