"""The identities of an account in an import or export file, and the stored items of these identities."""

from collections.abc import Mapping, Sequence

import msgspec

from chalicelib.baton.accounts.arriving import Arrival, ArrivingIdentity
from chalicelib.baton.effects import Entropy
from chalicelib.baton.factors.model import User
from chalicelib.baton.federation.id_token import SUB_CHARACTERS_MAX, canonical_issuer, is_subject
from chalicelib.baton.federation.model import IDENTITIES_MAX, Identity
from chalicelib.baton.federation.providers import Provider, Providers
from chalicelib.baton.keys.ring import NONCE_BYTES, Ring


class IdentityMember(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An account at an identity provider. ``issuer`` is needed if the provider has several issuers."""

    provider: str
    sub: str
    issuer: str = ""


class BadIdentity(ValueError):
    """A line has an identity that cannot be imported. ``reason`` is a code."""

    def __init__(self, reason: str, text: str) -> None:
        """Keep the reason."""
        super().__init__(text)
        self.reason = reason


def issuers_of(row: Provider) -> list[str]:
    """Return the issuers of a provider, sorted. Several spellings of the same issuer count as one issuer."""
    return sorted({canonical_issuer(row, issuer) for issuer in row.issuers})


def arriving(members: Sequence[IdentityMember], providers: Providers) -> Mapping[int, ArrivingIdentity]:
    """Return the identities of a line, by the number ``code`` of the provider. Raises ``BadIdentity``."""
    found: dict[int, ArrivingIdentity] = {}
    for member in members:
        row = providers.get(member.provider)
        if row is None:
            raise BadIdentity("identity_provider_unknown", "providers.toml has no row of this name")
        issuers = issuers_of(row)
        issuer = canonical_issuer(row, member.issuer) if member.issuer else issuers[0]
        if issuer not in issuers or (len(issuers) > 1 and not member.issuer):
            raise BadIdentity("identity_issuer_unknown", "`issuer` must be one of the issuers of the row")
        if not is_subject(member.sub):
            raise BadIdentity("identity_invalid", f"`sub` has 1 to {SUB_CHARACTERS_MAX} characters")
        if row.code in found:
            raise BadIdentity("identity_invalid", "two identities of one provider")
        found[row.code] = ArrivingIdentity(issuer, member.sub)
    if len(found) > IDENTITIES_MAX:
        raise BadIdentity("identity_invalid", f"more than {IDENTITIES_MAX} identities")
    return found


def items_of(arrival: Arrival, user: User, ring: Ring, *, entropy: Entropy) -> tuple[Identity, ...]:
    """Return the items that store the identities of a new account."""
    return tuple(
        Identity(
            linked.index,
            user.account,
            linked.linked_at,
            ring.encrypt_for(
                arrival.identities[code].sub.encode(),
                account=user.account,
                nonce=entropy(NONCE_BYTES),
                kind="identity",
            ),
        )
        for code, linked in user.identities.items()
    )


def member_of(code: int, identity: Identity, providers: Providers, ring: Ring) -> IdentityMember:
    """Return a stored identity as an entry of ``Line.identities``. Raises ``CannotDecrypt``.

    If providers.toml has no row with this ``code``, the member ``provider`` is the code. Baton stores the issuer only
    in the HMAC ``identity.index``, so this function tries each issuer of a provider that has several.
    """
    sub = ring.decrypt_for(identity.sealed_sub, account=identity.account, kind="identity").decode()
    row = providers.get(providers.names.get(code, ""))
    issuers = issuers_of(row) if row else []
    issuer = ""
    if len(issuers) > 1:
        issuer = next((one for one in issuers if ring.identity_index(code, one, sub) == identity.index), "")
    return IdentityMember(provider=row.name if row else str(code), sub=sub, issuer=issuer)
