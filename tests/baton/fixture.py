"""Load the application of ``fixture_app/``, as a Lambda environment loads ``app.py``."""

import copy
import functools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chalicelib.baton import settings
from chalicelib.baton.attestation.ports import Anchors
from chalicelib.baton.testing import gateway
from chalicelib.baton.testing.clock import DevelopmentClock
from tools.openapi import describe

FOLDER = Path(__file__).parent / "fixture_app"
APP = FOLDER / "app.py"
CLIENTS = FOLDER / "clients.toml"
"""The default client registry of the fixture app. ``BATON_CLIENTS`` can name another registry of its folder."""


def load_environment(clock: DevelopmentClock | None = None, *, anchors: Anchors | None = None) -> ModuleType:
    """Import the fixture's ``app.py`` as a new module, as a new Lambda environment does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        return gateway.load_environment(clock, APP, anchors=anchors)


@functools.cache
def _description() -> dict[str, Any]:
    return describe(load_environment().app)


def description() -> dict[str, Any]:
    """Describe the fixture in OpenAPI. ``chalicelib/baton/http/openapi.json`` describes the team's application."""
    return copy.deepcopy(_description())
