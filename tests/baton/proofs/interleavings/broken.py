"""Seeded faults, each in its own deployment or client. The explorer must refute each fault."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from msgspec import structs
from msgspec.structs import replace

from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.login_request import LoginRequest
from chalicelib.baton.accounts.password import ChangePassword
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Actor,
    Ended,
    EndReason,
    Lineage,
    PresentedToken,
    Status,
)
from chalicelib.baton.lineages.rules import (
    Ahead,
    Current,
    Exchanged,
    Inactive,
    ProofOutdated,
    Retry,
    Reused,
    Superseded,
    exchange,
    judge,
)
from chalicelib.baton.routing import Message
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.storage.memory.one_time import MemoryOneTime
from chalicelib.baton.tokens.caller import Caller, GrantUsed
from chalicelib.baton.tokens.issue import TokenResponse
from chalicelib.baton.tokens.presented import VerifiedToken
from chalicelib.baton.tokens.refusals import GrantInvalid
from chalicelib.baton.tokens.reuse import EndReused
from tests.baton.proofs.interleavings.deployment import Crashed, Deployment, Stepping
from tests.baton.proofs.interleavings.roles import Arrangement, Cast, Role, scene
from tests.baton.proofs.interleavings.scheduler import Call, Course
from tests.baton.proofs.relay.runner import Record

Verdict = Exchanged | Retry | Superseded | Reused | Ahead | Inactive


@dataclass(frozen=True, slots=True)
class Mistake:
    """A seeded fault: its place, the smallest scene that shows it, and the expected message of the explorer."""

    roles: tuple[Role, ...]
    refuted_by: str
    lineage_store: "type[BrokenLineageStore] | None" = None
    cast: type[Cast] = Cast
    plant: Callable[[Deployment], None] = lambda _: None
    times: int = 1
    arrangement: Arrangement = Arrangement.APART
    kind: str = "hmac"

    def deployment(self) -> Deployment:
        """Build a deployment with the fault."""
        deployment = Deployment()
        if self.lineage_store:
            stepping = cast("Stepping", deployment.stores.lineage_store)
            stepping.port = self.lineage_store(deployment)
        self.plant(deployment)
        return deployment

    def scene(self, *, faults: int, broken: bool = True) -> Callable[[Course], None]:
        """Build the scene that shows the fault, or the same scene without the fault."""
        return scene(
            self.roles,
            faults=faults,
            times=self.times,
            deployment=self.deployment() if broken else None,
            cast_of=self.cast if broken else None,
            arrangement=self.arrangement,
            kind=self.kind,
        )


class BrokenLineageStore(MemoryLineageStore):
    """A ``LineageStore`` that a subclass breaks."""

    def __init__(self, deployment: Deployment) -> None:
        """Keep the tables, and the deployment for further steps."""
        super().__init__(deployment.stores.tables)
        self.deployment = deployment


class ReadThenWrite(BrokenLineageStore):
    """Decides from an earlier read, and writes without a condition."""

    def exchange(self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int) -> Verdict:
        """Exchange by a read, a decision and a write."""
        account_state = self.get(presented.account)
        verdict = judge(account_state, presented, now=now, not_before=not_before, idle_s=idle_s)
        if account_state is None or not isinstance(verdict, Current):
            return cast("Verdict", verdict)
        if self.deployment.scheduler:
            call = Call("lineage_store.put what was read", frozenset({"lineage_store"}), writes=True)
            self.deployment.scheduler.step(call)
        child = exchange(verdict.lineage, presented, now=now)
        self._put(account_state, child)
        return Exchanged(child)


class ForgetfulLineageStore(BrokenLineageStore):
    """Does not store the attempt that consumed a generation."""

    def exchange(self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int) -> Verdict:
        """Store an attempt that is not the given attempt."""
        verdict = super().exchange(presented, now=now, not_before=not_before, idle_s=idle_s)
        if isinstance(verdict, Exchanged):
            self._put(self._tables.lineages[presented.account], replace(verdict.lineage, attempts=(NO_ATTEMPT,) * 4))
        return verdict


class EpochBlindExchange(BrokenLineageStore):
    """Exchanges a lineage without a check of its epoch."""

    def exchange(self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int) -> Verdict:
        """Treat every lineage as a lineage of the current epoch."""
        account_state = self._tables.lineages[presented.account]
        lineages = {key: replace(one, epoch=account_state.epoch) for key, one in account_state.lineages.items()}
        self._tables.lineages[presented.account] = replace(account_state, lineages=lineages)
        return super().exchange(presented, now=now, not_before=not_before, idle_s=idle_s)


class EpochBlindLogin(BrokenLineageStore):
    """Adds a login without a check that the epoch is unchanged since the read."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Accept any epoch."""
        there = self._tables.lineages[expected.account]
        return super().add_lineage(lineage, expected=replace(expected, epoch=there.epoch), **named)


