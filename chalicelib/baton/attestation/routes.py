"""Routes of attestation."""

from chalicelib.baton.attestation.attest import AttestLogin, IssueChallenge
from chalicelib.baton.attestation.shapes import AttestShape, ChallengeShape, evidence_of
from chalicelib.baton.routing import Answer, Message, Route
from chalicelib.baton.tokens.caller import Caller


def routes(*, issue_challenge: IssueChallenge, attest: AttestLogin) -> tuple[Route, ...]:
    """List the routes of attestation."""

    def challenge(_: Message, body: ChallengeShape) -> Answer:
        return Answer(200, issue_challenge(body.client_id))

    def attest_login(caller: Caller, body: AttestShape) -> Answer:
        return Answer(200, attest(caller, evidence_of(body.attestation)))

    return (
        Route("POST", "/attestation-challenge", challenge, signed=False, body=ChallengeShape, repeatable=True),
        Route("POST", "/attest", attest_login, body=AttestShape, bound=True, takes_attempt=True),
    )
