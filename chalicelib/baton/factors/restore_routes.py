"""Routes of the restore key of a caller's device."""

from chalicelib.baton.factors.passkey_routes import Credential
from chalicelib.baton.factors.restore_keys import KEEP_S, ManageRestoreKey
from chalicelib.baton.routing import Answer, Body, Route
from chalicelib.baton.tokens.caller import Caller

_LATE = f"the login is older than {KEEP_S} seconds"


class KeepRestoreKeyShape(Body):
    """``PUT /me/restore-key``. ``credential`` is the platform's answer to options that the same login fetched."""

    credential: Credential


def routes(restore_key: ManageRestoreKey) -> tuple[Route, ...]:
    """List the routes of restore keys."""

    def options(caller: Caller) -> Answer:
        return Answer(200, restore_key.options(caller))

    def keep(caller: Caller, body: KeepRestoreKeyShape) -> Answer:
        restore_key.keep(caller, body.credential)
        return Answer(204)

    def remove(caller: Caller) -> Answer:
        restore_key.remove(caller)
        return Answer(204)

    path, shape = "/me/restore-key", KeepRestoreKeyShape
    late = f"where {_LATE}"
    stepped_up = f"where the login became older than {KEEP_S} seconds after the request for the options"
    return (
        Route("POST", f"{path}/options", options, bound=True, may_step_up=late),
        Route("PUT", path, keep, body=shape, bound=True, may_step_up=stepped_up),
        Route("DELETE", path, remove, bound=True),
    )
