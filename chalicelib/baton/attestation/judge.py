"""Judge whether the evidence of a login proves a genuine app on a genuine phone. Store accepted evidence by device key.

The evidence of a login is judged before the rate limit and the password. So if a client requires evidence, a list of
stolen passwords is of no use without genuine phones. The evidence of a login is stored only after the check of the
first factor, so the login of a stranger stores no evidence.

The verifiers and the certificates are imported when the first evidence arrives.
"""

import hashlib
from typing import TYPE_CHECKING

from msgspec import Struct

from chalicelib.baton.attestation.model import (
    KEPT_S,
    LIST_CACHED_S,
    LIST_STALE_S,
    MOVED_AFTER_S,
    AttestedKey,
    Challenge,
    Evidence,
    unfit,
)
from chalicelib.baton.attestation.ports import Anchors, Attestations
from chalicelib.baton.attestation.refusals import AttestationChallengeInvalid, failed
from chalicelib.baton.attestation.rules import Accepted, AppleRules, EvidenceRefused, client_data
from chalicelib.baton.attestation.switches import ReadSwitches
from chalicelib.baton.effects import Refused
from chalicelib.baton.errors import Refusal, Unavailable
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.tickets import TicketInvalid, UnknownRoot, open_ticket
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.lineages.model import Attestation, Binding, KeyBinding
from chalicelib.baton.tokens.refusals import AttestationRequired

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_ATTEMPT_BYTES = 8


class Judged(Struct, frozen=True, kw_only=True):
    """The verdict on the evidence of a request.

    ``required``: without good evidence the request is refused.
    ``known``: the stored evidence of the device key.
    ``accepted``: new evidence, which `JudgeEvidence.remember` stores.
    ``counter``: the counter of an assertion, which `JudgeEvidence.remember` stores.
    """

    attestation: Attestation = Attestation.NONE
    required: bool = False
    known: AttestedKey | None = None
    accepted: Accepted | None = None
    counter: int | None = None