class VersionBlindLogin(BrokenLineageStore):
    """Adds a login without a check that the verified password is still current."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Accept any credentials version."""
        there = self._tables.lineages[expected.account]
        return super().add_lineage(replace(lineage, epoch=there.epoch), expected=there, **named)


class StatusBlindLogin(BrokenLineageStore):
    """Adds a login to an account that was disabled in the meantime."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Treat the account as active."""
        lineage_store = self._tables.lineages
        there = lineage_store[expected.account]
        lineage_store[expected.account] = replace(there, status=Status.ACTIVE)
        done = super().add_lineage(replace(lineage, epoch=there.epoch), expected=there, **named)
        lineage_store[expected.account] = replace(lineage_store[expected.account], status=there.status)
        return done


class NeverRevokes(BrokenLineageStore):
    """Answers reuse without ending the lineage."""

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End a lineage only on request of its owner."""
        return Done() if reason is EndReason.REUSE else super().end(account, lineage, reason, now=now)


class EndsNothing(BrokenLineageStore):
    """Answers a logout everywhere without writing."""

    def end_all(self, actor: Actor, *, now: int) -> Done:
        """Write nothing."""
        return Done()


class DeletesForAnybody(BrokenLineageStore):
    """Deletes an account without a check that the calling login is active."""

    def delete(self, actor: Actor, *, now: int) -> Done:
        """Delete the account."""
        self.set_status(actor.account, Status.DELETED, now=now)
        return Done()


class EndsDevicesForAnybody(BrokenLineageStore):
    """Ends a device without a check that the calling login is active."""

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused:
        """End the device."""
        return self.end(actor.account, lineage, EndReason.ENDED_BY_OWNER, now=now)


class EndsAllForAnybody(BrokenLineageStore):
    """Ends all logins without a check that the calling login is active."""

    def end_all(self, actor: Actor, *, now: int) -> Done:
        """Raise the epoch."""
        account_state = self._tables.lineages[actor.account]
        self._tables.lineages[actor.account] = replace(
            account_state, epoch=account_state.epoch + 1, raised=Ended(now, EndReason.ENDED_EVERYWHERE)
        )
        return Done()


class VersionBlindDelete(BrokenLineageStore):
    """Deletes on behalf of an active login, with a grant of any earlier password."""

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Treat the grant as one of the current password."""
        there = self._tables.lineages[actor.account]
        return super().delete(replace(actor, credentials_version=there.credentials_version), now=now)


class KeepsEarlierLogins(BrokenLineageStore):
    """Adds a login of a key without ending the earlier logins of the key."""

    def add_lineage(
        self, lineage: Lineage, *, expected: AccountState, replaced: Sequence[Lineage], **named: Any
    ) -> Done | Moved:
        """End no other login."""
        return super().add_lineage(lineage, expected=expected, replaced=(), **named)


class OverlooksOtherLogins(BrokenLineageStore):
    """Adds a login of a key without a check for another login since the account state was read."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Accept any number of lineages."""
        there = self._tables.lineages[expected.account]
        return super().add_lineage(lineage, expected=replace(expected, lineages=there.lineages), **named)


