"""A deployment in which every port call is a step, and a record of its answers for a check of the guarantees."""

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
"""The calls that decide the result of a flow. The last of these calls is the time at which the flow took effect."""


class Crashed(BaseException):
    """The server crashed in the middle of a flow."""


class Stepping:
    """A port whose calls are steps. The server may crash after a call, and botocore may send a call twice."""

    def __init__(self, name: str, port: object, deployment: "Deployment") -> None:
        """Wrap a port."""
        self._name, self.port, self._deployment = name, port, deployment

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        """Return the verb, as a step."""
        carry_out = getattr(self.port, verb)

        def call(*arguments: Any, **named: Any) -> Any:
            return self._deployment.call(self._name, verb, carry_out, arguments, named)

        return call


class Stores(MemoryStores):
    """The memory stores, with a step before each call of account states, users and ephemeral."""

    def stepping(self, deployment: "Deployment") -> None:
        """Wrap the ports."""
        for name in ("users", "lineage_store", "ephemeral"):
            setattr(self, name, Stepping(name, getattr(self, name), deployment))


@dataclass(frozen=True, slots=True)
class Success:
    """A successful request: its kind, its lineage, and the step that decided it."""

    journey: str
    lineage: LineageId
    at: int


@dataclass(slots=True)
class Chronicle:
    """The record of one schedule, and its check against the guarantees."""

    children: dict[tuple[LineageId, int], set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    successes: list[Success] = field(default_factory=list)
    over: dict[LineageId, tuple[int, str]] = field(default_factory=dict)
    """Lineages that an answer has reported as ended, and the step of this answer."""
    closed: list[tuple[int, int | None]] = field(default_factory=list)
    """The periods in which the account was disabled: from the answer that reports it to the request that enables it."""
    status_asked: Status = Status.ACTIVE
    password_changed: int | None = None
    seen_dead: set[LineageId] = field(default_factory=set)
    operations: list[Operation] = field(default_factory=list)
    """The requests and answers as operations of the model, with the first and last account call of each."""
    ended_on_request: set[LineageId] = field(default_factory=set)
    """Lineages whose end was requested by an authorized party. Their devices may be told to log in."""

    def asked_to_end(
        self, verb: str, arguments: tuple[Any, ...], named: dict[str, Any], account_state: AccountState, at: int
    ) -> set[LineageId]:
        """Record the lineages that a call must end, whatever its result."""
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
        """Compare two states: an ended login never becomes active again, and a key has at most one active login."""
        alive = live_in(account_state)
        assert not alive & self.seen_dead, "an ended lineage is active again"
        self.seen_dead |= set(account_state.lineages) - alive
        bindings = [account_state.lineages[lineage].binding for lineage in alive]
        keys = [binding for binding in bindings if isinstance(binding, KeyBinding)]
        assert len(keys) == len(set(keys)), "a key has two live logins"

    def say_over(self, lineages: Iterable[LineageId], why: str, at: int) -> None:
        """Record that an answer reports these lineages as ended."""
        for lineage in lineages:
            self.over.setdefault(lineage, (at, why))

    def check(self) -> None:
        """Check the record against the guarantees."""
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
    """A deployment that can be reset, and that takes a step at each port call while a schedule runs."""

    def __init__(self) -> None:
        """Build the deployment."""
        self.scheduler: Scheduler | None = None
        self.chronicle = Chronicle()
        self._drawn: Counter[str] = Counter()
        self.stores = Stores()
        self.stores.stepping(self)
        # Without rate limits: their counters decide nothing about a lineage, and each step multiplies the schedules.
        self.world = World(limits=False, stores=self.stores, entropy=self.entropy)
        self.storages: dict[str, Record | None] = {}
        self._decided_at: dict[Presenter | None, int] = {}
        self._calls: dict[Presenter | None, int] = {}
        self._ending: dict[Presenter | None, set[LineageId]] = {}
        self._window: dict[Presenter | None, tuple[int, int]] = {}
        self._twice = set[Presenter | None]()
        self._made = 0

    # Initial state

    def keep(self) -> None:
        """Store the present state: every schedule starts from it."""
        self._kept = (_copied(self.stores.tables), dict(self.storages))
        self.start = Account(*self._look(), known=frozenset(self.account_state.lineages))

    def restore(self, scheduler: Scheduler) -> None:
        """Restore the stored state, and use this scheduler."""
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
        """Set the clock of the next server: the clocks differ. No order may depend on the time."""
        self.world.clock.now = START + 7 * presenter.place

    def entropy(self, length: int) -> bytes:
        """Draw bytes that are unique, and that do not depend on the order of other draws."""
        name = self.scheduler.holder.name if self.scheduler and self.scheduler.holder else ""
        self._drawn[name] += 1
        return hashlib.shake_128(f"{name} {self._drawn[name]}".encode()).digest(length)

    # Steps

    @property
    def decided_at(self) -> int:
        """Return the step of the last deciding call in the flow of the running client."""
        return self._decided_at.get(self.scheduler.holder if self.scheduler else None, self.now)

    @property
    def account_state(self) -> AccountState:
        """Return the only account state."""
        (account_state,) = self.stores.tables.lineages.values()
        return account_state

    @property
    def now(self) -> int:
        """Return the number of completed steps."""
        return len(self.scheduler.steps) if self.scheduler else 0

    def call(
        self, port: str, verb: str, made: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """Make one call of a port when the scheduler selects it, with the faults of this step."""
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
                # A recognised second sending ends nothing that began in the meantime.
                if changed or verb not in {"end_all", "delete", "set_status"}:
                    self._ending.setdefault(holder, set()).update(ending)

        holder, writes = scheduler.holder, verb not in READS
        call = Call(name, _places(port, verb, arguments), writes)
        scheduler.step(call)
        first = self._calls.get(holder, 0) == 0
        self._calls[holder] = 1
        # A crash before the first call is a lost request, which is decided where the request is sent.
        kinds = ([] if first else ["crash"]) + (["sent twice by botocore"] if writes else [])
        fault = scheduler.fault(*kinds)
        if fault == "crash":
            scheduler.course.made(call, changed=False)
            raise Crashed
        if fault:
            self._twice.add(holder)
            # A write of the first sending took effect at that time, whatever the second sending is told.
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
        """Return an identity of the state of the tables: the values in them are never changed, only replaced."""
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
        """Carry a request to the server, and return its answer. ``None``: no answer arrived.

        ``told`` is called for every success with the step that decided it, even if the answer is lost.
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
        """Record a request and its answer, with the period of its effect: between its first and last account call.

        Outside this period, a request neither reads nor changes shared data.
        """
        holder = self.scheduler.holder if self.scheduler else None
        if holder not in self._window:
            return
        first, last = self._window[holder]
        who = holder.name if holder else "afterwards"
        for what, told in asked.heard(answer, twice=holder in self._twice):
            self.chronicle.operations.append(Operation(who, what.verb, {"asked": what}, first, last, told))

    def explain(self) -> None:
        """Require an order that explains all requests, all answers and the final state of the account."""
        now = self._made + 1
        last = Operation("the end", "look", {"asked": Asked("look")}, now, now, self._look())
        against = contradiction(self.start, [*self.chronicle.operations, last])
        assert against is None, against

    def _look(self) -> tuple[frozenset[LineageId], int, Status]:
        return live_in(self.account_state), self.account_state.credentials_version, self.account_state.status

    def _refused(self, refusal: errors.Refusal, lineage: LineageId | None) -> None:
        """Record a refusal before it is sent. A lineage that it reports as ended must stay ended from now on."""
        if self.scheduler:
            self.scheduler.note(f"is answered {refusal.code}")
        if lineage and refusal.action == "log_in":
            self.chronicle.say_over([lineage], refusal.code, self.now)


def live_in(account_state: AccountState) -> frozenset[LineageId]:
    """Return the active lineages of an account state, without time limits."""
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
    """Return the places that a call touches: one of two tables, or one nonce or grant."""
    if port == "ephemeral":
        return frozenset({f"{verb.partition('_')[2]} {arguments[:2]}"})
    return frozenset({"users", "lineage_store"} if verb in {"register", "change_password"} else {port})


def _copied(tables: MemoryTables) -> MemoryTables:
    copied = {name: getattr(tables, name).copy() for name in TABLES}
    copied["grants"] = {name: replace(grant) for name, grant in tables.grants.items()}
    return MemoryTables(**copied)
