"""The rules of second factors: which login needs a second factor, and which device is remembered. No I/O.

`judge_login` decides on a login that has proved the password, or an identity at an identity provider. The first row
that applies gives the verdict:

| the login needs a second factor | the account has | verdict |
|---|---|---|
| no | anything | ``Admitted`` |
| yes, and its client cannot ask (``second_factor = "off"``) | anything | ``CannotAsk`` |
| yes, on a remembered device | anything | ``Admitted`` |
| yes | an authenticator app, passkeys or recovery codes | ``FactorAsked`` |
| yes | none of them | ``EnrolmentAsked`` |

A login needs a second factor if any of these requires it: its client (``second_factor = "required"``), an operator, a
role of the account, or the owner. A client with ``off`` or ``optional`` does not remove this requirement. Otherwise a
thief could avoid the second factor with such a client.

A device is remembered if all of these conditions hold:

1. The device is bound to a key.
2. The key proved a second factor at most ``remember_days`` ago, and not before the not-before time.
3. The account has a login with this key. This login was not restored from another phone. It is active, or ended for a
reason in ``HARMLESS_ENDS``.
4. Since the key proved the factor, no login with this key has ended for any other reason, such as a reuse.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton.factors.model import Remember, SecondFactors, User, key_id
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import PASSWORD, PASSWORD_ON_REMEMBERED_KEY
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import AccountState, Assurance, Binding, EndReason, KeyBinding, SecretBinding
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.policy import DAY_S, NEW_KEY_S

HARMLESS_ENDS = frozenset({EndReason.LOGOUT, EndReason.REPLACED, EndReason.IDLE, EndReason.EXPIRED})
"""The end reasons after which the device of a login stays remembered and long-used (`is_new_key`)."""


class Admitted(Struct, frozen=True):
    """The login may begin, with this assurance."""

    assurance: Assurance


class FactorAsked(Struct, frozen=True):
    """The login must prove one of these factors."""

    factors: tuple[str, ...]


class EnrolmentAsked(Struct, frozen=True):
    """The login must prove a factor, but the account has none. The login must enrol one of these kinds."""

    enrol: tuple[str, ...]


class CannotAsk(Struct, frozen=True):
    """The login needs a second factor, and the client has no screen to ask for it."""


Verdict = Admitted | FactorAsked | EnrolmentAsked | CannotAsk


def judge_login(  # noqa: PLR0913 - all that the verdict depends on
    clients: Clients,
    client: Client,
    account_state: AccountState,
    factors: SecondFactors,
    *,
    binding: Binding,
    enrol: Callable[[], tuple[str, ...]] = lambda: ("totp",),
    now: int,
    not_before: int,
) -> Verdict:
    """Return the verdict on a login that has proved the password, or an identity at an identity provider.

    ``enrol`` returns the kinds of factors that the login may enrol.
    """
    if not (factors.on or clients.demand_second_factor(client, account_state)):
        return Admitted(PASSWORD)
    if client.second_factor == "off":
        return CannotAsk()
    if is_remembered(
        factors, account_state, binding, remember_days=client.remember_days, now=now, not_before=not_before
    ):
        return Admitted(PASSWORD_ON_REMEMBERED_KEY)
    kinds = factor_kinds(factors)
    return FactorAsked(kinds) if kinds else EnrolmentAsked(enrol())


def factor_kinds(factors: SecondFactors) -> tuple[str, ...]:
    """Return the kinds of factors that the account can prove at a login.

    Passkeys are included even if the client cannot use passkeys. Otherwise, if an account has only passkeys, a thief
    with the password could enrol a factor through such a client.
    """
    return (
        *(("totp",) if factors.totp else ()),
        *(("passkey",) if factors.passkeys else ()),
        *(("recovery_code",) if factors.codes_left else ()),
    )


def is_remembered(
    factors: SecondFactors,
    account_state: AccountState,
    binding: Binding,
    *,
    remember_days: int,
    now: int,
    not_before: int,
) -> bool:
    """Check whether a device is remembered.

    ``remember_days`` count from the last ``Remember`` that was stored for the device. Two kinds of request store
    a ``Remember`` after the person proved a second factor: a login, and a change of factors or identities. A step-up
    alone stores no ``Remember``.
    """
    at = factors.remembered.get(key_id(binding) or "")
    if at is None or at < not_before or now - at >= remember_days * DAY_S:
        return False
    harmless = False
    for lineage in account_state.lineages.values():
        if lineage.binding != binding:
            continue
        ended = ended_of(account_state, lineage, now=now, not_before=not_before, idle_s=None)
        if ended is None or ended.reason in HARMLESS_ENDS:
            harmless = harmless or lineage.parent is None  # a restored login proved nothing
        elif ended.at >= at:
            return False
    return harmless


def is_new_key(account_state: AccountState, binding: Binding, lineage: LineageId | None, *, now: int) -> bool:
    """Check whether a device is new: the account has no login older than ``NEW_KEY_S`` with the device's ``binding``.

    A device that is not new is *long-used*.

    - An unbound device is always new.
    - A login that ended for a reason outside ``HARMLESS_ENDS``, such as a reuse, does not count: the device may belong
      to a thief.
    - The bindings of all HMAC devices are equal. So for an HMAC device, only the login ``lineage`` counts.

    ``lineage`` matters only for an HMAC device: its present login or, during a login, the earlier login whose secret
    signed the request. ``None``: no such secret signed the request.
    """
    for one in account_state.lineages.values():
        same_key = isinstance(binding, KeyBinding) and one.binding == binding
        same_secret = isinstance(binding, SecretBinding) and one.id == lineage
        if one.auth_time <= now - NEW_KEY_S and (same_key or same_secret):
            ended = ended_of(account_state, one, now=now, not_before=0, idle_s=None)
            if ended is None or ended.reason in HARMLESS_ENDS:
                return False
    return True


def leaves_a_credential(user: User, *, passkeys: int = 0, identities: int = 0) -> bool:
    """Check whether a person can still log in after this number of passkeys and identities is removed."""
    others = len(user.factors.passkeys) > passkeys or len(user.identities) > identities
    return user.password_hash is not None or others


def remember(
    factors: SecondFactors, account_state: AccountState, binding: Binding, client: Client | None, *, now: int
) -> Remember | None:
    """Return the change that makes a device remembered, after it proved a second factor.

    ``None``: the device has no key, or its client is unknown or remembers no devices.
    """
    key = key_id(binding)
    if key is None or client is None or client.remember_days == 0:
        return None
    present = {key_id(lineage.binding) for lineage in account_state.lineages.values()} | {key}
    return Remember(key, at=now, forgotten=tuple(sorted(factors.remembered.keys() - present)))


def identities_without_newer(identities: Mapping[int, LinkedIdentity], *, since: int) -> dict[int, LinkedIdentity]:
    """Return the identities, except the identities that a new device linked at ``since`` (seconds) or later."""
    return {
        code: linked for code, linked in identities.items() if not (linked.by_new_key and linked.linked_at >= since)
    }


def without_newer(factors: SecondFactors, *, since: int) -> SecondFactors:
    """Return the factors, except the factors that a new device added at ``since`` (seconds) or later.

    The result has no remembered devices. ``on`` is false if neither an authenticator app nor a passkey is left.
    """
    totp, recovery = factors.totp, factors.recovery
    no_totp = totp is not None and totp.by_new_key and totp.enrolled_at >= since
    no_codes = recovery is not None and recovery.by_new_key and recovery.made_at >= since
    passkeys = {
        one: passkey
        for one, passkey in factors.passkeys.items()
        if not (passkey.by_new_key and passkey.added_at >= since)
    }
    totp = None if no_totp else totp
    return replace(
        factors,
        on=factors.on and bool(totp or passkeys),
        totp=totp,
        passkeys=passkeys,
        recovery=None if no_codes else recovery,
        remembered={},
    )
