"""Mistakes somebody could make, each planted in a deployment or a client of its own, for the explorer to refute."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from msgspec.structs import replace

from chalicelib.baton.accounts.login import Login
from chalicelib.baton.accounts.login_request import Introduction
from chalicelib.baton.accounts.password import ChangePassword
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import NO_ATTEMPT, Actor, Ended, EndReason, Gate, Lineage, Presented, Status
from chalicelib.baton.lineages.rules import (
    Ahead,
    Current,
    Dead,
    Exchanged,
    ProofOutdated,
    Retry,
    Reused,
    Superseded,
    exchange,
    judge,
)
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.caller import Caller, StepUp
from chalicelib.baton.tokens.issue import Issued
from chalicelib.baton.tokens.presented import ProvedToken
from chalicelib.baton.tokens.refusals import GrantInvalid
from chalicelib.baton.tokens.reuse import EndReused
from tests.interleavings.deployment import Crashed, Deployment, Stepping
from tests.interleavings.roles import Arrangement, Cast, Role, scene
from tests.interleavings.scheduler import Call, Course
from tests.memory import MemoryEphemeral, MemoryGates
from tests.relay.runner import Record

Verdict = Exchanged | Retry | Superseded | Reused | Ahead | Dead


@dataclass(frozen=True, slots=True)
class Mistake:
    """Who is broken, the smallest scene that shows it, and what the explorer says."""

    roles: tuple[Role, ...]
    refuted_by: str
    gates: "type[BrokenGates] | None" = None
    cast: type[Cast] = Cast
    plant: Callable[[Deployment], None] = lambda _: None
    times: int = 1
    arrangement: Arrangement = Arrangement.APART
    kind: str = "hmac"

    def deployment(self) -> Deployment:
        """Build a deployment with the mistake in it."""
        deployment = Deployment()
        if self.gates:
            stepping = cast("Stepping", deployment.stores.gates)
            stepping.port = self.gates(deployment)
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


class BrokenGates(MemoryGates):
    """Gates to break."""

    def __init__(self, deployment: Deployment) -> None:
        """Keep the tables, and the deployment for further steps."""
        super().__init__(deployment.stores.tables)
        self.deployment = deployment


class ReadThenWrite(BrokenGates):
    """Decides by what was read, and writes without a condition."""

    def exchange(self, presented: Presented, *, now: int, fence: int, idle_s: int) -> Verdict:
        """Read; judge; write."""
        gate = self.get(presented.account)
        verdict = judge(gate, presented, now=now, fence=fence, idle_s=idle_s)
        if gate is None or not isinstance(verdict, Current):
            return cast("Verdict", verdict)
        if self.deployment.scheduler:
            call = Call("gates.put what was read", frozenset({"gates"}), writes=True)
            self.deployment.scheduler.step(call)
        child = exchange(verdict.lineage, presented, now=now)
        self._put(gate, child)
        return Exchanged(child)


class ForgetfulGates(BrokenGates):
    """Does not remember by which attempt a generation was used up."""

    def exchange(self, presented: Presented, *, now: int, fence: int, idle_s: int) -> Verdict:
        """Write another attempt than the one that came."""
        verdict = super().exchange(presented, now=now, fence=fence, idle_s=idle_s)
        if isinstance(verdict, Exchanged):
            self._put(self._tables.gates[presented.account], replace(verdict.lineage, attempts=(NO_ATTEMPT,) * 4))
        return verdict


class EpochBlindExchange(BrokenGates):
    """Exchanges without asking of which epoch a lineage is."""

    def exchange(self, presented: Presented, *, now: int, fence: int, idle_s: int) -> Verdict:
        """Take every lineage for one of this epoch."""
        gate = self._tables.gates[presented.account]
        lineages = {key: replace(one, epoch=gate.epoch) for key, one in gate.lineages.items()}
        self._tables.gates[presented.account] = replace(gate, lineages=lineages)
        return super().exchange(presented, now=now, fence=fence, idle_s=idle_s)


class EpochBlindLogin(BrokenGates):
    """Admits a login without asking whether the epoch is as it was read."""

    def admit(self, lineage: Lineage, *, expected: Gate, **named: Any) -> Done | Moved:
        """Expect whatever there is, of the epoch."""
        there = self._tables.gates[expected.account]
        return super().admit(lineage, expected=replace(expected, epoch=there.epoch), **named)


class VersionBlindLogin(BrokenGates):
    """Admits a login without asking whether the password is still the one that was checked."""

    def admit(self, lineage: Lineage, *, expected: Gate, **named: Any) -> Done | Moved:
        """Expect whatever there is."""
        there = self._tables.gates[expected.account]
        return super().admit(replace(lineage, epoch=there.epoch), expected=there, **named)


class StatusBlindLogin(BrokenGates):
    """Admits a login into an account that was disabled meanwhile."""

    def admit(self, lineage: Lineage, *, expected: Gate, **named: Any) -> Done | Moved:
        """Take the account for active."""
        gates = self._tables.gates
        there = gates[expected.account]
        gates[expected.account] = replace(there, status=Status.ACTIVE)
        done = super().admit(replace(lineage, epoch=there.epoch), expected=there, **named)
        gates[expected.account] = replace(gates[expected.account], status=there.status)
        return done


class NeverRevokes(BrokenGates):
    """Answers reuse, and ends nothing."""

    def end(self, account: AccountId, lineage: LineageId, reason: EndReason, *, now: int) -> Done | Refused:
        """End only what its owner ends."""
        return Done() if reason is EndReason.REUSE else super().end(account, lineage, reason, now=now)


class EndsNothing(BrokenGates):
    """Answers an end before anything is written, and the write never comes."""

    def end_all(self, actor: Actor, *, now: int) -> Done:
        """Write nothing."""
        return Done()


class DeletesForAnybody(BrokenGates):
    """Deletes without asking whether the login that asks for it is live."""

    def delete(self, actor: Actor, *, now: int) -> Done:
        """Delete."""
        self.set_status(actor.account, Status.DELETED, now=now)
        return Done()


class EndsDevicesForAnybody(BrokenGates):
    """Ends a device without asking whether the login that asks for it is live."""

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused:
        """End it."""
        return self.end(actor.account, lineage, EndReason.ENDED_BY_OWNER, now=now)


class EndsAllForAnybody(BrokenGates):
    """Ends all logins without asking whether the one that asks for it is live."""

    def end_all(self, actor: Actor, *, now: int) -> Done:
        """Raise the epoch."""
        gate = self._tables.gates[actor.account]
        self._tables.gates[actor.account] = replace(
            gate, epoch=gate.epoch + 1, raised=Ended(now, EndReason.ENDED_EVERYWHERE)
        )
        return Done()


class VersionBlindDelete(BrokenGates):
    """Deletes on behalf of a live login, by whatever password it was proved."""

    def delete(self, actor: Actor, *, now: int) -> Done | Dead | ProofOutdated:
        """Take the proof for one of the present password."""
        there = self._tables.gates[actor.account]
        return super().delete(replace(actor, verifier_version=there.verifier_version), now=now)


class KeepsEarlierLogins(BrokenGates):
    """Admits a login of a key, and leaves the key's earlier ones alive."""

    def admit(self, lineage: Lineage, *, expected: Gate, replaced: Sequence[Lineage], **named: Any) -> Done | Moved:
        """End none."""
        return super().admit(lineage, expected=expected, replaced=(), **named)


