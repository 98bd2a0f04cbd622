"""The common parts of every flow with a passkey: client registry, challenges, proofs and the rule to add a passkey."""

from msgspec import Struct

from chalicelib.baton.factors.add_passkey import Enrollable
from chalicelib.baton.factors.passkey_challenge import Challenges
from chalicelib.baton.factors.prove_passkey import ProvePasskey
from chalicelib.baton.lineages.clients import Clients


class PasskeyCeremonies(Struct, frozen=True, kw_only=True):
    """The parts that all flows with a passkey share."""

    clients: Clients
    challenges: Challenges
    enrollable: Enrollable
    prove: ProvePasskey
