"""A person who moves to a new phone: the requests of the app, with the answers of the platform."""

import json
from typing import Any, Final

from tests.baton.factors.authenticator import Authenticator
from tests.baton.wire.conversation import JSON, Device, Said
from tests.baton.wire.passkeys import options_of

OPTIONS: Final = "/me/restore-key/options"
RESTORE_KEY: Final = "/me/restore-key"


def silent() -> Authenticator:
    """Return an authenticator like that of a platform for restore keys: no person is present or verified."""
    return Authenticator(flags=0)


def put_key(phone: Device, credential: dict[str, Any]) -> Said:
    """Send the restore key that the platform made."""
    return phone.request("PUT", RESTORE_KEY, json.dumps({"credential": credential}).encode(), JSON)


def keep(phone: Device, platform: Authenticator) -> Said:
    """Make and keep a restore key, as an app does after each login."""
    said = phone.post(OPTIONS, {})
    return put_key(phone, platform.create(options_of(said))) if said.status == 200 else said


def restore_options(phone: Device) -> Said:
    """Get the options to restore a login on this new phone."""
    entry = phone.entry("")
    return phone.post("/login/restore/options", {m: entry[m] for m in ("client_id", "device")}, token=None)


def send_restore(phone: Device, credential: dict[str, Any], *, attempt: str | None = None) -> Said:
    """Restore a login with the assertion of the platform, and keep the tokens."""
    entry = phone.entry("")
    body = {m: entry[m] for m in ("client_id", "device")} | {"credential": credential}
    said = phone.post("/login/restore", body, {"idempotency-key": attempt} if attempt else {}, token=None)
    if said.status == 200:
        phone.tokens = said.members
    return said


def restore(phone: Device, platform: Authenticator, *, attempt: str | None = None, **lies: Any) -> Said:
    """Restore a login on this new phone."""
    said = restore_options(phone)
    return send_restore(phone, platform.get(options_of(said), **lies), attempt=attempt) if said.status == 200 else said
