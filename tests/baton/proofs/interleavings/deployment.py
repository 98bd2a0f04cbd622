"""A deployment whose every port call is a step, and a chronicle of what it answered, held against the promises."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from chalicelib.baton import errors
from chalicelib.baton.effects import Done
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import AccountState, EndReason, KeyBinding, Status
from chalicelib.baton.lineages.rules import Exchanged
from chalicelib.baton.storage.memory.tables import MemoryTables
from tests.baton.memory import MemoryStores
from tests.baton.proofs.engines.history import Operation
from tests.baton.proofs.interleavings.model import Account, Asked, contradiction
from tests.baton.proofs.interleavings.scheduler import Call, Presenter, Scheduler
from tests.baton.proofs.relay.runner import Record
from tests.baton.world import START, World

T = TypeVar("T")
TABLES = [column.name for column in fields(MemoryTables) if column.default_factory is dict]
READS = frozenset({"find", "get"})
DECIDING = ("lineage_store.", "users.change_password")
"""The calls by which a journey's outcome is decided: the last of them it made is when it took effect."""


class Crashed(BaseException):
    """The server died in the middle of a journey."""


class Stepping:
    """A port each of whose calls is a step, may be the last before a crash, and may be sent twice by botocore."""

    def __init__(self, name: str, port: object, deployment: "Deployment") -> None:
        """Stand before a port."""
        self._name, self.port, self._deployment = name, port, deployment

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        """Give the verb, as a step."""
        carry_out = getattr(self.port, verb)

        def call(*arguments: Any, **named: Any) -> Any:
            return self._deployment.call(self._name, verb, carry_out, arguments, named)

        return call


class Stores(MemoryStores):
    """The stores in memory, with a step before every call of account states, users and ephemeral."""

    def stepping(self, deployment: "Deployment") -> None:
        """Put the steps in."""
        for name in ("users", "lineage_store", "ephemeral"):
            setattr(self, name, Stepping(name, getattr(self, name), deployment))


@dataclass(frozen=True, slots=True)
class Success:
    """Something that was let in: what it was, for which lineage, and the step at which that was decided."""

    journey: str
    lineage: LineageId
    at: int


