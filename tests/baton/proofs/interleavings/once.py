"""Scenes of an exactly-once call: it is sent several times, and the steps run in every order, with faults.

Each request of the call is a *sending*: it calls the store a few times, and its view has one effect. A fault can
happen at each step: the server crashes, a write fails before or after its effect, botocore sends it twice, or an
attempt arrives late, after steps of other sendings or even in the next phase. A view may also end without an effect.

Sendings are grouped into *phases*. Between two phases, Lambda has stopped every run of the earlier phase. A run that
has not ended by then has crashed. Within a phase, clocks and arrivals differ by up to 19 seconds: the longest time for
which a run on another server may still be active.

After the last phase, one more sending without faults checks the result.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from chalicelib.baton import errors
from chalicelib.baton.effects import Done
from chalicelib.baton.http.once import REPLAYED, RenderedAnswer, RunOnce
from chalicelib.baton.keys.rotation import make_ring
from chalicelib.baton.policy import DAY_S, ONCE_RUN_MAX_S, REQUEST_MAX_S
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.proof.refusals import CallInProgress, CallOutcomeUnknown, IdempotencyKeyReused
from chalicelib.baton.routing import Message
from chalicelib.baton.testing.contract.values import ACCOUNT
from chalicelib.baton.tokens.refusals import GrantInvalid
from tests.baton.memory import GivenKeyRing, MemoryLog
from tests.baton.proofs.interleavings.deployment import Crashed
from tests.baton.proofs.interleavings.scheduler import Call, Course, Presenter, Refuted, Scheduler
from tests.baton.world import START

SAME: Final = "the same request"
OTHER: Final = "another request with the same key"
CLOCKS: Final = (5, 0, ONCE_RUN_MAX_S - 1)
"""The start of each sending of a phase, in seconds. The clock of the second server is 5 seconds behind, and the third
sending is later."""
BETWEEN: Final = CLOCKS[2] + REQUEST_MAX_S
"""The time between two phases, in seconds."""

FAULTS_OF_A_WRITE: Final = ("fails before", "fails after", "is sent twice", "arrives again late", "fails, arrives late")
MUCH_LATER: Final = "fails, arrives in the next phase"
NO_EFFECT: Final[dict[str, type[errors.Refusal]]] = {
    "try again": errors.TryAgain,
    "the grant is refused": GrantInvalid,
    "not found": errors.NotFound,
    "its store fails before": errors.Unavailable,
}
FAULTS_OF_A_VIEW: Final = ("crash", *NO_EFFECT, "its store fails after")
HARMLESS: Final = {"try again", "the grant is refused", "not found", "is sent twice"}
"""Faults after which a call always gets an answer in the end."""

_numbers = count()
_ring = make_ring(lambda length: hashlib.shake_128(b"ring").digest(length), now=START - DAY_S)


@dataclass(frozen=True, slots=True)
class Plan:
    """The sendings of a scene: the body of each sending, by phase."""

    phases: tuple[tuple[str, ...], ...]
    retry_safe: bool = False

    def __str__(self) -> str:
        """Return the name of the plan."""
        sizes = "+".join(str(len(phase)) for phase in self.phases)
        other = ", one other" if any(OTHER in phase for phase in self.phases) else ""
        return f"{sizes}{other}{', retry safe' if self.retry_safe else ''}"


@dataclass(slots=True)
class Effect:
    """An effect of the view: its sending and its phase."""

    sending: str
    phase: int


class Stepping:
    """A store whose calls are steps."""

    def __init__(self, stage: "Stage", store: OnceStore) -> None:
        """Wrap a store."""
        self._stage, self._store = stage, store

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        """Return the verb, as a step."""
        carry_out = getattr(self._store, verb)
        return lambda key, **named: self._stage.write(verb, lambda: carry_out(key, **named))


@dataclass(eq=False)
class Stage:
    """One schedule: the store, the flow over it, and the record of the run."""

    course: Course
    store: OnceStore
    plan: Plan
    faults: int
    scheduler: Scheduler | None = None
    phase: int = 0
    now: int = START
    effects: list[Effect] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    befell: list[str] = field(default_factory=list)
    late: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    """Attempts that arrive in the next phase."""
    runs: str = ""
    """The name of the request whose view began last."""
    stored_by: str = ""
    """The name of the request whose answer is stored."""
    given: dict[str, RenderedAnswer] = field(default_factory=dict)
    """The rendered answer or refusal of each request, by its name."""

    def __post_init__(self) -> None:
        """Create the flow, with a key that no other schedule uses."""
        self.drawn = Counter[str]()
        self.key = f"schedule-{next(_numbers):016d}"
        self.sends: dict[str, str] = {}
        self.once = RunOnce(
            store=Stepping(self, self.store),
            key_ring=GivenKeyRing(_ring),
            clock=lambda: self.now,
            entropy=self.entropy,
            log=MemoryLog(),
        )

    # Order of the steps

    def play(self) -> None:
        """Run all phases, and check the result."""
        for phase, sendings in enumerate(self.plan.phases):
            self.phase = phase
            self.scheduler = Scheduler(self.course, self.faults, self._turn, self.steps)
            for number, sent in enumerate(sendings):
                name = f"sending {self.phase + 1}.{number + 1}"
                self.sends[name] = sent
                self.scheduler.enter(name, lambda name=name: self._send(name))  # type: ignore[misc] # the default binds the present value
            late, self.late = self.late, []
            for verb, made in late:
                self.scheduler.enter(f"much later {verb}", lambda verb=verb, made=made: self._late(verb, made))  # type: ignore[misc] # the default binds the present value
            self.scheduler.run()
            self.faults = self.scheduler.faults_left
        self.scheduler, self.phase = None, len(self.plan.phases)
        self.now = START + self.phase * BETWEEN + CLOCKS[0]
        self.sends["the end"] = SAME
        outcome = self._send("the end")
        if set(self.befell) <= HARMLESS and all(sent == SAME for sent in self.sends.values()):
            assert isinstance(outcome, RenderedAnswer), f"no answer in the end, but {type(outcome).__name__}"

    def _turn(self, presenter: Presenter) -> None:
        self.now = START + self.phase * BETWEEN + CLOCKS[presenter.place % len(CLOCKS)]

    def entropy(self, length: int) -> bytes:
        """Draw bytes that are unique, and that do not depend on the order of other draws."""
        self.drawn[self.name] += 1
        return hashlib.shake_128(f"{self.key} {self.name} {self.drawn[self.name]}".encode()).digest(length)

    @property
    def name(self) -> str:
        """Return the name of the running sending."""
        return self.scheduler.holder.name if self.scheduler and self.scheduler.holder else "the end"

    # Sendings

    def _send(self, name: str) -> RenderedAnswer | errors.Refusal | None:
        sent = self.sends[name]
        body = b"{}" if sent == SAME else b"[]"
        fields = {"idempotency-key": (self.key,)}
        message = Message("POST", "api.example.com", "/api/orders", (), fields, body)
        try:
            answer = self.once.run(
                ACCOUNT,
                message,
                self._view,
                route="/orders",
                render=self._rendered,
                retry_safe=self.plan.retry_safe,
            )
        except Crashed:
            return None
        except errors.Refusal as refusal:
            self._note(f"is answered {refusal.code}")
            self._check_refusal(name, refusal)
            return refusal
        self._note(f"is answered {answer.status}, {answer.body.decode()}")
        self._check_answer(name, answer)
        return answer

    def _view(self) -> RenderedAnswer:
        name = self.name
        assert not self.stored_by, f"a view runs after the answer of {self.stored_by} was stored"
        self.runs = name
        ending = self._step("view", frozenset({"the world"}), writes=True, kinds=FAULTS_OF_A_VIEW)
        if ending == "crash":
            raise Crashed
        if ending in NO_EFFECT:
            raise NO_EFFECT[ending]
        self.effects.append(Effect(name, self.phase))
        self._check_effects()
        if ending:
            raise errors.Unavailable("its store, after the effect")
        self.given[name] = RenderedAnswer(201, {}, ("a=1",), f"made by {name}".encode())
        return self.given[name]

    def _rendered(self, refusal: errors.Refusal) -> RenderedAnswer:
        self.given[self.name] = RenderedAnswer(refusal.status, {}, (), f"{refusal.code} for {self.name}".encode())
        return self.given[self.name]

    # Writes of the store

    def write(self, verb: str, carry_out: Callable[[], Any]) -> Any:
        """Make one call of the store when the scheduler selects it, with the faults of this step."""
        name = self.name

        def made() -> Any:
            answer = carry_out()
            if verb == "store" and isinstance(answer, Done):
                assert self.stored_by in {"", name}, "an answer was replaced"
                assert self.runs == name, "the answer of a sending that had lost the call is stored"
                self.stored_by = name
            return answer

        crash = () if verb == "claim" else ("crash",)  # a crash before the claim equals no sending
        much_later = (MUCH_LATER,) if self.phase + 1 < len(self.plan.phases) else ()
        kinds = (*crash, *FAULTS_OF_A_WRITE, *much_later)
        fault = self._step(verb, frozenset({"the call"}), writes=True, kinds=kinds)
        if fault == "crash":
            raise Crashed
        if fault == "fails before":
            raise errors.Unavailable(fault)
        if fault in {"arrives again late", "fails, arrives late"}:
            assert self.scheduler is not None
            self.scheduler.enter(f"late {verb}", lambda: self._late(verb, made))
        if fault == MUCH_LATER:
            self.late.append((verb, made))
        if fault in {"fails, arrives late", MUCH_LATER}:
            raise errors.Unavailable(fault)
        answer = made()
        if fault == "fails after":
            raise errors.Unavailable(fault)
        if fault == "is sent twice":
            self._step(f"{verb}, sent again", frozenset({"the call"}), writes=True)
            answer = made()
        return answer

    def _late(self, verb: str, made: Callable[[], Any]) -> None:
        self._step(f"{verb}, late", frozenset({"the call"}), writes=True)
        made()

    def _step(self, name: str, places: frozenset[str], *, writes: bool, kinds: tuple[str, ...] = ()) -> str:
        if self.scheduler is None:
            return ""
        self.scheduler.step(Call(name, places, writes))
        fault = self.scheduler.fault(*kinds) or ""
        if fault:
            self.befell.append(fault)
        return fault

    def _note(self, what: str) -> None:
        if self.scheduler:
            self.scheduler.note(what)

    # Invariants

    def _check_effects(self) -> None:
        """Require one effect in total. If the route is safe to run again, require at most one effect in each phase."""
        effects = Counter(effect.phase for effect in self.effects)
        assert max(effects.values()) == 1, f"two effects in one phase: {self.effects}"
        assert self.plan.retry_safe or len(self.effects) == 1, f"two effects: {self.effects}"

    def _check_answer(self, name: str, answer: RenderedAnswer) -> None:
        """Require the answer of this sending, or exactly the stored answer to the same request."""
        if REPLAYED not in answer.headers:
            assert answer == self.given[name], "the answer of another sending"
            return
        first = self.given[self.stored_by]
        assert (answer.status, answer.cookies, answer.body) == (first.status, first.cookies, first.body), "wrong replay"
        assert answer.headers == {**first.headers, REPLAYED: "1"}
        assert self.sends[name] == self.sends[self.stored_by], "the answer to another request"

    def _check_refusal(self, name: str, refusal: errors.Refusal) -> None:
        """Require that the refusal of a call is true."""
        if isinstance(refusal, IdempotencyKeyReused):
            assert len(set(self.sends.values())) > 1, "the key counts as reused, but all sendings have the same body"
        if isinstance(refusal, CallInProgress | CallOutcomeUnknown):
            assert name not in self.given, "the view of this sending ran, but the answer names another run"
        if isinstance(refusal, CallOutcomeUnknown):
            assert not self.plan.retry_safe, "the view may run again, but the call is refused"


def scene(plan: Plan, store: Callable[[], OnceStore], *, faults: int) -> Callable[[Course], None]:
    """Make a scene: a function that runs one schedule, and raises ``Refuted`` if an invariant fails."""

    def play(course: Course) -> None:
        stage = Stage(course, store(), plan, faults)
        try:
            stage.play()
        except AssertionError as broken:
            raise Refuted(str(broken), course.decisions, stage.steps) from broken

    return play
