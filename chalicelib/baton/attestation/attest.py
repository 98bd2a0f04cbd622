"""Issue challenges, and attest a login that began without evidence."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.attestation.model import CHALLENGE_PURPOSE, Challenge, Evidence
from chalicelib.baton.attestation.ports import Attestations
from chalicelib.baton.attestation.shapes import AttestedAnswer, ChallengeAnswer
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.errors import Refusal
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.tickets import seal_ticket
from chalicelib.baton.lineages.assurance import attested_as
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.policy import TICKET_ID_BYTES
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.refusals import AttestationRequired, UnauthorizedClient, UnknownClient


class IssueChallenge(Struct, frozen=True, kw_only=True):
    """Issue a challenge for evidence. Nothing is stored."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    clients: Clients

    def __call__(self, client_id: str) -> ChallengeAnswer:
        """Return a challenge for a client. Raises ``UnknownClient``, or ``UnauthorizedClient`` for a retired client."""
        client = self.clients.get(client_id)
        if client is None:
            raise UnknownClient
        if client.retired:
            raise UnauthorizedClient("out of service")
        now = self.clock()
        ticket = Challenge(self.entropy(TICKET_ID_BYTES), now, client.code)
        sealed = seal_ticket(ticket, self.key_ring.current(now=now), now=now)
        return ChallengeAnswer(sealed, CHALLENGE_PURPOSE.life_s)


class AttestLogin(Struct, frozen=True, kw_only=True):
    """Attest the caller's login, or renew its evidence."""

    clock: Clock
    clients: Clients
    judge: JudgeEvidence
    store: Attestations

    def __call__(self, caller: Caller, evidence: Evidence | None) -> AttestedAnswer:
        """Judge the evidence, and store it for the device key and for the login.

        For bad or missing evidence, raises the errors that `JudgeEvidence` raises under the rule ``required``, even if
        the rule of the client is ``report``. Raises ``NotFound`` if the rule is ``off``. Raises ``AttestationRequired``
        for a login that is not bound to a key of its device, because such a login cannot be attested.
        """
        now = self.clock()
        client = self.clients.get(caller.client_id)
        if client is None or client.attestation.rule == "off":
            raise errors.NotFound("off", detail="Attestation is off for this client.")
        assert caller.account_state is not None
        lineage = caller.account_state.lineages[caller.device_id]
        try:
            judged = self.judge.evidence(client, lineage.binding, evidence, now=now)
        except errors.Unavailable:  # no verdict on the evidence
            raise
        except Refusal as refused:
            self.judge.log.record("attestation_refused", client=client.id, reason=refused.reason)
            raise
        attestation = self.judge.remember(
            judged,
            client=client,
            binding=lineage.binding,
            account=caller.account,
            lineage=lineage.id,
            attempt=caller.attempt,
            now=now,
        )
        outcome = self.store.attest(caller.actor, attestation, expected=lineage, now=now)
        refuse_inactive(outcome)
        if not isinstance(outcome, Done):
            raise errors.Unavailable("the login was attested by another request", by_caller=True)
        attested = attested_as(attestation)
        if attested is None:
            raise AttestationRequired("nothing is attested")
        return AttestedAnswer(attested)
