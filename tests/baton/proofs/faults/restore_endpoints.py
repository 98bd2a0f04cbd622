"""The endpoints of restore keys: one scenario for each different sequence of calls to DynamoDB."""

from tests.baton.factors.authenticator import Authenticator
from tests.baton.proofs.faults.endpoints import ATTEMPT, registered, scenario
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import Device
from tests.baton.wire.passkeys import options_of
from tests.baton.wire.restore import OPTIONS, RESTORE_KEY, keep, put_key, restore_options, send_restore

KEY = ATTEMPT.replace(" ", "-")


def platform_of() -> Authenticator:
    """Return a platform for the registry of the stage."""
    return Authenticator(rp_id="localhost", origin="http://localhost:8000", flags=0)


def kept(stage: Stage) -> tuple[Device, Authenticator]:
    """Register a phone, and keep a restore key."""
    phone, platform = registered(stage), platform_of()
    assert keep(phone, platform).status == 204
    return phone, platform


@scenario("POST /me/restore-key/options")
def _(stage: Stage) -> Act:
    return stage.by_device(registered(stage), lambda phone: phone.request("POST", OPTIONS))


@scenario("PUT /me/restore-key")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    credential = platform_of().create(options_of(phone.request("POST", OPTIONS)))
    return stage.by_device(phone, lambda phone: put_key(phone, credential))


@scenario("DELETE /me/restore-key")
def _(stage: Stage) -> Act:
    phone, _ = kept(stage)
    return stage.by_device(phone, lambda phone: phone.request("DELETE", RESTORE_KEY))


@scenario("POST /login/restore/options")
def _(stage: Stage) -> Act:
    return stage.by_device(stage.device(), restore_options)


@scenario("POST /login/restore")
def _(stage: Stage) -> Act:
    _, platform = kept(stage)
    new_phone = stage.device()
    credential = platform.get(options_of(restore_options(new_phone)))
    return stage.by_device(new_phone, lambda new_phone: send_restore(new_phone, credential, attempt=KEY))


@scenario("POST /login/restore", "after the old phone has logged out")
def _(stage: Stage) -> Act:
    phone, platform = kept(stage)
    assert phone.post("/logout", {}).status == 204
    new_phone = stage.device()
    credential = platform.get(options_of(restore_options(new_phone)))
    return stage.by_device(new_phone, lambda new_phone: send_restore(new_phone, credential, attempt=KEY))
