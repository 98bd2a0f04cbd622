"""Add a passkey: whether a login may enrol a passkey, and what a verified registration changes in the account.

No I/O.
"""

from msgspec import Struct

from chalicelib.baton.factors.model import PASSKEYS_MAX, AddPasskey, Passkey, User, passkey_id
from chalicelib.baton.factors.passkey_challenge import Ceremony, Challenge, origins_of, party_of
from chalicelib.baton.factors.refusals import ChallengeInvalid, PasskeyExists, TooManyPasskeys
from chalicelib.baton.factors.verify_passkey import Registration, verify_registration
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.policy import DAY_S


class Enrollable(Struct, frozen=True, kw_only=True):
    """The kinds of factors that a person may enrol if a login requires a second factor and the account has none.

    ``mail``: whether this deployment sends mail. If it does, an account with an unproved address cannot add a passkey.
    """

    clients: Clients
    mail: bool

    def __call__(self, client: Client, *, verified: bool) -> tuple[str, ...]:
        """Return the kinds of factors that may be enrolled: ``totp`` and, if `may_add_passkey` is true, ``passkey``.

        ``verified``: the address of the account is proved, or the account has no address.
        """
        return ("totp", "passkey") if self.may_add_passkey(client, verified=verified) else ("totp",)

    def may_add_passkey(self, client: Client, *, verified: bool) -> bool:
        """Check that the client can use passkeys and, if the deployment sends mail, that the address is proved.

        Without the proof, a stranger could register another person's address and add a passkey. A password reset does
        not claim an account with a passkey. So the stranger's passkey would remain after a reset by the owner of the
        address.
        """
        party = self.clients.relying_party
        return party is not None and bool(origins_of(party, client)) and self.is_proved(verified=verified)

    def is_proved(self, *, verified: bool) -> bool:
        """Check that the address is proved. A deployment without mail requires no proof."""
        return verified or not self.mail


def is_added(challenge: Challenge, registration: Registration, user: User) -> Passkey | None:
    """Return the passkey that an earlier request added with this challenge, if no credential has changed since.

    Use the passkey only to answer a repeated request, never as a proof: the registration is not verified here.
    """
    ours = user.credentials_version == challenge.credentials_version + 1
    return user.factors.passkeys.get(passkey_id(registration.credential_id)) if ours else None


def complete_registration(  # noqa: PLR0913 - the parts of a change
    challenge: Challenge,
    registration: Registration,
    user: User,
    *,
    clients: Clients,
    client: Client,
    name: str,
    by_new_key: bool,
    now: int,
) -> AddPasskey:
    """Verify a registration, and return the change that adds its passkey.

    Raises:
        InvalidPasskey: a check failed.
        PasskeyExists: the account has this passkey.
        TooManyPasskeys: the account has the maximum number of passkeys.
        ChallengeInvalid: the credentials of the account changed after the challenge was made.

    """
    party = party_of(clients, client)
    new = verify_registration(
        registration,
        rp_id=party.rp_id,
        origins=origins_of(party, client),
        user_present=challenge.ceremony is not Ceremony.UPGRADE,
    )
    if passkey_id(new.credential_id) in user.factors.passkeys:
        raise PasskeyExists
    if user.credentials_version != challenge.credentials_version:
        raise ChallengeInvalid("challenge: the credentials have changed")
    if len(user.factors.passkeys) >= PASSKEYS_MAX:
        raise TooManyPasskeys
    return AddPasskey(
        Passkey(
            credential_id=new.credential_id,
            public_key=new.public_key,
            counter=new.counter,
            backup_eligible=new.backup_eligible,
            backed_up=new.backed_up,
            transports=new.transports,
            name=name,
            added_at=now,
            used_day=now // DAY_S,
            aaguid=new.aaguid,
            by_new_key=by_new_key,
        )
    )
