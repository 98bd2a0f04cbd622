"""Mistakes somebody could make, each planted in a deployment or a client of its own, for the explorer to refute."""

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
    """Who is broken, the smallest scene that shows it, and what the explorer says."""

    roles: tuple[Role, ...]
    refuted_by: str
    lineage_store: "type[BrokenLineageStore] | None" = None
    cast: type[Cast] = Cast
    plant: Callable[[Deployment], None] = lambda _: None
    times: int = 1
    arrangement: Arrangement = Arrangement.APART
    kind: str = "hmac"

    def deployment(self) -> Deployment:
        """Build a deployment with the mistake in it."""
        deployment = Deployment()
        if self.lineage_store:
            stepping = cast("Stepping", deployment.stores.lineage_store)
            stepping.port = self.lineage_store(deployment)
        self.plant(deployment)
        return deployment

    def scene(self, *, faults: int, broken: bool = True) -> Callable[[Course], None]:
        """Make the scene that shows it, or the same with nobody broken."""
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
    """LineageStore to break."""

    def __init__(self, deployment: Deployment) -> None:
        """Keep the tables, and the deployment for further steps."""
        super().__init__(deployment.stores.tables)
        self.deployment = deployment


class ReadThenWrite(BrokenLineageStore):
    """Decides by what was read, and writes without a condition."""

    def exchange(self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int) -> Verdict:
        """Read; judge; write."""
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
    """Does not remember by which attempt a generation was used up."""

    def exchange(self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int) -> Verdict:
        """Write another attempt than the one that came."""
        verdict = super().exchange(presented, now=now, not_before=not_before, idle_s=idle_s)
        if isinstance(verdict, Exchanged):
            self._put(self._tables.lineages[presented.account], replace(verdict.lineage, attempts=(NO_ATTEMPT,) * 4))
        return verdict


class EpochBlindExchange(BrokenLineageStore):
    """Exchanges without asking of which epoch a lineage is."""

    def exchange(self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int) -> Verdict:
        """Take every lineage for one of this epoch."""
        account_state = self._tables.lineages[presented.account]
        lineages = {key: replace(one, epoch=account_state.epoch) for key, one in account_state.lineages.items()}
        self._tables.lineages[presented.account] = replace(account_state, lineages=lineages)
        return super().exchange(presented, now=now, not_before=not_before, idle_s=idle_s)


class EpochBlindLogin(BrokenLineageStore):
    """Admits a login without asking whether the epoch is as it was read."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Expect whatever there is, of the epoch."""
        there = self._tables.lineages[expected.account]
        return super().add_lineage(lineage, expected=replace(expected, epoch=there.epoch), **named)


class VersionBlindLogin(BrokenLineageStore):
    """Admits a login without asking whether the password is still the one that was checked."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Expect whatever there is."""
        there = self._tables.lineages[expected.account]
        return super().add_lineage(replace(lineage, epoch=there.epoch), expected=there, **named)


class StatusBlindLogin(BrokenLineageStore):
    """Admits a login into an account that was disabled meanwhile."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Take the account for active."""
        lineage_store = self._tables.lineages
        there = lineage_store[expected.account]
        lineage_store[expected.account] = replace(there, status=Status.ACTIVE)
        done = super().add_lineage(replace(lineage, epoch=there.epoch), expected=there, **named)
        lineage_store[expected.account] = replace(lineage_store[expected.account], status=there.status)
        return done


class NeverRevokes(BrokenLineageStore):
    """Answers reuse, and ends nothing."""

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End only what its owner ends."""
        return Done() if reason is EndReason.REUSE else super().end(account, lineage, reason, now=now)


class EndsNothing(BrokenLineageStore):
    """Answers an end before anything is written, and the write never comes."""

    def end_all(self, actor: Actor, *, now: int) -> Done:
        """Write nothing."""
        return Done()


class DeletesForAnybody(BrokenLineageStore):
    """Deletes without asking whether the login that asks for it is live."""

    def delete(self, actor: Actor, *, now: int) -> Done:
        """Delete."""
        self.set_status(actor.account, Status.DELETED, now=now)
        return Done()


class EndsDevicesForAnybody(BrokenLineageStore):
    """Ends a device without asking whether the login that asks for it is live."""

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused:
        """End it."""
        return self.end(actor.account, lineage, EndReason.ENDED_BY_OWNER, now=now)


class EndsAllForAnybody(BrokenLineageStore):
    """Ends all logins without asking whether the one that asks for it is live."""

    def end_all(self, actor: Actor, *, now: int) -> Done:
        """Raise the epoch."""
        account_state = self._tables.lineages[actor.account]
        self._tables.lineages[actor.account] = replace(
            account_state, epoch=account_state.epoch + 1, raised=Ended(now, EndReason.ENDED_EVERYWHERE)
        )
        return Done()


class VersionBlindDelete(BrokenLineageStore):
    """Deletes on behalf of a live login, by whatever password it was proved."""

    def delete(self, actor: Actor, *, now: int) -> Done | Inactive | ProofOutdated:
        """Take the proof for one of the present password."""
        there = self._tables.lineages[actor.account]
        return super().delete(replace(actor, credentials_version=there.credentials_version), now=now)


class KeepsEarlierLogins(BrokenLineageStore):
    """Admits a login of a key, and leaves the key's earlier ones alive."""

    def add_lineage(
        self, lineage: Lineage, *, expected: AccountState, replaced: Sequence[Lineage], **named: Any
    ) -> Done | Moved:
        """End none."""
        return super().add_lineage(lineage, expected=expected, replaced=(), **named)


