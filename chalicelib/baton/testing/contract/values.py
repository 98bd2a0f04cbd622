"""The values that the contract writes, such as a live lineage of an active account."""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, Assurance, KeyBinding, Lineage, PresentedToken, Status
from chalicelib.baton.policy import ROLES_MAX
from chalicelib.baton.tokens.caller import GrantUsed, Operation

NOW: Final = 1_700_000_000
IDLE_S: Final = 1_000
NOT_BEFORE: Final = NOW - 5_000
EPOCH: Final = 3
VERSION: Final = 2

ACCOUNT: Final = AccountId("AQAAAAAAAAAAAAAA")
SOMEBODY_ELSE: Final = AccountId("AQAAAAAAAAAAAAAB")
MINE: Final = LineageId("AQAAAAAAAAAAAAAC")
OTHER: Final = LineageId("AQAAAAAAAAAAAAAD")
NEW: Final = LineageId("AQAAAAAAAAAAAAAE")

MY_KEY: Final = KeyBinding(b"k" * 32)
OTHER_KEY: Final = KeyBinding(b"o" * 32)

ATTEMPT: Final = b"attempt!"
OTHER_ATTEMPT: Final = b"another!"
HISTORY: Final = (b"attempt4", b"attempt5", b"attempt6", b"attempt3")
"""``Lineage.attempts`` at generation 7. The number in each attempt is the generation that this attempt exchanged."""

MINE_LIVE: Final = Lineage(
    id=MINE,
    epoch=EPOCH,
    generation=7,
    attempts=HISTORY,
    issued_at=NOW - 100,
    expires_at=NOW + 10_000,
    binding=MY_KEY,
    client=1,
    auth_time=NOW - 4_000,
    assurance=Assurance(acr="aal1", amr=("pwd",)),
    label="Ada's phone",
)
ACTOR: Final = Actor(ACCOUNT, MINE, not_before=NOT_BEFORE, credentials_version=VERSION)
"""The login ``MINE_LIVE``, on whose behalf a write is made."""
OTHER_LIVE: Final = replace(MINE_LIVE, id=OTHER, binding=OTHER_KEY, label="Ada's tablet")
NEWBORN: Final = replace(
    MINE_LIVE, id=NEW, generation=0, attempts=(bytes(8),) * 4, issued_at=NOW, auth_time=NOW, label="Ada's watch"
)

USER: Final = User(
    account=ACCOUNT,
    email="ada@example.org",
    email_index=EmailIndex("ada"),
    password_hash=b"sealed verifier",
    credentials_version=VERSION,
    created_at=NOW - 9_000,
)

NEXT: Final = LineageId("AQAAAAAAAAAAAAAF")
NEW_PASSWORD_HASH: Final = b"new sealed verifier"
MARK: Final = b"mark of this call"
OTHER_MARK: Final = b"mark of another"
OPERATION: Final = Operation(method="POST", path="/api/transfers", digest="sha-256=:YQ==:")
STEP_UP: Final = GrantUsed(at=NOW, assurance=MINE_LIVE.assurance)
GRANT: Final = "a grant's secret"
TICKET_ID: Final = b"sixteen bytes..."
ALL_ROLES: Final = frozenset(range(1, ROLES_MAX + 1))
NO_ROLES: Final = frozenset[int]()
ADMIN: Final = frozenset({1})
SUPPORT: Final = frozenset({2, 7})
ATTRIBUTES: Final = b"\x81\xa4plan\x02"
"""The attributes `{"plan": 2}`, as MessagePack."""


def state_with(*lineages: Lineage, account: AccountId = ACCOUNT, status: Status = Status.ACTIVE) -> AccountState:
    """Make an account state with these lineages."""
    return AccountState(
        account=account,
        status=status,
        epoch=EPOCH,
        credentials_version=VERSION,
        lineages=by_id(lineages),
    )


def by_id(lineages: Iterable[Lineage]) -> dict[LineageId, Lineage]:
    """Map each lineage id to its lineage."""
    return {lineage.id: lineage for lineage in lineages}


def presented(behind: int = 0, *, attempt: bytes = ATTEMPT, lineage: Lineage = MINE_LIVE) -> PresentedToken:
    """Return a presented token that is ``behind`` generations older than the current generation of the lineage."""
    return PresentedToken(
        account=ACCOUNT,
        lineage=lineage.id,
        generation=lineage.generation - behind,
        issued_at=lineage.issued_at,
        client=lineage.client,
        binding=lineage.binding,
        attempt=attempt,
    )
