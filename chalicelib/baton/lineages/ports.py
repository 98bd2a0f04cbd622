"""The port of the store of account states. Each method is one atomic write and returns its result."""

from collections.abc import Sequence
from typing import Protocol

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, BrowserKey, EndReason, Lineage, PresentedToken, Status
from chalicelib.baton.lineages.rules import Ahead, Exchanged, Inactive, ProofOutdated, Retry, Reused, Superseded


class LineageStore(Protocol):
    """Read and write account states, one for each account.

    A method with an ``actor`` writes on behalf of a login, if `rules.may_act` permits this. If not, the method writes
    nothing, and returns the result of ``may_act`` for the account state at that moment.
    """

    def get(self, account: AccountId) -> AccountState | None:
        """Read an account state. Return ``None`` if the account does not exist."""

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Advance the lineage to its next generation if `rules.judge` returns ``Current``, in one write.

        For any other result of ``judge``, nothing is written, and this result is returned.
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
        """Add a lineage, end the ``replaced`` lineages (reason ``replaced``) and delete the ``removed`` lineages.

        This is one write. ``Moved``: one of these conditions is false, and nothing is written.

        - The account is active. Its epoch, credentials version and roles are as in ``expected``.
        - The new lineage does not exist yet.
        - Each replaced lineage exists and has not ended. Each removed lineage is unchanged.
        - After the write, the account has at most ``lineages_max`` lineages.
        - If the new lineage is bound to a key, the account has the same lineages as in ``expected``. A lineage added
          since then could have the same key.
        - If the new lineage has a parent (the login that it was restored or handed over from), the parent is live at
          the ``auth_time`` of the new lineage. The binding of the parent is as in ``expected``.

        This method does not compare the parent with the not-before time: the caller must do this before.
        A lineage in both ``replaced`` and ``removed`` is deleted. If the stored lineage with the new id equals
        ``lineage``, the result is ``Done`` and not ``Moved``: an earlier try of this call wrote it.
        """

    def record_use(
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, not_before: int
    ) -> Done | Moved:
        """Store ``lineage`` if the stored lineage still equals ``expected`` and is active.

        ``lineage`` is ``expected`` with a new use recorded, for example by `rules.record_use`. ``Done`` also if
        ``lineage`` is already stored.
        """

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage. ``Refused``: the lineage has already ended and keeps its reason, or it does not exist."""

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the actor's account. ``Refused``: the lineage has already ended, or does not exist."""

    def bind_browser(self, actor: Actor, key: BrowserKey, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """Bind the actor's own login to the key of its browser, in one write. The login keeps its first browser key.

        ``Done``: this call or an earlier call bound the login to this key. ``Refused``: it is bound to another key.
        """

    def end_all(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """End every lineage of the actor's account by raising its epoch, in one write."""

    def end_every(self, account: AccountId, *, now: int) -> Done | Refused:
        """End every lineage of an active account by raising its epoch, for the operator, in one write.

        The reason is ``ended_by_operator``. ``Refused``: the account does not exist, or is not active.
        """

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Delete the actor's account. The item that remains has no lineage."""

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Disable, delete or enable an account, for the operator.

        Disabling and deleting end every lineage. Enabling revives no lineage. A deleted account stays deleted and has
        no roles: deleting it again is ``Done``, disabling or enabling it is ``Refused``. For an unknown account, every
        status is ``Refused``.
        """

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, for the operator, if the stored roles are ``expected``.

        The checks have this order. ``Refused``: the account does not exist, or is deleted. ``Done``: it already has the
        new roles, even if it is disabled. ``Refused``: it is disabled. ``Moved``: its roles are not ``expected``.
        """

    def set_second_factor(self, account: AccountId, *, required: bool) -> Done | Refused:
        """Require a second factor from an active account, or end this requirement, for the operator.

        A repetition is safe. ``Refused``: the account does not exist, or is not active.
        """

    def set_attributes(self, account: AccountId, attributes: bytes) -> Done | Refused:
        """Replace the team's attributes (MessagePack) of an active account. Empty bytes remove them.

        A repetition is safe. ``Refused``: the account does not exist, or is not active.

        Raises:
            ValueError: ``attributes`` has more than 32 bytes.

        """

    def liveness_condition(self, actor: Actor, *, roles: frozenset[int] | None, now: int) -> dict[str, object]:
        """Build an element of ``TransactItems`` that fails unless `rules.may_act` permits the actor to write.

        This method sends nothing: a view adds the element to its own transaction. The element has the form of boto3's
        low-level client. ``roles`` is ``None`` if the route requires no role. Otherwise ``roles`` are all roles of the
        account, as they were read. The element then also fails if any role has changed, even a role that the route
        does not require: the roles are stored as one number, and DynamoDB cannot compare a single bit of a number.

        Raises:
            NotImplementedError: the storage has no transactions.

        """
