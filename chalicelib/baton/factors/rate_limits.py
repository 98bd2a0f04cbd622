"""The rate limits of logins and step-ups: names and maximum counts. No I/O."""

from typing import Final

from msgspec import Struct

from chalicelib.baton.factors.model import SecondFactors, key_id
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.clients import level
from chalicelib.baton.lineages.model import AccountState, Binding, KeyBinding, Lineage, SecretBinding
from chalicelib.baton.lineages.rules import proved_login
from chalicelib.baton.policy import FAILURES_PER_ACCOUNT_MAX, FAILURES_PER_KNOWN_DEVICE_MAX, FAILURES_PER_SOURCE_MAX
from chalicelib.baton.routing import source_network
from chalicelib.baton.tokens.caller import Caller

FAILURES_PER_ATTESTED_DEVICE_MAX: Final = 30


class RateLimit(Struct, frozen=True):
    """At most ``limit`` failures in one window of ``THROTTLE_WINDOW_S`` seconds, counted under ``name``."""

    name: str
    limit: int


def login_limits(
    account: AccountId,
    account_state: AccountState | None,
    binding: Binding,
    *,
    proved: LineageId | None = None,
    source: str,
    attested: bool = False,
) -> tuple[RateLimit, ...]:
    """Return the rate limits of a login.

    A known device (`known_device`) has a rate limit of its own, which other devices cannot use up. A login on any other
    device counts in two limits: the limit of its network, and the limit of the account.

    - ``account``: for an unknown address, an id that no account has.
    - ``proved``: the lineage whose HMAC secret signed the login.
    - ``attested``: the client requires evidence of each device key. The limit of a known device is then higher.
    """
    device = known_device(account_state, binding, proved=proved)
    if device is not None:
        limit = FAILURES_PER_ATTESTED_DEVICE_MAX if attested else FAILURES_PER_KNOWN_DEVICE_MAX
        return (RateLimit(_of_device(account, device).name, limit),)
    return (
        RateLimit(f"source:{source_network(source)}", FAILURES_PER_SOURCE_MAX),
        RateLimit(f"account:{account}", FAILURES_PER_ACCOUNT_MAX),
    )


def known_device(
    account_state: AccountState | None, binding: Binding, *, proved: LineageId | None = None
) -> str | None:
    """Return the name of a known device, for its rate limits. ``None``: the device is not known.

    The name is the thumbprint of the device key. For a device with an HMAC secret, the name is ``proved``: the id of
    the lineage whose HMAC secret signed the login.
    """
    lineages = account_state.lineages.values() if account_state else ()
    if isinstance(binding, KeyBinding) and any(lineage.binding == binding for lineage in lineages):
        return binding.thumbprint.hex()
    if any(lineage.id == proved and isinstance(lineage.binding, SecretBinding) for lineage in lineages):
        return str(proved)
    return None


def proved_device(
    account_state: AccountState, factors: SecondFactors, binding: Binding, lineage: LineageId | None
) -> str | None:
    """Return the name under which a device has its own limit of wrong codes.

    ``None``: no login of the device proved a second factor of this account. A login that proved only the password does
    not count. Otherwise a thief with the password could make many logins, each with a limit of its own.
    ``lineage``: the login that identifies a device without a key.
    """
    proved = [one for one in account_state.lineages.values() if level(one.assurance.acr) >= level("aal2")]
    if isinstance(binding, KeyBinding):
        known = key_id(binding) in factors.remembered or any(one.binding == binding for one in proved)
        return binding.thumbprint.hex() if known else None
    return lineage if any(one.id == lineage for one in proved) else None


def device_limits(caller: Caller) -> tuple[RateLimit, ...]:
    """Return the rate limit of a step-up: the limit of the device.

    For a device with a key, logins and step-ups share one counter of failures.
    """
    return (_of_device(caller.account, device_of(caller)),)


def device_of(caller: Caller) -> str:
    """Return the name under which the failures of a caller's device are counted.

    The name is the result of `device_of_login`. If the account state does not have the caller's login, the name is the
    id of this login.
    """
    lineage = caller.account_state.lineages.get(caller.device_id) if caller.account_state else None
    if caller.account_state is None or lineage is None:
        return caller.device_id
    return device_of_login(caller.account_state, lineage)


def device_of_login(account_state: AccountState, lineage: Lineage) -> str:
    """Return the name of the device of a login, for its rate limits.

    The name is the thumbprint of the device's key, as in `known_device`. If the device has no key, the name is the id
    of its login. For a login that a handover made, this is the name of the app's device.
    """
    proved = proved_login(account_state, lineage)
    return proved.binding.thumbprint.hex() if isinstance(proved.binding, KeyBinding) else proved.id


def _of_device(account: AccountId, device: str) -> RateLimit:
    return RateLimit(f"device:{account}:{device}", FAILURES_PER_KNOWN_DEVICE_MAX)
