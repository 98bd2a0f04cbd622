"""The port of the store of account states. Each method that writes makes one atomic write, and returns its result."""

from collections.abc import Sequence
from typing import Protocol

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState, Actor, BrowserKey, EndReason, Lineage, PresentedToken, Status
from chalicelib.baton.lineages.rules import Ahead, Exchanged, Inactive, ProofOutdated, Retry, Reused, Superseded


class LineageStore(Protocol):
    """Read and write account states, one for each account.

    A method with an ``actor`` writes only if `rules.may_act` permits this. Otherwise, the method returns the result of
    `rules.may_act`.
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

        A lineage in both ``replaced`` and ``removed`` is deleted. If ``lineage`` has a parent, the caller must first
        check that the not-before time has not ended the parent: this method does not check it.

        ``Done``: this call stored ``lineage``, or an earlier try of this call did. After an earlier try, the conditions
        below are not checked. ``Moved``: one of these conditions is false, and nothing is written.

        - The account is active. Its epoch, credentials version and roles are as in ``expected``.
        - No other lineage has the id of the new lineage.
        - Each replaced lineage exists, and its ``ended`` is ``None``. Each removed lineage is unchanged.
        - After the write, the account has at most ``lineages_max`` lineages.
        - If the new lineage is bound to a key, the account has the same lineages as in ``expected``. A lineage added
          since then could have the same key.
        - If the new lineage has a parent, the parent is live at the ``auth_time`` of the new lineage. The binding of
          the parent is as in ``expected``.
        """

    def record_use(
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, not_before: int
    ) -> Done | Moved:
        """Store ``lineage`` if the stored lineage still equals ``expected`` and is active.

        ``lineage`` is ``expected`` with a new use recorded, for example by `rules.record_use`. The result is also
        ``Done`` if ``lineage`` is already stored.
        """

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage. ``Refused``: the lineage has already ended and keeps its reason, or it does not exist."""

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """End one lineage of the actor's account. ``Refused``: the lineage has already ended, or does not exist."""

    def bind_browser(self, actor: Actor, key: BrowserKey, *, now: int) -> Done | Refused | Inactive | ProofOutdated:
        """Bind the actor's own login to the key of its browser, if the login has no browser key yet.

        ``Done``: also if an earlier call bound the login to this key. ``Refused``: the login is bound to another key.
        """

    def end_all(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """End every lineage of the actor's account by raising its epoch, in one write."""

    def end_every(self, account: AccountId, *, now: int) -> Done | Refused:
        """End every lineage of an active account by raising its epoch, for the operator, in one write.

        The reason is ``ended_by_operator``. ``Refused``: the account does not exist, or is not active.
        """

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Delete the actor's account. Its account state remains, with status ``DELETED`` and without lineages."""

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Disable, delete or enable an account, for the operator.

        Disabling and deleting end every lineage, and enabling revives no lineage. Deleting is final, and also removes
        the roles, the attributes and the required second factor.

        ``Refused``: the account does not exist, or the call disables or enables a deleted account.
        """

    def set_roles(
        self, account: AccountId, roles: frozenset[int], *, expected: frozenset[int]
    ) -> Done | Moved | Refused:
        """Replace the roles of an active account, for the operator, if the stored roles are ``expected``.

        The first of these conditions that is true decides the result:

        1. ``Refused``: the account does not exist, or is deleted.
        2. ``Done``: the account already has the new roles.
        3. ``Refused``: the account is disabled.
        4. ``Moved``: the roles of the account are not ``expected``.
        5. ``Done``: in any other case. The call replaces the roles.
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
        """Build an element of ``TransactItems`` that succeeds only if `rules.may_act` permits the actor to write.

        A view adds the element to its own transaction. The element has the form of boto3's low-level client.

        ``roles``: all roles of the account, as they were read. If the account has other roles at the time of the
        transaction, the element fails, even if the route does not require the changed role. ``None``: the route
        requires no role, and a change of roles has no effect.

        Raises:
            NotImplementedError: the storage has no transactions.

        """