class OverlooksOtherLogins(BrokenGates):
    """Admits a login of a key without asking whether another one came since the gate was read."""

    def admit(self, lineage: Lineage, *, expected: Gate, **named: Any) -> Done | Moved:
        """Expect as many lineages as there are."""
        there = self._tables.gates[expected.account]
        return super().admit(lineage, expected=replace(expected, lineages=there.lineages), **named)


class KeepsTheSecret(Login, frozen=True):
    """Forgets by which login's secret a login was signed."""

    def _admit(self, introduction: Introduction, *arguments: Any, **named: Any) -> Issued:
        return super()._admit(replace(introduction, proved=None), *arguments, **named)


class GrantsForEver(MemoryEphemeral):
    """Spends a grant, by whatever password it was proved."""

    def spend_grant(self, grant: str, *, verifier_version: int, **named: Any) -> StepUp | Refused:
        """Take it for one of the present password."""
        return super().spend_grant(grant, verifier_version=self._tables.grants[grant].verifier_version, **named)


class TriesAgain(ChangePassword, frozen=True):
    """Changes the password once more where the first try finds that it was changed."""

    def __call__(self, caller: Caller, new_password: str) -> None:
        """Look at the gate again, and take the proof for one of the present password."""
        try:
            super().__call__(caller, new_password)
        except GrantInvalid:
            super().__call__(replace(caller, gate=self.gates.get(caller.account)), new_password)


def spend_grants_for_ever(deployment: Deployment) -> None:
    """Plant ``GrantsForEver``."""
    cast("Stepping", deployment.stores.ephemeral).port = GrantsForEver(deployment.stores.tables)


def try_again(deployment: Deployment) -> None:
    """Plant ``TriesAgain``."""
    right = deployment.world.change_password
    deployment.world.change_password = TriesAgain(*(getattr(right, name) for name in ChangePassword.__struct_fields__))


def keep_the_secret(deployment: Deployment) -> None:
    """Plant ``KeepsTheSecret``."""
    right = deployment.world._login
    deployment.world._login = KeepsTheSecret(*(getattr(right, name) for name in Login.__struct_fields__))


