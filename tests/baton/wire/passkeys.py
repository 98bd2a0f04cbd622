"""A person with passkeys: the requests of the app, with the answers of the platform."""

import json
from typing import Any, Final

from baton_client import content_digest
from tests.baton.factors.authenticator import Authenticator
from tests.baton.wire.conversation import PREFIX, Device, Said
from tests.baton.wire.second_factor import grant_of, stepped

OPTIONS: Final = "/me/passkeys/options"
UPGRADE: Final = "/me/passkeys/upgrade-options"
PASSKEYS: Final = "/me/passkeys"


def options_of(said: Said) -> dict[str, Any]:
    """Return the options of an answer."""
    assert said.status == 200, said
    options: dict[str, Any] = said.members["options"]
    return options


def add(phone: Device, authenticator: Authenticator, *, name: str = "phone", **proof: Any) -> Said:
    """Register a passkey, with a step-up."""
    options = options_of(stepped(phone, "POST", OPTIONS, **proof))
    return phone.post(PASSKEYS, {"credential": authenticator.create(options), "name": name})


def sign_in_options(phone: Device) -> Said:
    """Get the options to log in with a passkey."""
    entry = phone.entry("")
    return phone.post("/login/passkey/options", {m: entry[m] for m in ("client_id", "device")}, token=None)


def send_passkey(phone: Device, credential: dict[str, Any], *, attempt: str | None = None) -> Said:
    """Log in with the assertion of the authenticator, and keep the tokens."""
    entry = phone.entry("")
    body = {m: entry[m] for m in ("client_id", "device")} | {"credential": credential}
    said = phone.post("/login/passkey", body, {"idempotency-key": attempt} if attempt else {}, token=None)
    if said.status == 200:
        phone.tokens = said.members
    return said


def sign_in(phone: Device, authenticator: Authenticator, *, attempt: str | None = None, **lies: Any) -> Said:
    """Log in with a passkey."""
    return send_passkey(phone, authenticator.get(options_of(sign_in_options(phone)), **lies), attempt=attempt)


def factor_options(phone: Device, asked: Said, *, attempt: str | None = None) -> Said:
    """Get the options of the second step of a login."""
    headers = {"idempotency-key": attempt} if attempt else {}
    return phone.post("/login/factor/options", {"auth_session": asked.members["auth_session"]}, headers, token=None)


def step_up_options(phone: Device, method: str, path: str, body: bytes = b"") -> Said:
    """Get the options of a step-up."""
    operation = {"method": method, "path": PREFIX + path, "digest": content_digest(body)}
    return phone.post("/step-up/options", {"operation": operation})


def switch_on(phone: Device) -> Said:
    """Switch the second factor on, by a step-up with the password."""
    body = json.dumps({"on": True}).encode()
    said = stepped(phone, "PUT", "/me/second-factor", body)
    assert said.status == 200, said
    return said


def with_passkey(phone: Device, method: str, path: str, authenticator: Authenticator, body: bytes = b"") -> Said:
    """Send a request with a step-up that uses only a passkey."""
    credential = authenticator.get(options_of(step_up_options(phone, method, path, body)))
    granted = grant_of(phone, method, path, body, passkey=credential)
    if granted.status != 200:
        return granted
    headers = {"baton-grant": str(granted.members["grant"])}
    return phone.request(method, path, body, headers | ({"content-type": "application/json"} if body else {}))


def add_with_passkey(phone: Device, mine: Authenticator, new: Authenticator) -> Said:
    """Register another passkey, with a step-up by a passkey."""
    options = options_of(with_passkey(phone, "POST", OPTIONS, mine))
    return phone.post(PASSKEYS, {"credential": new.create(options)})


def enrol(phone: Device, asked: Said, *, attempt: str | None = None) -> Said:
    """Begin the enrolment of a passkey during a login."""
    headers = {"idempotency-key": attempt} if attempt else {}
    body = {"auth_session": asked.members["auth_session"], "kind": "passkey"}
    return phone.post("/login/enrol", body, headers, token=None)
