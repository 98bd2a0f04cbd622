"""Your app as a whole: each route requires a login, or is named here."""

import re

from chalicelib.baton.testing.world import World

PUBLIC: set[str] = set()
"""Your routes that answer without a login, such as ``"GET /catalogue"``."""


def test_every_route_is_signed_or_public(world: World) -> None:
    """A request without a token is refused before your function runs.

    The request says that a script sends it. Otherwise a route with ``@baton.page`` answers with the login page.
    """
    by_a_script = ("sec-fetch-mode", "cors")
    for route in sorted(world.routes - PUBLIC):
        method, path = route.split(" ")
        target = f"/{world.gateway.stage}{re.sub(r'{[^}]+}', '1', path)}"
        answer = world.gateway.call(method, target, [("host", "api.example.com"), by_a_script])
        assert answer.status == 401, f"{route} answers without a token. Use @baton.signed, or name the route in PUBLIC."


def test_every_public_route_exists(world: World) -> None:
    """A name that is left over would let a later route be public unnoticed."""
    assert PUBLIC - world.routes == set()