class RevivingGates(BrokenGates):
    """Disables and enables by the status alone: what lived before lives again."""

    def set_status(self, account: AccountId, status: Status, *, now: int) -> Done | Refused:
        """Leave the epoch as it is."""
        gate = self._tables.gates[account]
        self._tables.gates[account] = replace(gate, status=status, raised=Ended(now, EndReason.ENDED_EVERYWHERE))
        return Done()


class AnswersFirst(EndReused, frozen=True):
    """Leaves the end to something that runs later, if it lives so long, so that reuse is answered first."""

    def __call__(self, proved: ProvedToken, message: Message, **facts: Any) -> Done | Refused:
        """End in the background."""
        scheduler = cast("Any", self.gates)._deployment.scheduler
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
    deployment.world._exchange = replace(right, end_reused=AnswersFirst(end.gates, end.record))


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
    "read, then write": Mistake((Role.RENEW, Role.STEAL), "children", gates=ReadThenWrite),
    "read, then write, over an end": Mistake((Role.RENEW, Role.END_ONE), "active again", gates=ReadThenWrite),
    "the client forgets its attempt": Mistake((Role.RENEW,), "phone was logged out", cast=ForgetfulClient),
    "the store forgets the attempt": Mistake((Role.RENEW,), "phone was logged out", gates=ForgetfulGates),
    "a second process overwrites": Mistake((Role.RENEW, Role.RENEW), "logged out", cast=OverwritingClient, times=2),
    "an exchange ignores the epoch": Mistake((Role.RENEW, Role.END_ALL), "active again", gates=EpochBlindExchange),
    "a login ignores the epoch": Mistake((Role.LOG_IN, Role.END_ALL), "log in was logged out", gates=EpochBlindLogin),
    "a login ignores the password": Mistake(
        (Role.LOG_IN, Role.CHANGE_PASSWORD), "the old password opens", gates=VersionBlindLogin
    ),
    "a login ignores the status": Mistake((Role.LOG_IN, Role.DISABLE), "disabled account", gates=StatusBlindLogin),
    "reuse ends nothing": Mistake((Role.RENEW, Role.STEAL), NO_ORDER, gates=NeverRevokes),
    "reuse is answered before it is written": Mistake(
        (Role.RENEW, Role.STEAL), "after token_reused was answered", plant=answer_first, times=2
    ),
    "a crash before the end is written": Mistake((Role.RENEW, Role.STEAL), NO_ORDER, plant=answer_first),
    "end all ends nothing": Mistake((Role.RENEW, Role.END_ALL), NO_ORDER, gates=EndsNothing),
    "a delete asks for no live login": Mistake(
        (Role.DELETE, Role.CHANGE_PASSWORD), NO_ORDER, gates=DeletesForAnybody, arrangement=Arrangement.AGAINST
    ),
    "the end of a device asks for no live login": Mistake(
        (Role.END_ONE, Role.END_ONE), NO_ORDER, gates=EndsDevicesForAnybody, arrangement=Arrangement.AGAINST
    ),
    "the end of all asks for no live login": Mistake(
        (Role.END_ALL, Role.CHANGE_PASSWORD), NO_ORDER, gates=EndsAllForAnybody, arrangement=Arrangement.AGAINST
    ),
    "the end of all asks for no live login, beside an end": Mistake(
        (Role.END_ONE, Role.END_ALL), NO_ORDER, gates=EndsAllForAnybody, arrangement=Arrangement.AGAINST
    ),
    "an outdated proof deletes": Mistake(
        (Role.DELETE, Role.CHANGE_PASSWORD), NO_ORDER, gates=VersionBlindDelete, arrangement=Arrangement.TOGETHER
    ),
    "a grant outlives its password": Mistake(
        (Role.DELETE, Role.CHANGE_PASSWORD), NO_ORDER, plant=spend_grants_for_ever, arrangement=Arrangement.TOGETHER
    ),
    "a change of the password is tried again": Mistake(
        (Role.CHANGE_PASSWORD,) * 2, NO_ORDER, plant=try_again, arrangement=Arrangement.TOGETHER
    ),
    "a login leaves its key's earlier ones": Mistake(
        (Role.LOG_IN_AGAIN, Role.RENEW), "two live logins", gates=KeepsEarlierLogins, kind="P-256"
    ),
    "a login leaves the one whose secret signed it": Mistake(
        (Role.LOG_IN_AGAIN, Role.RENEW), NO_ORDER, plant=keep_the_secret
    ),
    "a login overlooks another by its key": Mistake(
        (Role.LOG_IN_BY_KEY,) * 2, "two live logins", gates=OverlooksOtherLogins
    ),
    "enabling revives": Mistake((Role.DISABLE,), "active again", gates=RevivingGates),
}