class KeepsTheSecret(Admit, frozen=True):
    """Loses the id of the login whose secret signed a login request."""

    def __call__(self, login_request: LoginRequest, *arguments: Any, **named: Any) -> TokenResponse:
        """Admit the login as one of an unknown device."""
        return super().__call__(replace(login_request, proved=None), *arguments, **named)


class GrantsForEver(MemoryOneTime):
    """Consumes a grant that was proved with any earlier password."""

    def consume_grant(self, grant: str, *, credentials_version: int, **named: Any) -> GrantUsed | Refused:
        """Treat the grant as one of the current password."""
        return super().consume_grant(grant, credentials_version=self._tables.grants[grant].credentials_version, **named)


class TriesAgain(ChangePassword, frozen=True):
    """Changes the password a second time if another request has changed it since the grant was proved."""

    def __call__(self, caller: Caller, new_password: str) -> None:
        """Read the account state again, and treat the grant as one of the current password."""
        try:
            super().__call__(caller, new_password)
        except GrantInvalid:
            super().__call__(replace(caller, account_state=self.lineage_store.get(caller.account)), new_password)


def consume_grants_for_ever(deployment: Deployment) -> None:
    """Seed the fault ``GrantsForEver``."""
    cast("Stepping", deployment.stores.ephemeral).port = GrantsForEver(deployment.stores.tables)


def try_again(deployment: Deployment) -> None:
    """Seed the fault ``TriesAgain``."""
    right = deployment.world.change_password
    deployment.world.change_password = TriesAgain(**structs.asdict(right))


def keep_the_secret(deployment: Deployment) -> None:
    """Seed the fault ``KeepsTheSecret``."""
    right = deployment.world._login
    deployment.world._login = replace(right, admit=KeepsTheSecret(**structs.asdict(right.admit)))


