"""``POST /_dev/attestation`` of ``make dev``: make evidence with test authorities, with or without a defect."""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.baton.testing.attesters.kit import DEFECTS, Attester
from chalicelib.baton.testing.gateway import GatewayResponse

_MEMBERS = {"format", "client_id", "challenge", "public_key", "key_id", "defect"}


class WrongRequest(ValueError):
    """An invalid request for evidence. The message says what to change."""


def attestation_answer(attester: Attester, body: bytes) -> GatewayResponse:
    """Answer a request for evidence: 200 with the evidence, or 400 with what to change in the request."""
    try:
        return _answer(200, made(attester, body))
    except WrongRequest as wrong:
        return _answer(400, {"code": "malformed", "detail": str(wrong)})


def made(attester: Attester, body: bytes) -> dict[str, Any]:
    """Make the evidence that ``body`` describes, for the member ``attestation`` of a login. Raises ``WrongRequest``."""
    # Import the current module here: `make dev` imports the modules of chalicelib again when a file changes.
    from chalicelib.baton.keys.public_key import PublicKey  # noqa: PLC0415
    from chalicelib.baton.keys.refusals import InvalidKey  # noqa: PLC0415
    from chalicelib.baton.settings import read_settings  # noqa: PLC0415

    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, Mapping) or not {"format", "client_id", "challenge", "public_key"} <= asked.keys():
        raise WrongRequest(
            'Send {"format", "client_id", "challenge", "public_key"}, for an assertion "key_id" too, and "defect" '
            f"if you want one of {', '.join(sorted(frozenset().union(*DEFECTS.values())))}."
        )
    if unknown := sorted(asked.keys() - _MEMBERS):
        raise WrongRequest(f"{unknown[0]} is not a member.")
    client = read_settings().registry.get(str(asked["client_id"]))
    if client is None:
        raise WrongRequest("client_id is not in the registry.")
    try:
        return attester.member(
            str(asked["format"]),
            client,
            challenge=str(asked["challenge"]),
            public_key=PublicKey.from_jwk(asked["public_key"]),
            key_id=str(asked.get("key_id", "")),
            defect=str(asked.get("defect", "")),
        )
    except InvalidKey as wrong:
        raise WrongRequest(f"public_key: {wrong.members.get('detail') or wrong.detail}") from None
    except (ValueError, AttributeError, TypeError) as wrong:
        raise WrongRequest(f"{wrong}") from None


def _answer(status: int, members: Mapping[str, Any]) -> GatewayResponse:
    fields = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return GatewayResponse(status, fields, json.dumps(members).encode())