@dataclass(slots=True)
class Chronicle:
    """What happened in one schedule, and what the promises say about it."""

    children: dict[tuple[LineageId, int], set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    successes: list[Success] = field(default_factory=list)
    over: dict[LineageId, tuple[int, str]] = field(default_factory=dict)
    """Lineages of which an answer has said that they are over, and since when."""
    closed: list[tuple[int, int | None]] = field(default_factory=list)
    """From when to when the account was disabled: from an answer that says so, to a request that enables it."""
    status_asked: Status = Status.ACTIVE
    password_changed: int | None = None
    seen_dead: set[LineageId] = field(default_factory=set)
    operations: list[Operation] = field(default_factory=list)
    """What was asked and answered, in the model's words, and the first and last calls of each on the account."""
    ended_on_request: set[LineageId] = field(default_factory=set)
    """Lineages that somebody entitled to it has asked to end: their devices may be told to log in."""

    def asked_to_end(
        self, verb: str, arguments: tuple[Any, ...], named: dict[str, Any], account_state: AccountState, at: int
    ) -> set[LineageId]:
        """Note which lineages a call is meant to end, whatever it does."""
        ending = set[LineageId]()
        if (verb == "end" and arguments[2] is not EndReason.REUSE) or verb == "end_device":
            ending = {arguments[1]}
        elif verb in {"end_all", "delete"} or (verb == "set_status" and arguments[1] is not Status.ACTIVE):
            ending = set(account_state.lineages)
        elif verb == "change_password":
            ending = account_state.lineages.keys() - {arguments[0].lineage}
        elif verb == "add_lineage":
            ending = {one.id for one in named["replaced"]}
        if verb == "set_status":
            self.status_asked = arguments[1]
            if self.status_asked is Status.ACTIVE:
                self.closed = [(since, until or at) for since, until in self.closed]
        self.ended_on_request |= ending
        return ending

    def watch(self, account_state: AccountState) -> None:
        """Hold the state against what it was: ended never becomes active again, and a key has one login at most."""
        alive = live_in(account_state)
        assert not alive & self.seen_dead, "an ended lineage is active again"
        self.seen_dead |= set(account_state.lineages) - alive
        bindings = [account_state.lineages[lineage].binding for lineage in alive]
        keys = [binding for binding in bindings if isinstance(binding, KeyBinding)]
        assert len(keys) == len(set(keys)), "a key has two live logins"

    def say_over(self, lineages: Iterable[LineageId], why: str, at: int) -> None:
        """Note that an answer has gone out by which these lineages are over."""
        for lineage in lineages:
            self.over.setdefault(lineage, (at, why))

    def check(self) -> None:
        """Hold what happened against the promises."""
        for (lineage, generation), children in self.children.items():
            assert len(children) == 1, f"generation {generation} of {lineage} has {len(children)} children"
        for success in self.successes:
            at, why = self.over.get(success.lineage, (success.at, ""))
            assert success.at <= at, f"{success.journey} succeeded at {success.at}, after {why} was answered at {at}"
            if success.journey == "login":
                changed = self.password_changed
                assert changed is None or success.at <= changed, "the old password opens after its change was answered"
                for disabled, enabled in self.closed:
                    shut = disabled < success.at and (enabled is None or success.at < enabled)
                    assert not shut, "a login into a disabled account"


class Deployment:
    """A world that can be put back to its beginning, and steps at every port call while a schedule runs."""

    def __init__(self) -> None:
        """Build it."""
        self.scheduler: Scheduler | None = None
        self.chronicle = Chronicle()
        self._drawn: Counter[str] = Counter()
        self.stores = Stores()
        self.stores.stepping(self)
        # Without throttles: their counters are nobody's decision about a lineage, and steps cost schedules.
        self.world = World(limits=False, stores=self.stores, entropy=self.entropy)
        self.storages: dict[str, Record | None] = {}
        self._decided_at: dict[Presenter | None, int] = {}
        self._calls: dict[Presenter | None, int] = {}
        self._ending: dict[Presenter | None, set[LineageId]] = {}
        self._window: dict[Presenter | None, tuple[int, int]] = {}
        self._twice = set[Presenter | None]()
        self._made = 0

    # The beginning

    def keep(self) -> None:
        """Remember how everything stands: every schedule begins here."""
        self._kept = (_copied(self.stores.tables), dict(self.storages))
        self.start = Account(*self._look(), known=frozenset(self.account_state.lineages))

    def restore(self, scheduler: Scheduler) -> None:
        """Put everything back, and let this schedule decide."""
        tables, self.storages = _copied(self._kept[0]), dict(self._kept[1])
        for name in TABLES:
            setattr(self.stores.tables, name, getattr(tables, name))
        self.world.log.recorded.clear()
        self.world.clock.now = START
        self.chronicle = Chronicle()
        self._drawn.clear()
        self._made = 0
        for kept in (self._decided_at, self._calls, self._ending, self._window, self._twice):
            kept.clear()
        self.scheduler = scheduler
        scheduler.turn = self._turn

    def _turn(self, presenter: Presenter) -> None:
        """Servers' clocks differ: whoever is served by another sees another second. Time orders nothing."""
        self.world.clock.now = START + 7 * presenter.place

    def entropy(self, length: int) -> bytes:
        """Draw bytes that nobody else draws, and that the order of others does not change."""
        name = self.scheduler.holder.name if self.scheduler and self.scheduler.holder else ""
        self._drawn[name] += 1
        return hashlib.shake_128(f"{name} {self._drawn[name]}".encode()).digest(length)

    # Steps

    @property
    def decided_at(self) -> int:
        """Tell at which step the journey of whoever is awake last asked or wrote what decides."""
        return self._decided_at.get(self.scheduler.holder if self.scheduler else None, self.now)

    @property
    def account_state(self) -> AccountState:
        """Give the one account state there is."""
        (account_state,) = self.stores.tables.lineages.values()
        return account_state

    @property
    def now(self) -> int:
        """Tell how many steps were made."""
        return len(self.scheduler.steps) if self.scheduler else 0

    def call(
        self, port: str, verb: str, made: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """Make one call of a port, when its turn comes, and with what may befall it."""
        scheduler, name = self.scheduler, f"{port}.{verb}"
        if scheduler is None:
            return made(*arguments, **named)

        written = False

        def carry_out() -> Any:
            if name.startswith(DECIDING) and not written:
                self._decided_at[holder] = self.now
            ending = self.chronicle.asked_to_end(verb, arguments, named, self.account_state, self.now)
            if port != "ephemeral":
                self._made += 1
                self._window[holder] = (self._window.get(holder, (self._made, 0))[0], self._made)
            before = self._standing()
            try:
                return made(*arguments, **named)
            finally:
                changed = self._standing() != before
                scheduler.course.made(call, changed=changed)
                # A second sending that is recognised ends nothing that began since.
                if changed or verb not in {"end_all", "delete", "set_status"}:
                    self._ending.setdefault(holder, set()).update(ending)

        holder, writes = scheduler.holder, verb not in READS
        call = Call(name, _places(port, verb, arguments), writes)
        scheduler.step(call)
        first = self._calls.get(holder, 0) == 0
        self._calls[holder] = 1
        # A crash before the first call of all is a lost request: decided where it is sent.
        kinds = ([] if first else ["crash"]) + (["sent twice by botocore"] if writes else [])
        fault = scheduler.fault(*kinds)
        if fault == "crash":
            scheduler.course.made(call, changed=False)
            raise Crashed
        if fault:
            self._twice.add(holder)
            # What the first sending has written took effect then, whatever the second is told.
            written = isinstance(carry_out(), Done | Exchanged | None)
            self.chronicle.watch(self.account_state)
            scheduler.step(call)
        answer = carry_out()
        if port != "ephemeral":
            self.chronicle.watch(self.account_state)
        if holder and type(answer).__name__ not in {"NoneType", "User", "AccountState", "str"}:
            scheduler.steps[-1] += f": {type(answer).__name__}"
        return answer

    def _standing(self) -> tuple[object, ...]:
        """Tell one state of the tables from another: what stands in them is never changed, only replaced."""
        tables = self.stores.tables
        grants = [grant.spent_by for grant in tables.grants.values()]
        return (
            *map(id, tables.users.values()),
            *map(id, tables.lineages.values()),
            *tables.nonces,
            *tables.tickets,
            *grants,
        )

    def send(
        self,
        journey: Callable[[], T],
        *,
        asked: Asked,
        lineage: LineageId | None = None,
        told: Callable[[T, int], None],
    ) -> T | errors.Refusal | None:
        """Carry a request to the server and its answer back. ``None``: whatever happened, no answer came.

        ``told`` is told of every success and when it was decided, whether its answer arrives or not.
        """

        def served() -> T | errors.Refusal:
            holder = self.scheduler.holder if self.scheduler else None
            self._calls[holder], self._ending[holder] = 0, set()
            self._window.pop(holder, None)
            self._twice.discard(holder)
            try:
                answer = journey()
            except errors.Refusal as refusal:
                self._note(asked, refusal)
                self._refused(refusal, lineage)
                return refusal
            except Crashed:
                self._note(asked, None)
                raise
            self._note(asked, answer)
            self.chronicle.say_over(self._ending.get(holder, ()), "the end of it", self.now)
            told(answer, self.decided_at)
            return answer

        scheduler = self.scheduler
        if scheduler is None:
            return served()
        fault = scheduler.fault("request lost", "request late, after the sender gave up")
        if fault == "request lost":
            return None
        if fault:
            scheduler.enter("late request", lambda: _or_a_crash(served))
            return None
        answer = _or_a_crash(served)
        if answer is None or scheduler.fault("answer lost"):
            return None
        return answer

    def _note(self, asked: Asked, answer: object) -> None:
        """Note what was asked and answered, and when it can have taken effect: between its calls on the account.

        That is all the time in which a request sees or changes anything that others see.
        """
        holder = self.scheduler.holder if self.scheduler else None
        if holder not in self._window:
            return
        first, last = self._window[holder]
        who = holder.name if holder else "afterwards"
        for what, told in asked.heard(answer, twice=holder in self._twice):
            self.chronicle.operations.append(Operation(who, what.verb, {"asked": what}, first, last, told))

    def explain(self) -> None:
        """Require an order that explains what was asked and answered, and how the account stands after it."""
        now = self._made + 1
        last = Operation("the end", "look", {"asked": Asked("look")}, now, now, self._look())
        against = contradiction(self.start, [*self.chronicle.operations, last])
        assert against is None, against

    def _look(self) -> tuple[frozenset[LineageId], int, Status]:
        return live_in(self.account_state), self.account_state.credentials_version, self.account_state.status

    def _refused(self, refusal: errors.Refusal, lineage: LineageId | None) -> None:
        """Note a refusal before it leaves. What is told to be over is over from here on."""
        if self.scheduler:
            self.scheduler.note(f"is answered {refusal.code}")
        if lineage and refusal.action == "log_in":
            self.chronicle.say_over([lineage], refusal.code, self.now)


def live_in(account_state: AccountState) -> frozenset[LineageId]:
    """Tell which lineages of an account state are live, as far as time has nothing to do with it."""
    return frozenset(
        lineage.id
        for lineage in account_state.lineages.values()
        if account_state.status is Status.ACTIVE and lineage.ended is None and lineage.epoch == account_state.epoch
    )


def _or_a_crash(served: Callable[[], T]) -> T | None:
    try:
        return served()
    except Crashed:
        return None


def _places(port: str, verb: str, arguments: tuple[Any, ...]) -> frozenset[str]:
    """Name what a call touches: two tables here, and each nonce and grant by itself."""
    if port == "ephemeral":
        return frozenset({f"{verb.partition('_')[2]} {arguments[:2]}"})
    return frozenset({"users", "lineage_store"} if verb in {"register", "change_password"} else {port})


def _copied(tables: MemoryTables) -> MemoryTables:
    copied = {name: getattr(tables, name).copy() for name in TABLES}
    copied["grants"] = {name: replace(grant) for name, grant in tables.grants.items()}
    return MemoryTables(**copied)
