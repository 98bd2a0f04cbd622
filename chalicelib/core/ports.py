"""What the journeys need from outside. Each verb says what is atomic and answers with the verdict.

Every verb may raise ``errors.Unavailable``: the engine failed, timed out, throttled or conflicted, and nothing is
known about whether the write happened. Repeating the same call with the same arguments is always safe.

Reads are strongly consistent. To port Baton to another storage, write this page once and pass the contract suite.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from chalicelib.core.hardening import Found
from chalicelib.core.key_ring import Ring
from chalicelib.core.lineage import Ahead, Dead, Exchanged, ProofOutdated, Retry, Reused, Superseded
from chalicelib.core.model import (
    AccountId,
    Actor,
    AuditEvent,
    EmailIndex,
    EndReason,
    Gate,
    Lineage,
    LineageId,
    Operation,
    Presented,
    Status,
    StepUp,
    User,
)

Clock = Callable[[], int]
"""Read the time: integer seconds since the epoch."""

Entropy = Callable[[int], bytes]
"""Draw that many random bytes, fit for keys."""


class Done(Struct, frozen=True):
    """The write happened, now or by an earlier sending of this same call."""


class Moved(Struct, frozen=True):
    """What was read has changed since: nothing was written. Read again and start over, a bounded number of times."""


class Taken(Struct, frozen=True):
    """The e-mail address belongs to ``account``: nothing was written."""

    account: AccountId


class Refused(Struct, frozen=True):
    """Spent, expired, unknown or over the limit: nothing was written."""


class Users(Protocol):
    """People: e-mail claims and verifiers."""

    def find(self, email_index: EmailIndex) -> AccountId | None:
        """Find the account that claims an e-mail address."""

    def get(self, account: AccountId) -> User | None:
        """Read a user."""

    def register(self, user: User, gate: Gate) -> Done | Taken:
        """Write claim, user and gate, all of them or none, each of which must not exist.

        ``Taken`` names the account that holds the claim; where no claim stands in the way but the user or the gate
        does (an account of this very id was deleted), it names ``user.account``.
        """

    def change_password(self, actor: Actor, verifier: bytes, *, expected: Gate, now: int) -> Done | Moved:
        """Replace the verifier, raise verifier version and epoch, and keep the actor's lineage: all or none.

        Only when the epoch is as in ``expected``, the verifier version as in ``actor``, and the actor's lineage is
        live. Every other lineage ends, reason ``password_changed``.
        """

    def rehash(self, account: AccountId, verifier: bytes, *, expected_version: int, expected_verifier: bytes) -> None:
        """Replace a verifier by one of the same password and better parameters, when nobody else changed it."""

    def forget(self, account: AccountId, email_index: EmailIndex) -> None:
        """Remove the user, and its claim last, so that the e-mail address becomes free. Repeating is harmless.

        The claim goes only while it is ``account``'s: somebody may have registered the address since.
        """


class Gates(Protocol):
    """The one item per account through which every decision about its lineages passes.

    A verb with an ``actor`` writes on behalf of a login: only while `lineage.may_act` permits it. Otherwise nothing is
    written, and the answer is what the rule says of the gate as it was at that moment.
    """

    def get(self, account: AccountId) -> Gate | None:
        """Read a gate."""

    def exchange(
        self, presented: Presented, *, now: int, fence: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Dead:
        """Move the lineage to its next generation if and only if ``lineage.judge`` says ``Current``: one write.

        Otherwise nothing is written and the answer is what ``judge`` says of the gate as it was at that moment.
        """

    def admit(
        self,
        lineage: Lineage,
        *,
        expected: Gate,
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
        self, lineage: Lineage, *, account: AccountId, expected: Lineage, now: int, fence: int
    ) -> Done | Moved:
        """Record that a lineage was used (`lineage.record_use`), when it is as ``expected`` and live."""

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End one lineage. ``Refused`` is as good: already ended, with its earlier reason, or gone."""

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused | Dead | ProofOutdated:
        """End one lineage of the actor's account. ``Refused`` is as good: it has ended already, or does not exist."""

    def end_all(self, actor: Actor, *, now: int) -> Done | Dead | ProofOutdated:
        """End every lineage of the actor's account by raising its epoch: one write, whatever their number."""

    def delete(self, actor: Actor, *, now: int) -> Done | Dead | ProofOutdated:
        """Delete the actor's account. What stays holds no lineage."""

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Disable, delete or enable, for the operator. The first two end every lineage; enabling revives none.

        ``DELETED`` is absorbing: deleting again is ``Done``, all else ``Refused``, as for an unknown account.
        """


class Ephemeral(Protocol):
    """Things used once, and counters that pass. Losing them means "try again", never a breach."""

    def spend_nonce(self, keyid: str, nonce: str, *, now: int, mark: bytes) -> Done | Refused:
        """Spend a nonce of a key, once. ``mark`` is random and tells our own re-send from a replay."""

    def keep_grant(
        self,
        grant: str,
        *,
        lineage: LineageId,
        operation: Operation,
        step_up: StepUp,
        verifier_version: int,
        expires_at: int,
    ) -> None:
        """Keep a step-up grant, under the SHA-256 of its secret. It is good for the password it was proved with."""

    def spend_grant(
        self, grant: str, *, lineage: LineageId, operation: Operation, verifier_version: int, now: int, mark: bytes
    ) -> StepUp | Refused:
        """Spend a grant, once, when it is unexpired and for exactly this lineage, operation and password."""

    def take_slot(self, bucket: str, *, limit: int, window_s: int, now: int) -> Done | Refused:
        """Count one more in this window of a bucket, unless the limit is reached."""

    def give_back_slot(self, bucket: str, *, window_s: int, now: int) -> None:
        """Take one from the count again: the attempt it was taken for succeeded."""


class Audit(Protocol):
    """What happened, append only."""

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event. Never raises: what happened has happened; a failure to note it is logged and counted."""


class Signals(Protocol):
    """What the operator watches: log lines and metrics. No verb ever raises, and none is ever given a secret."""

    def begin(self, *, request_id: str) -> None:
        """Forget the request before; this id stands on all that follows."""

    def about(self, *, lineage: LineageId) -> None:
        """Put the lineage on all that follows in this request; the first one named stays."""

    def emit(self, event: str, /, **facts: str | int) -> None:
        """Note that something happened, by its name in the glossary's words."""


class KeyRing(Protocol):
    """The deployment's keys, cached for a few minutes."""

    def current(self, *, now: int) -> Ring:
        """Give the ring, refreshed at most every five minutes. Absent or unreadable is ``Unavailable``."""

    def refreshed(self, *, now: int) -> Ring:
        """Give the ring after an unknown ``kid`` or root version: read again, at most once a minute."""


class ChangingKeyRing(KeyRing, Protocol):
    """The keys, for whoever may change them: never a route."""

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Put a newer ring in place of the one of ``expected_revision``: one write."""


class Deployment(Protocol):
    """How this deployment is configured: looked at, never changed."""

    def key_arn(self) -> str:
        """Give the ARN of the deployment's key."""

    def looks(self) -> Mapping[str, Callable[[], Sequence[Found]]]:
        """Give every look, by the name of what it looks at. What may not be seen raises ``errors.Unavailable``."""
