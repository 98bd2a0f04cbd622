"""Routes that apps call often: the account, its devices, and logout."""

import msgspec

from chalicelib.baton.accounts.devices import ListDevices, ListedDevice
from chalicelib.baton.accounts.logout import Logout
from chalicelib.baton.accounts.profile import ShowAccount
from chalicelib.baton.routing import Answer, Body, Route
from chalicelib.baton.tokens.caller import Caller


class LogoutShape(Body):
    """``POST /logout``. ``everywhere``: end every login of the account, after a step-up."""

    everywhere: bool = False


class Devices(msgspec.Struct):
    """The active and the ended logins of the account, the newest first."""

    devices: list[ListedDevice]


def routes(*, logout: Logout, show: ShowAccount, list_devices: ListDevices) -> tuple[Route, ...]:
    """List the routes ``POST /logout``, ``GET /me`` and ``GET /me/devices``."""

    def log_out(caller: Caller, body: LogoutShape) -> Answer:
        if body.everywhere:
            caller.require_step_up()
        logout(caller, everywhere=body.everywhere)
        return Answer(204)

    def show_account(caller: Caller) -> Answer:
        return Answer(200, show(caller))

    def devices(caller: Caller) -> Answer:
        return Answer(200, Devices(list_devices(caller)))

    return (
        Route("POST", "/logout", log_out, body=LogoutShape, may_step_up="where `everywhere` is true", session="ended"),
        Route("GET", "/me", show_account),
        Route("GET", "/me/devices", devices),
    )
