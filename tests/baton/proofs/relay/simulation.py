"""Fleets of phones on bad connections, and thieves, over the real flows in simulated time. A seed fixes the history.

A process is a generator that yields the seconds until its next step. The work between two yields is one atomic step, as
for real processes between two messages.
"""

import copy
import hashlib
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.factors import password_hash
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import PresentedToken
from chalicelib.baton.lineages.rules import Ahead, Exchanged, Inactive, Retry, Reused, Superseded
from chalicelib.baton.policy import DAY_S, HOUR_S, MINUTE_S, MechanismName
from chalicelib.baton.proof.refusals import InvalidSignature
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.storage.memory.tables import MemoryTables
from chalicelib.baton.tokens.exchange import TokenRequest
from chalicelib.baton.tokens.issue import TokenResponse
from tests.baton.memory import MemoryStores
from tests.baton.proofs.relay.runner import Pause, Read, Record, Renewing, Replace, Revoke, Runner, Send, SetClock
from tests.baton.world import START, Phone, World

Process = Generator[float, None, None]

OPENED_PER_DAY = 10
"""How often a user opens the app in a day, at times when the app needs a new token."""
TIMEOUT_S = 10.0
LATENCY_S = (0.05, 0.6)
"""The one-way latency of the best and of the worst connection, in seconds."""


class Deal(StrEnum):
    """A refresh mechanism: the five of Baton and, for comparison, how other products handle lost answers."""

    EXCHANGE = "exchange"
    ROTATION = "rotating_refresh"
    GRACE = "rotation with a grace window"
    REFRESH = "refresh"
    SESSION = "session"
    LONG_LIVED = "long_lived"


CLIENT_OF = {
    Deal.EXCHANGE: "mobile-opaque",
    Deal.ROTATION: "oauth",
    Deal.GRACE: "oauth",
    Deal.REFRESH: "legacy",
    Deal.SESSION: "session-api",
    Deal.LONG_LIVED: "iot",
}
"""The client of the registry with this mechanism."""
FIVE = tuple(Deal(name.value) for name in MechanismName)


@dataclass(frozen=True, slots=True)
class Weather:
    """The faults that can happen to a phone. Each value is a probability, for a device-day or for one occasion."""

    answer_lost_per_day: float = 0.0
    """The probability that on a given day at least one renewal answer is lost."""
    tunnel: float = 0.0
    """The probability that the app is opened without a connection for some minutes."""
    second_process: float = 0.0
    """The probability that a widget or a notification starts together with the app."""
    killed: float = 0.0
    """The probability that an app is killed between the answer and its storage."""
    restored_per_day: float = 0.0
    """The probability that on a given day the storage is restored from the backup of the last night."""
    clock_wrong_by_s: int = 0
    """The maximum error of a phone's clock, in both directions."""


CALM = Weather()
CAUSES = {
    "lost answers": Weather(answer_lost_per_day=0.05),
    "tunnels": Weather(tunnel=0.2),
    "second process": Weather(second_process=0.01),
    "app killed": Weather(killed=0.005),
    "wrong clock": Weather(clock_wrong_by_s=2 * HOUR_S),
    "all of it": Weather(0.05, 0.2, 0.01, 0.005, 0.0, 2 * HOUR_S),
}
"""Each fault separately, at the measured rate of a real fleet if there is one (exchange.md: zitadel issue 9631)."""
RESTORED = Weather(restored_per_day=0.05)
"""No guarantee covers this fault: an old record cannot be distinguished from a copy."""


class Theft(StrEnum):
    """The data that a thief has."""

    TOKEN = "token"
    """The token of calls, as every server receives it."""
    STORAGE = "storage"
    """The stored data of the app without the key, which is in the phone's hardware."""
    FULL_COPY = "full copy"
    """All data, with the key."""


class Ruse(StrEnum):
    """The method of a thief."""

    AT_ONCE = "at once"
    """The thief makes the copy at any hour, and uses it immediately."""
    IN_WAIT = "in wait"
    """The thief makes the copy when the owner opens the app, and uses it in parallel."""
    AHEAD = "ahead"
    """The copy is exchanged two to four times before its owner exchanges, the first time with the owner's attempt."""
    BETWEEN = "between"
    """The copy repeats the owner's exchange, and is used until and after the owner's next exchange."""


