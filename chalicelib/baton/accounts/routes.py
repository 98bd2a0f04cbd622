"""Routes of the account: register, login, step-up, logout, ``/me`` and its devices."""

from chalice.app import Blueprint
from msgspec import UNSET, Struct

from chalicelib.baton.accounts.deletion import DeleteAccount
from chalicelib.baton.accounts.devices import DeviceEntry, EndDevice, ListDevices
from chalicelib.baton.accounts.login import Login
from chalicelib.baton.accounts.login_request import Device
from chalicelib.baton.accounts.logout import Logout
from chalicelib.baton.accounts.password import ChangePassword
from chalicelib.baton.accounts.profile import ShowAccount
from chalicelib.baton.accounts.register import Register
from chalicelib.baton.factors.step_up import IssueStepUpGrant
from chalicelib.baton.http.body import read_json
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.http.shapes import (
    Devices,
    DeviceShape,
    Entry,
    ListedDevice,
    LogoutShape,
    PasswordShape,
    StepUpShape,
    TokenResponse,
)
from chalicelib.baton.http.signed import Signed
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.routing import Answer, Message, Nothing
from chalicelib.baton.tokens.call import StepUp
from chalicelib.baton.tokens.caller import Caller, Operation
from chalicelib.baton.tokens.issue import Issued


class Journeys(Struct, frozen=True):
    """What these routes call."""

    register: Register
    login: Login
    step_up: IssueStepUpGrant
    logout: Logout
    show: ShowAccount
    delete: DeleteAccount
    change_password: ChangePassword
    list_devices: ListDevices
    end_device: EndDevice


def accounts(dispatch: Dispatch, signed: Signed, journeys: Journeys) -> Blueprint:
    """Make the blueprint."""
    routes = Blueprint(__name__)

    @routes.route("/register", methods=["POST"], content_types=[])
    @dispatch.view()
    def register(message: Message) -> Answer:
        return Answer(201, token_response(_enter(journeys.register, message), dispatch.clock()))

    @routes.route("/login", methods=["POST"], content_types=[])
    @dispatch.view()
    def login(message: Message) -> Answer:
        return Answer(200, token_response(_enter(journeys.login, message), dispatch.clock()))

    @routes.route("/step-up", methods=["POST"], content_types=[])
    @signed(body=StepUpShape)
    def step_up(caller: Caller, body: StepUpShape) -> Answer:
        asked = body.operation
        operation = Operation(asked.method, asked.path, asked.digest)
        return Answer(200, journeys.step_up(caller, operation, body.password))

    @routes.route("/logout", methods=["POST"], content_types=[])
    @signed(body=LogoutShape, step_up=StepUp(), step_up_when=lambda body: body.everywhere)
    def logout(caller: Caller, body: LogoutShape) -> Answer:
        journeys.logout(caller, everywhere=body.everywhere)
        return Answer(204)

    @routes.route("/me", methods=["GET"], content_types=[])
    @signed()
    def show(caller: Caller, _: Nothing) -> Answer:
        return Answer(200, journeys.show(caller))

    @routes.route("/me", methods=["DELETE"], content_types=[])
    @signed(step_up=StepUp())
    def delete(caller: Caller, _: Nothing) -> Answer:
        journeys.delete(caller)
        return Answer(204)

    @routes.route("/me/password", methods=["POST"], content_types=[])
    @signed(body=PasswordShape, step_up=StepUp())
    def change_password(caller: Caller, body: PasswordShape) -> Answer:
        journeys.change_password(caller, body.new_password)
        return Answer(204)

    @routes.route("/me/devices", methods=["GET"], content_types=[])
    @signed()
    def list_devices(caller: Caller, _: Nothing) -> Answer:
        return Answer(200, Devices([_listed(entry) for entry in journeys.list_devices(caller)]))

    @routes.route("/me/devices/{device_id}", methods=["DELETE"], content_types=[])
    @signed(step_up=StepUp())
    def end_device(caller: Caller, _: Nothing, device_id: str) -> Answer:
        journeys.end_device(caller, device_id)
        return Answer(204)

    return routes


def token_response(issued: Issued, now: int) -> TokenResponse:
    """Write a token response (RFC 6749 section 5.1) with our members."""
    return TokenResponse(
        access_token=issued.access_token,
        expires_in=issued.expires_in,
        refresh_token=UNSET if issued.refresh_token is None else issued.refresh_token,
        scope=issued.scope,
        authorization_expires_in=issued.authorization_expires_in,
        refresh_token_timeout=UNSET if issued.refresh_token_timeout is None else issued.refresh_token_timeout,
        device_id=issued.device_id,
        key_id=UNSET if issued.key_id is None else issued.key_id,
        secret=UNSET if issued.secret is None else issued.secret,
        server_time=now,
    )


def _enter(journey: Register | Login, message: Message) -> Issued:
    body = read_json(message, Entry)
    return journey(
        message,
        source=message.source,
        email=body.email,
        password=body.password,
        client_id=body.client_id,
        device=_device(body.device),
    )


def _device(shape: DeviceShape) -> Device:
    key = None
    if shape.public_key is not None:
        key = PublicKey.from_jwk(shape.public_key)
        key.check_point()
    return Device(name=shape.name, public_key=key, hmac=shape.binding == "hmac")


def _listed(entry: DeviceEntry) -> ListedDevice:
    return ListedDevice(
        device_id=entry.device_id,
        name=entry.name,
        client_id=entry.client_id,
        created_at=entry.created_at,
        last_exchange_at=entry.last_exchange_at,
        current=entry.current,
        bound=entry.bound,
        ended_at=entry.ended.at if entry.ended else None,
        ended_reason=entry.ended.reason if entry.ended else None,
    )
