"""The settings, the clients, the keys and the health of the development server, without any secret."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tools import doctor
from tools.dev.engine import client

_SECRET_SETTINGS: Final = frozenset({"access_key", "resource_servers", "registry", "origin_secret"})
"""Settings that are or contain a secret, or that are listed on their own."""


def settings(baton: Any, *, engine: str) -> dict[str, object]:  # noqa: ANN401 - of the current modules
    """Return the settings as texts, the clients, and the times of the keys."""
    given = baton.settings
    ring = baton.key_ring.current(now=baton.clock())
    shown = {name: value for name, value in msgspec.structs.asdict(given).items() if name not in _SECRET_SETTINGS}
    shown["resource_servers"] = list(given.resource_servers)
    return {
        "settings": {name: _text(value) for name, value in shown.items()},
        "clients": [_client(one) for one in given.registry],
        "keys": [{"kid": key.kid, "made_at": key.made_at, "signs_from": key.signs_from} for key in ring.signing],
        "roots": [{"made_at": root.made_at} for root in ring.roots],
        "not_before": ring.not_before,
        "engine": engine,
    }


def rows(baton: Any) -> list[dict[str, str]]:  # noqa: ANN401 - of the current modules
    """Return the rows of those checks of ``make doctor`` that fit this server: versions, endpoint, tables and keys."""
    return [{"part": row.part, "name": row.name, "found": row.found, "remedy": row.remedy} for row in _rows(baton)]


def _rows(baton: Any) -> Iterator[doctor.Row]:  # noqa: ANN401
    yield from doctor.versions()
    yield from doctor.endpoint(baton.settings.issuer, remedy="make dev")
    if baton.settings.storage == "dynamodb":
        yield from _tables(baton)
    yield from doctor.key_rows(lambda: baton.key_ring.current(now=baton.clock()), now=baton.clock())


def _tables(baton: Any) -> Iterator[doctor.Row]:  # noqa: ANN401
    dynamodb = client()
    for table in ("users", "lineages", "ephemeral", "audit"):
        name = baton.database.tables.name(table)
        count = dynamodb.describe_table(TableName=name)["Table"].get("ItemCount", 0)
        yield doctor.Row("tables", name, f"{count} items")


def _client(one: Any) -> dict[str, object]:  # noqa: ANN401
    return {
        "id": one.id,
        "code": one.code,
        "mechanism": str(one.mechanism.name),
        "form": one.form,
        "binding": one.binding,
        "scope": sorted(one.scope),
        "delivery": one.delivery,
        "second_factor": one.second_factor,
        "retired": one.retired,
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return ""
    return ", ".join(sorted(map(str, value))) if isinstance(value, list | tuple | frozenset) else str(value)
