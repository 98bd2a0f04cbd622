"""A passkey in the second step of a login: prove a passkey, or enrol one if the account has no second factor."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import OpenSession
from chalicelib.baton.factors.add_passkey import complete_registration, is_added
from chalicelib.baton.factors.enrolment import mark_of_ticket, new_recovery
from chalicelib.baton.factors.model import FactorChange, Remember, User
from chalicelib.baton.factors.passkey_ceremonies import PasskeyCeremonies
from chalicelib.baton.factors.passkey_challenge import (
    Ceremony,
    Challenge,
    PasskeyOptions,
    creation_options,
    party_of,
    request_options,
)
from chalicelib.baton.factors.recovery_codes import make_codes, same_codes
from chalicelib.baton.factors.refusals import ChallengeInvalid, InvalidSession
from chalicelib.baton.factors.verify_passkey import read_assertion, read_registration
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import PASSWORD_AND_PASSKEY
from chalicelib.baton.lineages.model import Assurance, KeyBinding


class Enrolling(Struct, frozen=True):
    """A factor of ``kind`` that a login enrols. The login then has ``assurance``.

    - ``made``: ``None`` if no request has added the factor yet. Otherwise the recovery codes to return again, which can
      be an empty tuple.
    - ``complete(by_new_key)``: checks the proof. Returns the change to store, and the new recovery codes, if any.
      ``by_new_key``: the device is new to the account (`factors.rules.is_new_key`).
    """

    kind: str
    assurance: Assurance
    made: tuple[str, ...] | None
    complete: Callable[[bool], tuple[FactorChange, tuple[str, ...]]]


class PasskeyEnrolment(PasskeyOptions, frozen=True, kw_only=True):
    """Options to register a passkey during a login. Send ``enrolment`` with the answer of the platform."""

    enrolment: str


class PasskeysOfLogin(Struct, frozen=True, kw_only=True):
    """Passkeys in the second step of a login.

    A challenge is bound to the account, the device key and the lineage that this login will begin.
    The parameter ``lineages`` of the methods has one id for each root secret. The lineage gets one of these ids.
    """

    ceremonies: PasskeyCeremonies

    def options(self, session: OpenSession, user: User, lineages: tuple[LineageId, ...], *, now: int) -> PasskeyOptions:
        """Return the options to prove a passkey.

        Raises ``NotFound`` if the account has no passkey, or the client cannot use passkeys.
        """
        party = party_of(self.ceremonies.clients, session.login_request.client)
        if not user.factors.passkeys:
            raise errors.NotFound("the account has no passkey", detail="The account has no passkey.")
        challenge = self._challenge(Ceremony.FACTOR, session, user, lineages, now=now)
        allowed = user.factors.passkeys.values()
        return request_options(challenge, party, allowed=allowed, user_verification="preferred")

    def prove(
        self,
        session: OpenSession,
        user: User,
        credential: Mapping[str, Any],
        lineages: Collection[LineageId],
        *,
        remember: Remember | None,
        now: int,
    ) -> None:
        """Verify the proof of a passkey, and use its challenge once.

        Raises ``InvalidPasskey``, ``UnknownPasskey`` and ``ChallengeInvalid``.
        """
        assertion = read_assertion(credential)
        challenge = self._open(assertion.client_data.challenge, Ceremony.FACTOR, session, lineages, now=now)
        client = session.login_request.client
        proved = self.ceremonies.prove.verify(assertion, challenge, user, client=client, user_verified=False, now=now)
        if challenge.credentials_version != user.credentials_version:
            raise ChallengeInvalid("challenge: the credentials have changed")
        self.ceremonies.prove.use(proved, attempt=session.ticket.attempt, effect="login", remember=remember, now=now)

    def begin(self, session: OpenSession, user: User, lineages: tuple[LineageId, ...], *, now: int) -> PasskeyEnrolment:
        """Return the options to register a first passkey. Raises ``NotFound`` if the client cannot use passkeys."""
        party = party_of(self.ceremonies.clients, session.login_request.client)
        challenge = self._challenge(Ceremony.ENROL, session, user, lineages, now=now)
        made = creation_options(challenge, user, party)
        return PasskeyEnrolment(options=made.options, enrolment=challenge, expires_in=made.expires_in)

    def enrolling(
        self,
        session: OpenSession,
        user: User,
        credential: Mapping[str, Any],
        enrolment: str,
        lineages: Collection[LineageId],
        *,
        now: int,
    ) -> Enrolling:
        """Return the passkey in ``credential`` as a factor to enrol.

        Raises ``InvalidPasskey``, ``InvalidSession`` and ``ChallengeInvalid``.
        """
        registration = read_registration(credential)
        if registration.client_data.challenge != enrolment:
            raise InvalidSession("enrolment: the passkey was registered for another enrolment")
        challenge = self._open(enrolment, Ceremony.ENROL, session, lineages, now=now)
        mark, ring = mark_of_ticket(challenge.id), session.ring

        def complete(by_new_key: bool) -> tuple[FactorChange, tuple[str, ...]]:  # noqa: FBT001 - of `Enrolling`
            change = complete_registration(
                challenge,
                registration,
                user,
                clients=self.ceremonies.clients,
                client=session.login_request.client,
                name="",
                by_new_key=by_new_key,
                now=now,
            )
            if user.factors.codes_left:
                return change, ()
            codes = make_codes(ring, user.account, challenge.id, now=now)
            return replace(
                change, recovery=new_recovery(user.account, codes, mark=mark, by_new_key=by_new_key, now=now)
            ), codes

        made: tuple[str, ...] | None = None
        recovery = user.factors.recovery
        # A registration has no signature, and the ids of passkeys are public. So the passkey alone does not prove that
        # this login added it. The proof is the mark that the enrolment stored with the recovery codes.
        if is_added(challenge, registration, user) and recovery is not None and recovery.mark == mark:
            made = same_codes(ring, user.account, challenge.id, recovery) or ()
        return Enrolling("passkey", PASSWORD_AND_PASSKEY, made, complete)

    def _challenge(
        self, ceremony: Ceremony, session: OpenSession, user: User, lineages: tuple[LineageId, ...], *, now: int
    ) -> str:
        return self.ceremonies.challenges.make(
            ceremony,
            session.login_request.client,
            now=now,
            key=_thumbprint(session),
            account=user.account,
            lineage=lineages[0],
            credentials_version=user.credentials_version,
        )

    def _open(
        self, text: str, ceremony: Ceremony, session: OpenSession, lineages: Collection[LineageId], *, now: int
    ) -> Challenge:
        challenge = self.ceremonies.challenges.open(
            text,
            ceremony,
            client=session.login_request.client,
            now=now,
            key=_thumbprint(session),
            account=session.ticket.account,
        )
        if challenge.lineage not in lineages:
            raise ChallengeInvalid("challenge: of another login")
        return challenge


def _thumbprint(session: OpenSession) -> bytes:
    binding = session.login_request.binding
    return binding.thumbprint if isinstance(binding, KeyBinding) else b""