class OverlooksOtherLogins(BrokenLineageStore):
    """Admits a login of a key without asking whether another one came since the account state was read."""

    def add_lineage(self, lineage: Lineage, *, expected: AccountState, **named: Any) -> Done | Moved:
        """Expect as many lineages as there are."""
        there = self._tables.lineages[expected.account]
        return super().add_lineage(lineage, expected=replace(expected, lineages=there.lineages), **named)


class KeepsTheSecret(Admit, frozen=True):
    """Forgets by which login's secret a login was signed."""

    def __call__(self, login_request: LoginRequest, *arguments: Any, **named: Any) -> TokenResponse:
        """Admit it as one of an unknown device."""
        return super().__call__(replace(login_request, proved=None), *arguments, **named)


class GrantsForEver(MemoryOneTime):
    """Spends a grant, by whatever password it was proved."""

    def consume_grant(self, grant: str, *, credentials_version: int, **named: Any) -> GrantUsed | Refused:
        """Take it for one of the present password."""
        return super().consume_grant(grant, credentials_version=self._tables.grants[grant].credentials_version, **named)


class TriesAgain(ChangePassword, frozen=True):
    """Changes the password once more where the first try finds that it was changed."""

    def __call__(self, caller: Caller, new_password: str) -> None:
        """Look at the account state again, and take the proof for one of the present password."""
        try:
            super().__call__(caller, new_password)
        except GrantInvalid:
            super().__call__(replace(caller, account_state=self.lineage_store.get(caller.account)), new_password)


def consume_grants_for_ever(deployment: Deployment) -> None:
    """Plant ``GrantsForEver``."""
    cast("Stepping", deployment.stores.ephemeral).port = GrantsForEver(deployment.stores.tables)


def try_again(deployment: Deployment) -> None:
    """Plant ``TriesAgain``."""
    right = deployment.world.change_password
    deployment.world.change_password = TriesAgain(**structs.asdict(right))


def keep_the_secret(deployment: Deployment) -> None:
    """Plant ``KeepsTheSecret``."""
    right = deployment.world._login
    deployment.world._login = replace(right, admit=KeepsTheSecret(**structs.asdict(right.admit)))


class RevivingLineageStore(BrokenLineageStore):
    """Disables and enables by the status alone: what lived before lives again."""

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Leave the epoch as it is."""
        account_state = self._tables.lineages[account]
        self._tables.lineages[account] = replace(
            account_state, status=status, raised=Ended(now, EndReason.ENDED_EVERYWHERE)
        )
        return Done()


class AnswersFirst(EndReused, frozen=True):
    """Leaves the end to something that runs later, if it lives so long, so that reuse is answered first."""

    def __call__(self, proved: VerifiedToken, message: Message, **facts: Any) -> Done | Refused:
        """End in the background."""
        scheduler = cast("Any", self.lineage_store)._deployment.scheduler
        end = super().__call__
        if scheduler is None or scheduler.holder is None:
            return end(proved, message, **facts)

        def in_the_background() -> None:
            """End it: whoever asked has had their answer, so a crash is nobody's news."""
            with contextlib.suppress(Crashed):
                end(proved, message, **facts)

        if not scheduler.fault("crash before the end is written"):
            scheduler.enter("end in the background", in_the_background)
        return Done()


def answer_first(deployment: Deployment) -> None:
    """Plant ``AnswersFirst``."""
    right = deployment.world._exchange
    end = right.end_reused
    deployment.world._exchange = replace(right, end_reused=AnswersFirst(**structs.asdict(end)))


class ForgetfulClient(Cast):
    """Breaks rule 1: makes a new attempt for the same token whenever it sends."""

    def exchanged(self, name: str, record: Record) -> Any:
        """Forget the attempt."""
        assert self.runner.attempt is not None
        return super().exchanged(name, dataclasses.replace(record, attempt=self.runner.attempt()))


class OverwritingClient(Cast):
    """Breaks rule 3: stores an answer whatever is stored by now."""

    def replaced(self, name: str, parent: Record, child: Record | None) -> Record | None:
        """Store it."""
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
