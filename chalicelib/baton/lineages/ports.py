"""The store of account states. Each verb says what is atomic and returns the verdict."""

from collections.abc import Sequence
from typing import Protocol

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, EndReason, Lineage, PresentedToken, Status
from chalicelib.baton.lineages.rules import Ahead, Exchanged, Inactive, ProofOutdated, Retry, Reused, Superseded


class LineageStore(Protocol):
    """The one item per account through which every decision about its lineages passes.

    A verb with an ``actor`` writes on behalf of a login: only while `lineage.may_act` permits it. Otherwise nothing is
    written, and the answer is what the rule says of the account state as it was at that moment.
    """

    def get(self, account: AccountId) -> AccountState | None:
        """Read an account state."""

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Move the lineage to its next generation if and only if ``lineage.judge`` says ``Current``: one write.

        Otherwise nothing is written and the answer is what ``judge`` says of the state as it was at that moment.
        """

    def add_lineage(
        self,
        lineage: Lineage,
        *,
        expected: AccountState,
        replaced: Sequence[Lineage],
        removed: Sequence[Lineage],
        lineages_max: int,
    ) -> Done | Moved:
        """Add a lineage, end those it replaces (reason ``replaced``), remove those that make room: one write.

        Only when the account is active, epoch and verifier version are as in ``expected``, the lineage does not
        exist, each replaced one exists and has not ended, each removed one is as given, and there is room. Of a lineage
        bound to a key: only when the number of lineages is as in ``expected``, for another login by this key may have
        been added. Those in both ``replaced`` and ``removed`` are removed.
        """

    def record_use(
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, not_before: int
    ) -> Done | Moved:
        """Record that a lineage was used (`lineage.record_use`), when it is as ``expected`` and live."""

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage. ``Refused`` is as good: already ended, with its earlier reason, or gone."""

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the actor's account. ``Refused`` is as good: it has ended already, or does not exist."""

    def end_all(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """End every lineage of the actor's account by raising its epoch: one write, whatever their number."""

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Delete the actor's account. What stays holds no lineage."""

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Disable, delete or enable, for the operator. The first two end every lineage; enabling revives none.

        ``DELETED`` is absorbing: deleting again is ``Done``, all else ``Refused``, as for an unknown account.
        A deleted account has no roles.
        """

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, for the operator, when they are as ``expected``.

        An account that has these very roles is ``Done``; of the others one that is not active is ``Refused``.
        """

    def liveness_condition(self, actor: Actor, *, roles: frozenset[int] | None, now: int) -> dict[str, object]:
        """Build an element of ``TransactItems`` that fails unless `lineage.may_act` permits the actor to write.

        It is for a transaction of the team's own, over boto3's low-level client. Nothing is read or written here.
        ``roles`` are all roles of the account as they were read, where the route asked for a role: DynamoDB cannot
        compare one bit of a number, so a change of any role fails the check. ``None`` where it asked for no role.
        Raises ``NotImplementedError`` where the storage has no transactions.
        """
