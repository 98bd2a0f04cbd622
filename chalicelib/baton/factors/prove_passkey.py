"""Prove a passkey: verify the signature, then use the challenge in one write, then store the use in another write."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Again, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import PasskeyUse, Remember, User, passkey_id
from chalicelib.baton.factors.passkey_challenge import Challenge, origins_of, party_of
from chalicelib.baton.factors.ports import FactorStore
from chalicelib.baton.factors.prove_totp import mark_of
from chalicelib.baton.factors.refusals import ChallengeInvalid, InvalidPasskey, UnknownPasskey
from chalicelib.baton.factors.verify_passkey import Assertion, verify_assertion
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.policy import DAY_S
from chalicelib.baton.tokens.ports import Tickets


class ProvedPasskey(Struct, frozen=True):
    """A verified assertion of a passkey of ``user``. Nothing is written yet."""

    user: User
    challenge: Challenge
    use: PasskeyUse


class ProvePasskey(Struct, frozen=True, kw_only=True):
    """Check an assertion against the passkeys of a user, and use it.

    There is no rate limit, because an assertion cannot be guessed.
    """

    clients: Clients
    store: FactorStore
    tickets: Tickets
    record: Record

    def verify(
        self,
        assertion: Assertion,
        challenge: Challenge,
        user: User | None,
        *,
        client: Client,
        user_verified: bool,
        now: int,
    ) -> ProvedPasskey:
        """Verify the assertion. ``user_verified``: refuse an assertion without PIN or biometry. Nothing is written.

        Raises:
            UnknownPasskey: the user does not exist, or does not have this passkey.
            InvalidPasskey: a check failed, or the authenticator named another account.

        """
        party = party_of(self.clients, client)
        passkey = user.factors.passkeys.get(passkey_id(assertion.credential_id)) if user else None
        if user is None or passkey is None or passkey.credential_id != assertion.credential_id:
            raise UnknownPasskey(credential_id=encode_base64url(assertion.credential_id), rp_id=party.rp_id)
        if assertion.user_handle is not None and assertion.user_handle != decode_base64url(user.account):
            raise InvalidPasskey("userHandle", hint="userHandle: it is of another account")
        asserted = verify_assertion(
            assertion,
            rp_id=party.rp_id,
            origins=origins_of(party, client),
            public_key=passkey.public_key,
            user_verified=user_verified,
        )
        use = PasskeyUse(passkey, asserted.counter, asserted.backup_eligible, asserted.backed_up, day=now // DAY_S)
        return ProvedPasskey(user, challenge, use)

    def use(self, proved: ProvedPasskey, *, attempt: str, effect: str, remember: Remember | None, now: int) -> int:
        """Use the challenge once, for this ``attempt`` and ``effect``. Then store counter, flags and day of use.

        Return the time at which the person used the passkey: ``now`` or, for a repetition, the time at which the
        challenge was issued. ``effect``: what the assertion is used for, such as ``login``.

        Raises:
            ChallengeInvalid: another request used the challenge.
            Unavailable: since the user was read, another request stored a larger counter or changed the credentials
                version.

        """
        user, challenge, use = proved.user, proved.challenge, proved.use
        consumed = self.tickets.consume_ticket(
            challenge.id, expires_at=challenge.expires_at, now=now, mark=mark_of(attempt, effect)
        )
        if isinstance(consumed, Refused):
            raise ChallengeInvalid("challenge: used by another request")
        # A repeated request has the counter that the first request stored. This is no sign of a copied authenticator.
        repeated = isinstance(consumed, Again) and use.counter == use.passkey.counter
        if use.counter_went_back and not repeated:
            self.record("passkey_counter", account=user.account, details={"passkey": use.passkey.id})
        if use.backup_changed:
            self.record("passkey_backup_changed", account=user.account, details={"passkey": use.passkey.id})
        proved_at = challenge.issued_at if isinstance(consumed, Again) else now
        if not use.changes and remember is None:
            return proved_at
        stored = self.store.use_passkey(
            user.account, use, credentials_version=user.credentials_version, remember=remember
        )
        if isinstance(stored, Refused):
            raise errors.Unavailable("the passkey or a factor was changed while it was being used", by_caller=True)
        return proved_at
