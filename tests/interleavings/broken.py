"""Mistakes somebody could make, each planted in a deployment or a client of its own, for the explorer to refute."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from msgspec.structs import replace

from chalicelib.core.lineage import Ahead, Current, Dead, Exchanged, Retry, Reused, Superseded, exchange, judge
from chalicelib.core.model import (
    NO_ATTEMPT,
    AccountId,
    Actor,
    Ended,
    EndReason,
    Gate,
    Lineage,
    LineageId,
    Presented,
    Status,
)
from chalicelib.core.ports import Done, Moved, Refused
from chalicelib.core.signatures import Message
from chalicelib.flows.proof import ProvedToken
from chalicelib.flows.reuse import EndReused
from tests.interleavings.deployment import Deployment, Stepping
from tests.interleavings.roles import Cast, Role
from tests.interleavings.scheduler import Call
from tests.memory import MemoryGates
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

    def deployment(self) -> Deployment:
        """Build a deployment with the mistake in it."""
        deployment = Deployment()
        if self.gates:
            stepping = cast("Stepping", deployment.stores.gates)
            stepping.port = self.gates(deployment)
        self.plant(deployment)
        return deployment


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
        if not scheduler.fault("crash before the end is written"):
            scheduler.enter("end in the background", lambda: end(proved, message, **facts))
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


class ActsForTheEnded(BrokenGates):
    """Deletes and ends without asking whether the login that does it is still live."""

    def delete(self, actor: Actor, *, now: int) -> Done:
        """Delete whatever happened since the caller was admitted."""
        self.set_status(actor.account, Status.DELETED, now=now)
        return Done()

    def end_device(self, actor: Actor, lineage: LineageId, *, now: int) -> Done | Refused:
        """End it whatever happened since."""
        return self.end(actor.account, lineage, EndReason.ENDED_BY_OWNER, now=now)

    def end_all(self, actor: Actor, *, now: int) -> Done:
        """End them whatever happened since."""
        gate = self._tables.gates[actor.account]
        raised = Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
        self._tables.gates[actor.account] = replace(gate, epoch=gate.epoch + 1, raised=raised)
        return Done()


class LeavesTheEarlierLogin(BrokenGates):
    """Admits a login, and leaves what the same key held."""

    def admit(self, lineage: Lineage, *, expected: Gate, **named: Any) -> Done | Moved:
        """End nothing."""
        return super().admit(lineage, expected=expected, **{**named, "replaced": ()})


MISTAKES = {
    "a delete acts for an ended login": Mistake(
        (Role.CHANGE_PASSWORD, Role.DELETE), "was not live", gates=ActsForTheEnded
    ),
    "ending a device acts for an ended login": Mistake(
        (Role.END_ONE, Role.CHANGE_PASSWORD), "after the end of it was answered", gates=ActsForTheEnded
    ),
    "an end of all acts for an ended login": Mistake(
        (Role.END_ALL, Role.END_ALL), "was not live", gates=ActsForTheEnded
    ),
    "a login leaves the one it replaces": Mistake(
        (Role.LOG_IN_AGAIN, Role.RENEW), "after the end of it was answered", gates=LeavesTheEarlierLogin
    ),
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
    "reuse ends nothing": Mistake((Role.RENEW, Role.STEAL), "a copy outlives", gates=NeverRevokes),
    "reuse is answered before it is written": Mistake(
        (Role.RENEW, Role.STEAL), "after token_reused was answered", plant=answer_first, times=2
    ),
    "a crash before the end is written": Mistake((Role.RENEW, Role.STEAL), "a copy outlives", plant=answer_first),
    "end all ends nothing": Mistake((Role.RENEW, Role.END_ALL), "and nothing was", gates=EndsNothing),
    "enabling revives": Mistake((Role.DISABLE,), "active again", gates=RevivingGates),
}
