"""The routes of the identity providers of ``make dev``: ``/_dev/providers``."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from chalicelib.baton.testing.gateway import GatewayResponse
from tools.dev.api.answers import DevRefusal, DevRequest, as_json, string
from tools.dev.providers import DevelopmentProvider, DevelopmentProviders

_APPLE = ("auth", "token"), ("auth", "revoke")


def takes_form(path: tuple[str, ...]) -> bool:
    """Check whether a route takes a form body: a provider's ``auth/token`` and ``auth/revoke`` do, as at Apple.

    ``path`` has the segments after ``/_dev``.
    """
    return path[:1] == ("providers",) and path[2:] in _APPLE


class ProviderRoutes:
    """The routes of the simulated providers. They sign in people, rotate the keys, and simulate an outage."""

    def __init__(self, providers: DevelopmentProviders | None) -> None:
        """Serve the routes of these providers."""
        self._providers = providers

    @property
    def routes(self) -> Mapping[str, Callable[[DevRequest], GatewayResponse]]:
        """The function of each route, by its method and its path after ``/_dev/``, such as ``GET providers``."""
        return {
            "GET providers": self._listed,
            "GET providers/{}/jwks": self._jwks,
            "POST providers/{}/token": self._token,
            "POST providers/{}/rotate": self._rotate,
            "POST providers/{}/outage": self._outage,
            "POST providers/{}/auth/token": self._form,
            "POST providers/{}/auth/revoke": self._form,
        }

    def _listed(self, request: DevRequest) -> GatewayResponse:
        request.parameters()
        return as_json({"providers": [_shown(one) for one in self._providers.listed()] if self._providers else []})

    def _jwks(self, request: DevRequest) -> GatewayResponse:
        request.parameters()
        keys = self._of(request).signs
        return as_json({}, 503) if keys.outage else as_json(keys.jwks())

    def _token(self, request: DevRequest) -> GatewayResponse:
        provider, members = self._of(request), request.any_members()
        claims = {"sub": string(members, "sub", most=255), "nonce": string(members, "nonce", most=255)}
        audience = string(members, "audience") if "audience" in members else provider.audiences[0]
        others = {name: value for name, value in members.items() if name not in {"sub", "nonce", "audience"}}
        if self._providers:
            self._providers.set_apple_key(provider)
        return as_json(provider.token({**others, **claims}, audience=audience))

    def _rotate(self, request: DevRequest) -> GatewayResponse:
        request.members()
        provider = self._of(request)
        provider.signs.rotate()
        return as_json(_shown(provider))

    def _outage(self, request: DevRequest) -> GatewayResponse:
        provider, on = self._of(request), request.members("on").get("on")
        if not isinstance(on, bool):
            raise DevRefusal(400, "wrong_type", "`on` must be true or false.")
        provider.signs.outage = on
        return as_json(_shown(provider))

    def _form(self, request: DevRequest) -> GatewayResponse:
        form = dict(parse_qsl(request.body.decode(errors="replace")))
        status, members = self._of(request).answer(f"/auth/{request.path[-1]}", form)
        return as_json(members, status)

    def _of(self, request: DevRequest) -> DevelopmentProvider:
        found = self._providers.get(request.path[1]) if self._providers else None
        if found is None:
            known = [one.row.name for one in self._providers.listed()] if self._providers else []
            raise DevRefusal(404, "not_found", "This server has no such identity provider.", known=known)
        return found


def _shown(provider: DevelopmentProvider) -> dict[str, Any]:
    row = provider.row
    return {
        "name": row.name,
        "kind": row.kind,
        "issuers": list(row.issuers),
        "audiences": {client: list(audiences) for client, audiences in row.audiences.items()},
        "kids": [key["kid"] for key in provider.signs.jwks()["keys"]],
        "outage": provider.signs.outage,
        "refresh_tokens": len(provider.refresh_tokens),
    }
