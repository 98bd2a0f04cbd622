"""Find out why the condition of a write on an account state failed. `lineages.rules` decides this. No I/O."""

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, Ended, Lineage
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act
from chalicelib.baton.storage.dynamodb.items import state_of
from chalicelib.baton.storage.dynamodb.values import Item


def not_acting(account_state: AccountState | None, actor: Actor, *, now: int) -> Inactive | ProofOutdated:
    """Return why a write on behalf of a login did not meet its condition. `rules.may_act` decides this.

    Raises ``Unavailable`` if the rule permits the write.
    """
    acting = may_act(account_state, actor, now=now)
    if isinstance(acting, Lineage):
        raise Unavailable("the condition of a write on behalf of a login and the rule disagree")
    return acting


def ended_as(item: Item | None, lineage: LineageId, ended: Ended) -> Done | Refused:
    """Return ``Done`` if the stored end of the lineage is ``ended``, otherwise ``Refused``.

    ``Done`` means that an earlier try of the same write succeeded.
    """
    account_state = state_or_none(item)
    stored = account_state.lineages.get(lineage) if account_state else None
    return Done() if stored is not None and stored.ended == ended else Refused()


def state_or_none(item: Item | None) -> AccountState | None:
    """Read an account state. Return ``None`` if the item does not exist."""
    return state_of(item) if item is not None else None


def done_when_stored(item: Item | None, lineage: Lineage) -> Done | Moved:
    """Return ``Done`` if the stored lineage equals ``lineage``, otherwise ``Moved``.

    ``Done`` means that an earlier try of the same write succeeded.
    """
    account_state = state_or_none(item)
    return Done() if account_state is not None and account_state.lineages.get(lineage.id) == lineage else Moved()
