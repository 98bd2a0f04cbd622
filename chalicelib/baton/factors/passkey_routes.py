"""Routes of the passkeys of a caller."""

from typing import Annotated, Any

import msgspec

from chalicelib.baton import errors
from chalicelib.baton.factors.passkeys import ManagePasskeys
from chalicelib.baton.routing import Answer, Body, Route, StepUp
from chalicelib.baton.tokens.caller import Caller

NAME_BYTES_MAX = 64

Credential = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="The answer of the platform as WebAuthn JSON: `toJSON()` of a `PublicKeyCredential`, or what "
        "Credential Manager returns. Members that Baton does not know are ignored.",
        extra_json_schema={
            "required": ["id", "rawId", "type", "response"],
            "properties": {
                "id": {"type": "string"},
                "rawId": {"type": "string"},
                "type": {"type": "string", "enum": ["public-key"]},
                "response": {"type": "object"},
            },
        },
    ),
]
PasskeyName = Annotated[
    str, msgspec.Meta(max_length=NAME_BYTES_MAX, description=f"At most {NAME_BYTES_MAX} bytes in UTF-8.")
]


class AddPasskeyShape(Body):
    """``POST /me/passkeys``. ``credential`` is the answer of the platform to the options.

    The options are from ``POST /me/passkeys/options`` or ``POST /me/passkeys/upgrade-options``.
    """

    credential: Credential
    name: PasskeyName = ""


class RenamePasskeyShape(Body):
    """``PATCH /me/passkeys/{passkey_id}``: the new name of the passkey."""

    name: PasskeyName


def routes(passkeys: ManagePasskeys) -> tuple[Route, ...]:
    """List the routes of ``/me/passkeys``. The routes to log in with a passkey are not included."""

    def options(caller: Caller) -> Answer:
        return Answer(200, passkeys.options(caller))

    def upgrade_options(caller: Caller) -> Answer:
        return Answer(200, passkeys.upgrade_options(caller))

    def show(caller: Caller) -> Answer:
        return Answer(200, passkeys.show(caller))

    def add(caller: Caller, body: AddPasskeyShape) -> Answer:
        return Answer(201, passkeys.add(caller, body.credential, _checked(body.name)))

    def rename(caller: Caller, body: RenamePasskeyShape, passkey_id: str) -> Answer:
        passkeys.rename(caller, passkey_id, _checked(body.name))
        return Answer(204)

    def remove(caller: Caller, passkey_id: str) -> Answer:
        passkeys.remove(caller, passkey_id)
        return Answer(204)

    one, proved = "/me/passkeys/{passkey_id}", StepUp()
    return (
        Route("POST", "/me/passkeys/options", options, step_up=proved, after_recovery=True),
        Route("POST", "/me/passkeys/upgrade-options", upgrade_options, repeatable=True),
        Route("GET", "/me/passkeys", show),
        Route("POST", "/me/passkeys", add, body=AddPasskeyShape, takes_attempt=True),
        Route("PATCH", one, rename, body=RenamePasskeyShape),
        Route("DELETE", one, remove, step_up=proved, after_recovery=True),
    )


def _checked(name: str) -> str:
    """Return the name unchanged. Raises ``WrongType`` if the name has more than ``NAME_BYTES_MAX`` bytes."""
    if len(name.encode()) > NAME_BYTES_MAX:
        raise errors.WrongType(
            pointer="/name", expected="string", detail=f"`/name` must have at most {NAME_BYTES_MAX} bytes in UTF-8."
        )
    return name