class GraceLineageStore(MemoryLineageStore):
    """A grace window, as in other products: shortly after a rotation, the old token gets another child."""

    window_s = 30

    def exchange(
        self, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Answer reuse within the window with a branch: a separate lineage, which the server never checks again."""
        verdict = super().exchange(presented, now=now, not_before=not_before, idle_s=idle_s)
        account_state = self._tables.lineages[presented.account]
        lineage = account_state.lineages.get(presented.lineage)
        if not isinstance(verdict, Reused) or lineage is None:
            return verdict
        if lineage.generation - presented.generation > 1 or now - lineage.issued_at > self.window_s:
            return verdict
        name = hashlib.sha256(f"{lineage.id} {len(account_state.lineages)}".encode()).hexdigest()[:14]
        branch = replace(lineage, id=LineageId(f"AQ{name}"))
        self._put(account_state, branch)
        return Exchanged(branch)


@dataclass(eq=False, slots=True)
class Handset:
    """A phone: its key, the error of its clock, and the storage that its processes share."""

    name: str
    phone: Phone
    record: Record | None
    wrong_by_s: int = 0
    offset_s: int = 0
    last_night: Record | None = None
    logged_out: bool = False
    stuck: bool = False
    opened: int = 0
    logouts: int = 0
    is_thief: bool = False
    renewed_at: list[float] = field(default_factory=list)
    logged_in_at: list[float] = field(default_factory=list)

    def stored(self, now: float) -> None:
        """Record a change of the stored record: a child, or the end of the login."""
        self.logged_out = self.record is None
        if self.logged_out:
            self.logouts += 1
        else:
            self.renewed_at.append(now)


@dataclass(slots=True)
class Outcome:
    """The result of a fleet."""

    phones: int
    logged_out: int
    stuck: int
    """Users who at some time were neither accepted nor told to log in: they got ``superseded``, and have no newer
    stored record."""
    renewals: int
    lives_s: list[float]
    """How long each thief was accepted, or has been so far, in seconds."""
    outlived_s: list[float]
    """The time in seconds for which each thief was accepted after the owner's second exchange or next login."""
    owners_logged_out: int
    history: str
    """A digest of all events."""

    @property
    def logged_out_share(self) -> float:
        """The share of honest users who had to log in again. No user is blocked if the app follows rule 8."""
        return self.logged_out / self.phones


@dataclass(eq=False)
class Simulation:
    """One fleet with one mechanism."""

    deal: Deal
    seed: int
    weather: Weather = CALM
    lineage_store: Callable[[MemoryTables], MemoryLineageStore] | None = None
    """Another lineage store, for a seeded fault."""
    forgetful: bool = False
    """A seeded fault: a new attempt for every request."""
    reports_copies: bool = True
    """False is a seeded fault: the app ignores `superseded` and revokes nothing (rule 8)."""
    returning: bool = False
    """A user who was logged out logs in again at the next use of the phone."""

    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Build the world and its random generator."""
        self.dice = random.Random(f"{self.deal} {self.seed}")
        stores = MemoryStores()
        if self.deal is Deal.GRACE:
            stores.lineage_store = GraceLineageStore(stores.tables)
        if self.lineage_store:
            stores.lineage_store = self.lineage_store(stores.tables)
        self.world = World(limits=False, stores=stores, entropy=self.dice.randbytes)
        self.now = float(START)
        self._due: list[tuple[float, int, Process]] = []
        self._order = itertools.count()
        self._history = hashlib.sha256()
        self.handsets: list[Handset] = []
        self.lives_s: dict[str, float] = {}
        self.outlived_s: dict[str, float] = {}
        self.robbed: list[Handset] = []
        self.answer_lost = 1 - (1 - self.weather.answer_lost_per_day) ** (1 / OPENED_PER_DAY)

    # Time

    def begin(self, process: Process, *, after_s: float = 0.0) -> None:
        """Start a process."""
        heapq.heappush(self._due, (self.now + after_s, next(self._order), process))

    def run(self, for_s: float) -> Outcome:
        """Advance the time."""
        until = START + for_s
        while self._due and self._due[0][0] <= until:
            self.now, _, process = heapq.heappop(self._due)
            self.world.clock.now = int(self.now)
            try:
                heapq.heappush(self._due, (self.now + next(process), next(self._order), process))
            except StopIteration:
                continue
        for handset in self.handsets:
            self.note("ends", handset, "logged out" if handset.logged_out else "logged in")
        return Outcome(
            len(self.handsets),
            sum(handset.logged_out for handset in self.handsets),
            sum(handset.stuck for handset in self.handsets),
            self.counts["renewals"],
            sorted(self.lives_s.values()),
            sorted(self.outlived_s.values()),
            sum(handset.logouts > 0 for handset in self.robbed),
            self._history.hexdigest(),
        )

    def note(self, event: str, handset: Handset, detail: str = "") -> None:
        """Add an event to the history."""
        self._history.update(f"{self.now:.6f} {handset.name} {event} {detail}\n".encode())

    # Phones

    def add_phones(self, number: int) -> list[Handset]:
        """Register users with one phone each, and start their processes."""
        kind = "hmac" if self.deal is Deal.EXCHANGE else "none"
        added = []
        for _ in range(number):
            name = f"phone-{len(self.handsets)}"
            phone = self.world.phone(kind)
            issued = self.world.register(
                phone,
                email=f"{name}@example.com",
                client_id=CLIENT_OF[self.deal],
                attempt=self.dice.randbytes(16).hex(),
                source=name,
            )
            wrong_by_s = self.dice.randint(-self.weather.clock_wrong_by_s, self.weather.clock_wrong_by_s)
            handset = Handset(name, phone, self.runner.stored(issued), wrong_by_s)
            self.handsets.append(handset)
            added.append(handset)
            self.begin(self.life(handset), after_s=self.gap_s())
            self.begin(self.nights(handset), after_s=self.dice.uniform(0, DAY_S))
        return added

    @property
    def runner(self) -> Runner:
        """Create the app for this mechanism. Only Baton's own clients send attempts."""
        attempt = (lambda: self.dice.randbytes(16).hex()) if self.deal is Deal.EXCHANGE else None
        return Runner(attempt, self.world.clock, self.reports_copies)

    def gap_s(self) -> float:
        """Draw the time until the next use of the phone: always later than the expiry of its token."""
        least = 31 * MINUTE_S
        return least + self.dice.expovariate(1 / (DAY_S / OPENED_PER_DAY - least))

    def life(self, handset: Handset) -> Process:
        """Open the app repeatedly, while there is a login."""
        while handset.record is not None or self.returning:
            handset.opened += 1
            if handset.record is None:
                self.log_in(handset)
                yield self.gap_s()
                continue
            stays_out_s = self.dice.uniform(MINUTE_S, 20 * MINUTE_S) if self.chance(self.weather.tunnel) else 0.0
            self.begin(self.open(handset, tunnel_s=stays_out_s))
            if self.chance(self.weather.second_process):
                self.begin(self.open(handset, tunnel_s=stays_out_s), after_s=self.dice.uniform(0, 1))
            yield self.gap_s()

    def nights(self, handset: Handset) -> Process:
        """Back up the storage every night, and sometimes restore it."""
        while True:
            if handset.last_night is not None and handset.record and self.chance(self.weather.restored_per_day):
                handset.record = handset.last_night
                self.note("is restored", handset)
            handset.last_night = handset.record
            yield DAY_S

    def log_in(self, handset: Handset) -> None:
        """Log in with the password, which no thief has. An HMAC device signs the login with its last secret."""
        issued = self.world.login(
            handset.phone,
            email=f"{handset.name}@example.com",
            client_id=CLIENT_OF[self.deal],
            attempt=self.dice.randbytes(16).hex(),
            source=handset.name,
        )
        handset.record, handset.logged_out = self.runner.stored(issued), False
        handset.logged_in_at.append(self.now)
        self.note("logs in", handset)

    def open(self, handset: Handset, *, tunnel_s: float) -> Process:
        """Start one process of the app, which renews if its token has expired (rule 7)."""
        record = handset.record
        if record is None or record.refresh_token is None or self.now < record.expires_at:
            return
        out_at = self.now + tunnel_s
        yield from self.drive(handset, self.runner.renewed(), out_at=out_at)

    def drive(  # noqa: C901, PLR0912 - one case for each request
        self, handset: Handset, renewing: Renewing, *, out_at: float
    ) -> Process:
        """Serve the requests of an app, over a connection that loses messages."""
        answer: Any = None
        back_off_s = 0.5
        while True:
            try:
                need = renewing.send(answer)
            except StopIteration:
                return
            except errors.Superseded:
                # The login is active, but another process has the newer token. The app tries again when it is opened
                # next.
                handset.stuck = True
                self.note("is stuck", handset)
                return
            answer = None
            match need:
                case Read():
                    answer = handset.record
                case Send(record):
                    self.counts["renewals"] += 1
                    yield self.dice.uniform(*LATENCY_S)
                    if self.now < out_at:
                        yield TIMEOUT_S
                        continue
                    answer = self.exchanged(handset, record)
                    self.note("renews", handset, told(answer))
                    yield self.dice.uniform(*LATENCY_S)
                    if self.chance(self.answer_lost):
                        answer = None
                        self.note("loses the answer", handset)
                        yield TIMEOUT_S
                case Replace(parent, child):
                    if child is not None and self.chance(self.weather.killed):
                        self.note("is killed", handset)
                        return
                    if handset.record == parent:
                        handset.record = child
                        handset.stored(self.now)
                    answer = handset.record
                case Revoke(record):
                    yield from self.revoked(handset, record)
                case Pause():
                    yield self.dice.uniform(0, back_off_s)
                    back_off_s = min(30.0, 2 * back_off_s)
                case SetClock():
                    handset.offset_s = -handset.wrong_by_s

    def exchanged(self, handset: Handset, record: Record) -> TokenResponse | errors.Refusal:
        """Return the server's answer to an exchange."""
        attempt = self.dice.randbytes(16).hex() if self.forgetful and record.attempt else record.attempt
        assert record.refresh_token
        message = handset.phone.message(
            "POST",
            "/api/oauth/token",
            body=b"form",
            attempt=attempt,
            created=int(self.now) + handset.wrong_by_s + handset.offset_s,
        )
        try:
            return self.world._exchange(message, TokenRequest(record.refresh_token))
        except errors.Refusal as refusal:
            return refusal

    def revoked(self, handset: Handset, record: Record) -> Process:
        """Report a copy to the server, until there is an answer. A thief reports nothing."""
        while not handset.is_thief:
            yield self.dice.uniform(*LATENCY_S)
            message = handset.phone.message("POST", "/api/oauth/revoke", body=b"form")
            self.world.revoke(message, token=record.refresh_token or record.access_token, client_id=None)
            self.note("revokes", handset)
            yield self.dice.uniform(*LATENCY_S)
            if not self.chance(self.answer_lost):
                return

    # Thieves

    def rob(self, handset: Handset, theft: Theft, ruse: Ruse) -> None:
        """Let a thief copy this phone, at some time in its second day."""
        self.robbed.append(handset)
        self.begin(self.thief(handset, theft, ruse), after_s=self.dice.uniform(DAY_S, 2 * DAY_S))

    def thief(self, handset: Handset, theft: Theft, ruse: Ruse) -> Process:  # noqa: C901 - one case for each method
        """Copy the data of the phone, and use the copy while it works."""
        opened, before = handset.opened, handset.record
        while ruse is Ruse.IN_WAIT and handset.opened == opened:
            yield 0.25
        while theft is Theft.TOKEN and handset.record is before and before and before.refresh_token:
            yield 0.25  # A server receives a token when it is used, so the token is fresh.
        stolen = handset.record
        if stolen is None:
            return
        # A separate copy: the owner's next login changes the secret only on the owner's phone.
        key = copy.copy(handset.phone) if theft is Theft.FULL_COPY else self.world.phone("none")
        lair = Handset(f"thief of {handset.name}", key, stolen, is_thief=True)
        began = watching = self.now
        self.lives_s[lair.name] = self.outlived_s[lair.name] = 0.0
        try:
            if ruse is Ruse.AHEAD:
                yield from self.ahead(lair)
            elif ruse is Ruse.BETWEEN:
                yield from self.between(handset, lair)
                watching = self.now
        except InvalidSignature:
            lair.record = None
        while lair.record is not None:
            # The stolen token is renewed immediately: with a grace window, the thief gets a separate branch.
            can_renew = theft is not Theft.TOKEN and ruse is not Ruse.BETWEEN and lair.record.refresh_token
            if can_renew and (lair.record is stolen or self.now >= lair.record.expires_at):
                try:
                    yield from self.drive(lair, self.runner.renewed(), out_at=0.0)
                except InvalidSignature:
                    break
            if not self.is_served(lair):
                break
            # Often enough to extend a sliding session; less often with age for the other mechanisms.
            self.lives_s[lair.name] = age_s = self.now - began
            self.outlived_s[lair.name] = max(0.0, self.now - self.powerless_since(handset, began))
            pause_s = max(5 * MINUTE_S, min(age_s / 5, 25 * MINUTE_S if theft is Theft.TOKEN else DAY_S))
            yield 1.0 if ruse is Ruse.BETWEEN and self.now < watching + HOUR_S else pause_s
        self.note("gives up", lair)

    def powerless_since(self, handset: Handset, stolen_at: float) -> float:
        """Return the time of the owner's second exchange since the theft, or login. A copy must be invalid then."""
        renewed = [at for at in handset.renewed_at if at > stolen_at][1:2]
        logged_in = [at for at in handset.logged_in_at if at > stolen_at][:1]
        return min([*renewed, *logged_in], default=self.now)

    def ahead(self, lair: Handset) -> Process:
        """Exchange several times before the owner does."""
        for _ in range(self.dice.randint(2, 4)):
            if lair.record is not None and lair.record.refresh_token:
                yield from self.drive(lair, self.runner.renewed(), out_at=0.0)

    def between(self, handset: Handset, lair: Handset) -> Process:
        """Wait for the owner's exchange, repeat it with the same attempt, and let the owner exchange again soon."""
        stolen = lair.record
        if stolen is None or stolen.refresh_token is None:
            return
        while handset.record is stolen:
            yield 0.25
        yield from self.drive(lair, self.runner.renewed(), out_at=0.0)
        again = self.drive(handset, self.runner.renewed(), out_at=0.0)
        self.begin(again, after_s=self.dice.uniform(MINUTE_S, 5 * MINUTE_S))

    def is_served(self, handset: Handset) -> bool:
        """Make a call with the token in this storage, if the storage has a token."""
        if handset.record is None:
            return False
        try:
            self.world.use(handset.phone, handset.record.access_token)
        except errors.Refusal:
            return False
        return True

    def chance(self, probability: float) -> bool:
        """Draw a random decision. A probability of 0 or 1 draws nothing."""
        return probability > 0 and self.dice.random() < probability


def told(answer: TokenResponse | errors.Refusal) -> str:
    """Name an answer for the comparison of histories. The name contains no token."""
    if isinstance(answer, errors.Refusal):
        return answer.code
    return hashlib.sha256(answer.access_token.encode()).hexdigest()[:16]


@contextmanager
def cheap_passwords() -> Iterator[None]:
    """Use cheap password hashes: a whole fleet registers at the start, and no password is checked again."""
    current = password_hash._CURRENT
    password_hash._CURRENT = (8, 1, 1)
    try:
        yield
    finally:
        password_hash._CURRENT = current


def week(deal: Deal, weather: Weather, *, phones: int, seed: int = 1, **planted: Any) -> Outcome:
    """Run a fleet for a week."""
    with cheap_passwords():
        simulation = Simulation(deal, seed, weather, **planted)
        simulation.add_phones(phones)
        return simulation.run(7 * DAY_S)


def robbery(deal: Deal, theft: Theft, ruse: Ruse, *, thieves: int, days: int, seed: int = 1, **planted: Any) -> Outcome:
    """Copy every phone of a fleet without faults, and run for this number of days."""
    with cheap_passwords():
        simulation = Simulation(deal, seed, CALM, **{"returning": True, **planted})
        for handset in simulation.add_phones(thieves):
            simulation.rob(handset, theft, ruse)
        return simulation.run((days + 2) * DAY_S)


def ruses(theft: Theft) -> tuple[Ruse, ...]:
    """List the methods for stolen data. Without the record, a token is stolen when it is sent: the app is open then."""
    return (Ruse.IN_WAIT,) if theft is Theft.TOKEN else tuple(Ruse)