class JudgeEvidence(Struct, kw_only=True):
    """Judge evidence, and remember it. Each Lambda environment has one object, with a cache of the revoked serials."""

    key_ring: KeyRing
    store: Attestations
    anchors: Anchors
    switches: ReadSwitches
    log: Log
    record: Record
    _revoked: frozenset[bytes] = frozenset()
    _revoked_read_at: int | None = None

    def __call__(self, client: Client, binding: Binding, evidence: Evidence | None, *, now: int) -> Judged:
        """Return the verdict on the evidence of a login.

        Under ``off`` and ``report``, bad or missing evidence is not refused. Under ``required``, it raises
        ``AttestationRequired``, ``AttestationChallengeInvalid``, ``AttestationFailed`` or ``AttestationFailedOnce``.
        While an operator has lowered ``required`` to ``report``, the rule ``report`` applies.
        """
        rule = client.attestation.rule
        if rule == "off":
            return Judged()
        required = rule == "required" and not self.switches.reported(client, now=now)
        try:
            return self.evidence(client, binding, evidence, required=required, now=now)
        except AttestationRequired as missing:
            if required:
                self.log.record("attestation_refused", client=client.id, reason=missing.reason)
                raise
            self.log.record("attestation_missing", client=client.id, reason=missing.reason)
        except Unavailable:  # not a verdict on the evidence
            raise
        except Refusal as refused:
            if required:
                self.log.record("attestation_refused", client=client.id, reason=refused.reason)
                raise
            self.log.record("attestation_reported", client=client.id, reason=refused.reason)
        return Judged()

    def evidence(
        self, client: Client, binding: Binding, evidence: Evidence | None, *, required: bool = True, now: int
    ) -> Judged:
        """Judge the sent evidence. If the request has none, judge the stored evidence of the device key.

        Bad or missing evidence raises the errors that `__call__` names, also if the rule of the client is ``report``.
        ``required`` does not change this: it only sets ``Judged.required``.
        """
        if not isinstance(binding, KeyBinding):
            raise AttestationRequired("the login is not bound to a key of its device")
        if evidence is None or evidence.kind == "none":
            known = self.store.get(client.code, binding.thumbprint, now=now)
            why = unfit(known, client, now=now) if known else "none"
            if known is None or why:
                stated = f" (the app says: {evidence.unavailable})" if evidence else ""
                raise AttestationRequired(f"{why}{stated}")
            return Judged(attestation=known.attestation, required=required, known=known)
        self._open(client, evidence.challenge, now=now)
        try:
            if evidence.kind == "apple-assertion":
                return self._assertion(client, binding, evidence, required=required, now=now)
            accepted = self._accepted(client, binding, evidence, now=now)
        except EvidenceRefused as refused:
            raise failed(refused.reason, str(refused)) from None
        return Judged(attestation=accepted.attestation, required=required, accepted=accepted)

    def remember(  # noqa: PLR0913 - the login that the evidence is for
        self,
        judged: Judged,
        *,
        client: Client,
        binding: Binding,
        account: AccountId,
        attempt: str,
        now: int,
        lineage: LineageId | None = None,
    ) -> Attestation:
        """Store the accepted evidence, or the counter of the assertion. Return the attestation for the login.

        Call this only after the credentials of the request were checked. If the store refuses the counter, the result
        is ``NONE`` or, if ``judged.required`` is true, the error ``AttestationFailedOnce``.
        """
        if not isinstance(binding, KeyBinding):
            return Attestation.NONE
        of_key = (client.code, binding.thumbprint)
        known, accepted = judged.known, judged.accepted
        if accepted is not None:
            kept = AttestedKey(
                accepted.attestation, accepted.app, now, now + KEPT_S, accepted.apple_key, accepted.point
            )
            self.store.keep(*of_key, kept, now=now)
            self.record(
                "attested",
                account=account,
                lineage=lineage,
                client=client.id,
                details={"attestation": accepted.attestation.name.lower(), "serials": " ".join(accepted.serials)},
            )
        if known is not None and judged.counter is not None:
            digest = hashlib.sha256(attempt.encode()).digest()[:_ATTEMPT_BYTES]
            counted = self.store.count(*of_key, known, counter=judged.counter, attempt=digest, now=now)
            if isinstance(counted, Refused):
                self.log.record("attestation_counter_regressed", account=account, client=client.id)
                if judged.required:
                    raise failed("counter", "counter: not above the stored counter")
                return Attestation.NONE
        if known is not None and known.expires_at < now + KEPT_S - MOVED_AFTER_S:
            self.store.extend(*of_key, expires_at=now + KEPT_S)
        return judged.attestation

    def _open(self, client: Client, challenge: str, *, now: int) -> None:
        """Check that Baton made the challenge for this client, and that it has not expired."""
        bound_to = {"client": client.code}
        try:
            try:
                open_ticket(Challenge, challenge, self.key_ring.current(now=now), now=now, bound_to=bound_to)
            except UnknownRoot:
                open_ticket(Challenge, challenge, self.key_ring.refreshed(now=now), now=now, bound_to=bound_to)
        except TicketInvalid as invalid:
            raise AttestationChallengeInvalid(f"challenge: {invalid}") from None

    def _assertion(
        self, client: Client, binding: KeyBinding, evidence: Evidence, *, required: bool, now: int
    ) -> Judged:
        from chalicelib.baton.attestation.app_attest import verify_assertion  # noqa: PLC0415 - cold start

        known = self.store.get(client.code, binding.thumbprint, now=now)
        if known is None or not known.apple_key or known.apple_key != evidence.key_id:
            raise EvidenceRefused("key", "the App Attest key is not known for this device key")
        # The assertion renews the evidence, so the age of the evidence is no reason to refuse it.
        if why := unfit(known, client, now=known.at):
            raise EvidenceRefused("app", why)
        counter = verify_assertion(
            evidence.object,
            point=known.point,
            app=known.app,
            client_data_hash=_client_data_hash(client, binding, evidence),
        )
        return Judged(attestation=known.attestation, required=required, known=known, counter=counter)

    def _accepted(self, client: Client, binding: KeyBinding, evidence: Evidence, *, now: int) -> Accepted:
        """Verify new evidence of a device key, by its format. Raises ``EvidenceRefused``."""
        policy = client.attestation
        if evidence.kind == "apple-attestation":
            from chalicelib.baton.attestation.app_attest import verify_attestation  # noqa: PLC0415 - cold start

            return verify_attestation(
                evidence.object,
                key_id=evidence.key_id,
                client_data_hash=_client_data_hash(client, binding, evidence),
                rules=AppleRules(client.apps.app_ids, policy.environments, policy.categories),
                anchor=self.anchors.apple(),
                now=now,
            )
        from chalicelib.baton.attestation.key_attestation import (  # noqa: PLC0415 - cold start
            AndroidRules,
            verify_key_attestation,
        )

        return verify_key_attestation(
            evidence.chain,
            challenge=evidence.challenge.encode(),
            thumbprint=binding.thumbprint,
            rules=AndroidRules(client.apps.packages, policy.security, policy.boot_keys),
            revoked=self._revoked_now(now=now),
            anchors=self.anchors.google(),
            now=now,
        )

    def _revoked_now(self, *, now: int) -> frozenset[bytes]:
        """Return the digests of the revoked serials. The stored list is cached for an hour.

        If no list is stored, no certificate counts as revoked. An old list is still used. So an outage of Google stops
        no login.
        """
        read_at = self._revoked_read_at
        if read_at is None or not 0 <= now - read_at < LIST_CACHED_S:
            stored = self.store.revoked()
            self._revoked, self._revoked_read_at = (stored.digests if stored else frozenset()), now
            if stored is None or now - stored.at > LIST_STALE_S:
                self.log.record("revocation_list_stale")
        return self._revoked


def _client_data_hash(client: Client, binding: KeyBinding, evidence: Evidence) -> bytes:
    keyid = encode_base64url(binding.thumbprint)
    return hashlib.sha256(client_data(client.id, evidence.challenge, keyid)).digest()


def pinned_anchors() -> Anchors:
    """Return the pinned root certificates of Apple and Google. Each is loaded at its first use."""

    def apple() -> "Certificate":
        from chalicelib.baton.attestation.anchors import apple_root  # noqa: PLC0415 - cold start

        return apple_root()

    def google() -> "tuple[Certificate, ...]":
        from chalicelib.baton.attestation.anchors import google_roots  # noqa: PLC0415 - cold start

        return google_roots()

    return Anchors(apple, google)