class RevivingLineageStore(BrokenLineageStore):
    """Disables and enables only by the status, so that logins from before become active again."""

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Do not change the epoch."""
        account_state = self._tables.lineages[account]
        self._tables.lineages[account] = replace(
            account_state, status=status, raised=Ended(now, EndReason.ENDED_EVERYWHERE)
        )
        return Done()


class AnswersFirst(EndReused, frozen=True):
    """Ends the lineage in the background, so that the answer "reuse" is sent first."""

    def __call__(self, proved: VerifiedToken, message: Message, **facts: Any) -> Done | Refused:
        """End the lineage in the background."""
        scheduler = cast("Any", self.lineage_store)._deployment.scheduler
        end = super().__call__
        if scheduler is None or scheduler.holder is None:
            return end(proved, message, **facts)

        def in_the_background() -> None:
            """End the lineage. The answer is already sent, so a crash here is reported to no client."""
            with contextlib.suppress(Crashed):
                end(proved, message, **facts)

        if not scheduler.fault("crash before the end is written"):
            scheduler.enter("end in the background", in_the_background)
        return Done()


def answer_first(deployment: Deployment) -> None:
    """Seed the fault ``AnswersFirst``."""
    right = deployment.world._exchange
    end = right.end_reused
    deployment.world._exchange = replace(right, end_reused=AnswersFirst(**structs.asdict(end)))


class ForgetfulClient(Cast):
    """Breaks client rule 1: it makes a new attempt for the same token at each request."""

    def exchanged(self, name: str, record: Record) -> Any:
        """Drop the stored attempt."""
        assert self.runner.attempt is not None
        return super().exchanged(name, dataclasses.replace(record, attempt=self.runner.attempt()))


class OverwritingClient(Cast):
    """Breaks client rule 3: it stores an answer without comparing the stored record."""

    def replaced(self, name: str, parent: Record, child: Record | None) -> Record | None:
        """Store the answer."""
        return super().replaced(name, self.deployment.storages[name] or parent, child)


NO_ORDER = "no order explains it"

MISTAKES = {
    "read, then write": Mistake((Role.RENEW, Role.STEAL), "children", lineage_store=ReadThenWrite),
    "read, then write, over an end": Mistake((Role.RENEW, Role.END_ONE), "active again", lineage_store=ReadThenWrite),
    "the client forgets its attempt": Mistake((Role.RENEW,), "phone was logged out", cast=ForgetfulClient),
    "the store forgets the attempt": Mistake(
        (Role.RENEW,), "phone was logged out", lineage_store=ForgetfulLineageStore
    ),
    "a second process overwrites": Mistake((Role.RENEW, Role.RENEW), "logged out", cast=OverwritingClient, times=2),
    "an exchange ignores the epoch": Mistake(
        (Role.RENEW, Role.END_ALL), "active again", lineage_store=EpochBlindExchange
    ),
    "a login ignores the epoch": Mistake(
        (Role.LOG_IN, Role.END_ALL), "log in was logged out", lineage_store=EpochBlindLogin
    ),
    "a login ignores the password": Mistake(
        (Role.LOG_IN, Role.CHANGE_PASSWORD), "the old password opens", lineage_store=VersionBlindLogin
    ),
    "a login ignores the status": Mistake(
        (Role.LOG_IN, Role.DISABLE), "disabled account", lineage_store=StatusBlindLogin
    ),
    "reuse ends nothing": Mistake((Role.RENEW, Role.STEAL), NO_ORDER, lineage_store=NeverRevokes),
    "reuse is answered before it is written": Mistake(
        (Role.RENEW, Role.STEAL), "after token_reused was answered", plant=answer_first, times=2
    ),
    "a crash before the end is written": Mistake((Role.RENEW, Role.STEAL), NO_ORDER, plant=answer_first),
    "end all ends nothing": Mistake((Role.RENEW, Role.END_ALL), NO_ORDER, lineage_store=EndsNothing),
    "a delete asks for no live login": Mistake(
        (Role.DELETE, Role.CHANGE_PASSWORD), NO_ORDER, lineage_store=DeletesForAnybody, arrangement=Arrangement.AGAINST
    ),
    "the end of a device asks for no live login": Mistake(
        (Role.END_ONE, Role.END_ONE), NO_ORDER, lineage_store=EndsDevicesForAnybody, arrangement=Arrangement.AGAINST
    ),
    "the end of all asks for no live login": Mistake(
        (Role.END_ALL, Role.CHANGE_PASSWORD), NO_ORDER, lineage_store=EndsAllForAnybody, arrangement=Arrangement.AGAINST
    ),
    "the end of all asks for no live login, beside an end": Mistake(
        (Role.END_ONE, Role.END_ALL), NO_ORDER, lineage_store=EndsAllForAnybody, arrangement=Arrangement.AGAINST
    ),
    "an outdated proof deletes": Mistake(
        (Role.DELETE, Role.CHANGE_PASSWORD),
        NO_ORDER,
        lineage_store=VersionBlindDelete,
        arrangement=Arrangement.TOGETHER,
    ),
    "a grant outlives its password": Mistake(
        (Role.DELETE, Role.CHANGE_PASSWORD), NO_ORDER, plant=consume_grants_for_ever, arrangement=Arrangement.TOGETHER
    ),
    "a change of the password is tried again": Mistake(
        (Role.CHANGE_PASSWORD,) * 2, NO_ORDER, plant=try_again, arrangement=Arrangement.TOGETHER
    ),
    "a login leaves its key's earlier ones": Mistake(
        (Role.LOG_IN_AGAIN, Role.RENEW), "two live logins", lineage_store=KeepsEarlierLogins, kind="P-256"
    ),
    "a login leaves the one whose secret signed it": Mistake(
        (Role.LOG_IN_AGAIN, Role.RENEW), NO_ORDER, plant=keep_the_secret
    ),
    "a login overlooks another by its key": Mistake(
        (Role.LOG_IN_BY_KEY,) * 2, "two live logins", lineage_store=OverlooksOtherLogins
    ),
    "enabling revives": Mistake((Role.DISABLE,), "active again", lineage_store=RevivingLineageStore),
}
