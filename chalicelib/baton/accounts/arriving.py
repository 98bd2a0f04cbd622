"""An account that comes from another system, by an import or at its owner's first login. No I/O."""

from collections.abc import Mapping

from msgspec import Struct

from chalicelib.baton.effects import Entropy
from chalicelib.baton.factors.model import SecondFactors, Totp, User
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import AccountState, Status

_NO_MARK = bytes(16)


class ArrivingIdentity(Struct, frozen=True):
    """An identity at a provider, with which the person logged in to the other system."""

    issuer: str
    sub: str

    def __repr__(self) -> str:
        """Mask the person."""
        return "ArrivingIdentity('**********')"


class Arrival(Struct, frozen=True, kw_only=True):
    """The account of a person in another system.

    - ``email``: canonical. It may be empty if there is an identity.
    - ``source_id``: the id of the account in the other system.
    - ``password_hash``: a hash string of the other system (``factors/hashes``), or a hash that Baton has made.
    - ``totp``: the secret of an authenticator app.
    - ``migrate``: at the first login, the app's function (``Baton.migrate_with``) checks the password.
    - ``second_factor_required``: the person had a second factor that cannot be moved, so Baton requires a new one.
    - ``identities``: the identities at providers, by the code of the provider.
    """

    email: str
    source_id: str
    email_verified: bool = False
    password_hash: str | None = None
    created_at: int | None = None
    disabled: bool = False
    totp: bytes | None = None
    migrate: bool = False
    second_factor_required: bool = False
    identities: Mapping[int, ArrivingIdentity] = {}

    def __repr__(self) -> str:
        """Mask the secrets."""
        return "Arrival('**********')"


def account_ids(arrival: Arrival, ring: Ring, *, now: int) -> tuple[AccountId, ...]:
    """Return the possible ids of the account, one for each root secret. A new account gets the first id.

    An account that Baton created with an older root secret has one of the other ids.
    """
    name = arrival.email
    if not name:
        code, first = min(arrival.identities.items())
        name = ring.identity_index(code, first.issuer, first.sub)
    return ring.arrived_ids(name, arrival.source_id, now=now)


def account_of(arrival: Arrival, ring: Ring, *, entropy: Entropy, now: int) -> tuple[User, AccountState]:
    """Return the user and the account state of a new account, which has no login."""
    account = account_ids(arrival, ring, now=now)[0]
    totp = None
    if arrival.totp is not None:
        sealed = ring.encrypt_for(arrival.totp, account=account, nonce=entropy(12), kind="totp")
        totp = Totp(sealed=sealed, step=0, mark=_NO_MARK, enrolled_at=now)
    password_hash = None
    if arrival.password_hash is not None:
        password_hash = ring.encrypt_for(arrival.password_hash.encode(), account=account, nonce=entropy(12))
    user = User(
        account=account,
        email=arrival.email,
        email_index=ring.email_index(arrival.email) if arrival.email else EmailIndex(""),
        password_hash=password_hash,
        credentials_version=1,
        created_at=now if arrival.created_at is None else arrival.created_at,
        verified_at=now if arrival.email_verified else None,
        # A store recognises the repetition of its own write by a random value: the nonce of an encrypted secret. An
        # account without a secret has this mark instead.
        reset_mark=entropy(16) if totp is None and password_hash is None else None,
        factors=SecondFactors(on=totp is not None, totp=totp),
        migrate=arrival.migrate,
        identities={
            code: LinkedIdentity(ring.identity_index(code, one.issuer, one.sub), now)
            for code, one in arrival.identities.items()
        },
    )
    account_state = AccountState(
        account=account,
        status=Status.DISABLED if arrival.disabled else Status.ACTIVE,
        epoch=1,
        credentials_version=1,
        lineages={},
        second_factor_required=arrival.second_factor_required,
    )
    return user, account_state
