"""Every interleaving of two requests about second factors.

A code admits one login, and no outdated login is admitted. Each call of a store is a step, over the storage in memory.
One call of each schedule may be sent twice, as botocore does after a lost answer.
"""

import copy
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done
from chalicelib.baton.environment import Effects
from chalicelib.baton.factors.password_hash import TEST_COST
from chalicelib.baton.storage.memory import storage as memory
from chalicelib.baton.storage.memory.factors import MemoryFactors
from chalicelib.baton.storage.memory.tables import MemoryTables
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.testing.gateway import load_app
from tests.baton.fixture import APP
from tests.baton.proofs.interleavings.scheduler import Call, Course, Refuted, Scheduler, explore
from tests.baton.wire.conversation import PASSWORD, Device, Said, through
from tests.baton.wire.second_factor import EMAIL, Person, ask, attempt, grant_of, prove
from tools.dev.gateway import Gateway

pytestmark = pytest.mark.guarantee(2, 6, 8, 14)

START = 1_800_000_000
READS = frozenset({"find", "get"})
STORES = ("accounts", "factors", "identities", "lineages", "one_time")
CHANGE, ADMIT, END = "factors.change_factors", "lineages.add_lineage", "lineages.end"
TABLES = ("claims", "kept_until", "users", "identities", "lineages", "nonces", "tickets", "grants", "windows")


@dataclass
class Deployment:
    """Two environments over tables in memory. Inside a schedule each call of a store is a step."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    now: int = START
    scheduler: Scheduler | None = None
    course: Course | None = None
    clients: str = "clients-factors.toml"
    written: list[str] = field(default_factory=list)
    """The writes that took effect, in order."""

    def __post_init__(self) -> None:
        """Load the environments."""
        effects = Effects(lambda: self.now, secrets.token_bytes, None, self.around)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BATON_STORAGE", "memory")
            patch.setenv("BATON_CLIENTS", self.clients)
            patch.setattr(memory, "OF_THIS_PROCESS", self.tables)
            self.gateway = Gateway([load_app(APP, effects).app for _ in range(2)])

    def device(self) -> Device:
        """Make a device without a key: no request has to be signed."""
        return Device(through(self.gateway), lambda: self.now, "simple", bound=False)

    def around(self, storage: Storage) -> Storage:
        """Make each call of a store a step."""
        return replace(storage, **{name: _Stepping(name, getattr(storage, name), self) for name in STORES})

    def call(self, name: str, verb: str, made: Callable[[], Any]) -> Any:
        """Make a call when the scheduler selects it, and perhaps a second time."""
        if self.scheduler is None or self.course is None:
            return made()
        writes = verb not in READS
        step = Call(f"{name}.{verb}", frozenset({"counts" if name == "one_time" else "account"}), writes)
        self.scheduler.step(step)
        answer = self._made(step, made)
        if writes and name != "one_time" and self.scheduler.fault("sent twice"):
            self.scheduler.step(step)
            answer = self._made(step, made)
        return answer

    def _made(self, step: Call, made: Callable[[], Any]) -> Any:
        assert self.course is not None
        before = (dict(self.tables.users), dict(self.tables.lineages))
        answer = made()
        changed = step.writes and before != (self.tables.users, self.tables.lineages)
        self.course.made(step, changed=step.writes)
        if changed:
            self.written.append(step.name)
        return answer

    def remember(self) -> Callable[[], None]:
        """Copy the tables, and return a function that restores them."""
        kept = {name: dict(getattr(self.tables, name)) for name in TABLES}

        def rewind() -> None:
            for name, items in kept.items():
                getattr(self.tables, name).clear()
                # A grant is the one item that its use changes.
                getattr(self.tables, name).update(
                    {key: copy.copy(item) if name == "grants" else item for key, item in items.items()}
                )
            self.written.clear()

        return rewind

    def played(self, course: Course, acts: dict[str, Callable[[], Said]]) -> dict[str, Said]:
        """Run one schedule with at most one fault, and return the answers."""
        course.begin()
        self.course, self.scheduler = course, Scheduler(course, 1)
        said: dict[str, Said] = {}

        def note(name: str, act: Callable[[], Said]) -> None:
            said[name] = act()

        for name, act in acts.items():
            self.scheduler.enter(name, partial(note, name, act))
        try:
            self.scheduler.run()
        finally:
            self.course = self.scheduler = None
        return said


class _Stepping:
    """A store, each of whose calls is a step."""

    def __init__(self, name: str, store: object, deployment: Deployment) -> None:
        self._name, self._store, self._deployment = name, store, deployment

    def __getattr__(self, verb: str) -> Any:
        member = getattr(self._store, verb)
        return lambda *given, **named: self._deployment.call(self._name, verb, lambda: member(*given, **named))


@dataclass
class Scene:
    """Ada's account with an authenticator app, and two devices whose logins wait for a code."""

    deployment: Deployment
    ada: Person
    phone: Device
    devices: list[Device]
    sessions: list[Said]
    attempts: list[str]

    def log_in(self, place: int, **proof: str) -> Callable[[], Said]:
        """Return the request of the second step of a login."""
        device, session, mine = self.devices[place], self.sessions[place], self.attempts[place]
        return lambda: prove(device, session, attempt=mine, **proof)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Make the scene, with cheap password hashes."""
    token = TEST_COST.set((8, 1, 1))
    deployment = Deployment()
    phone, ada = deployment.device(), Person(lambda: deployment.now)
    assert phone.register(EMAIL).status == 201
    ada.enrol(phone)
    deployment.now += 30
    devices, attempts = [deployment.device() for _ in range(2)], [attempt(), attempt()]
    sessions = [ask(device, attempt=mine) for device, mine in zip(devices, attempts, strict=True)]
    yield Scene(deployment, ada, phone, devices, sessions, attempts)
    TEST_COST.reset(token)


def refute(course: Course, why: str, deployment: Deployment) -> None:
    """Raise an error that names the schedule which breaks an invariant."""
    raise Refuted(why, course.decisions, list(deployment.written))


@pytest.mark.parametrize("kind", ["totp", "recovery_code"])
def test_one_code_admits_one_login(scene: Scene, kind: str, record_property: Callable[[str, object], None]) -> None:
    """Two devices send the same code. In every order, one of them is admitted."""
    code = scene.ada.code() if kind == "totp" else scene.ada.codes[0]
    rewind = scene.deployment.remember()

    def one(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, {str(place): scene.log_in(place, **{kind: code}) for place in range(2)})
        if sorted(each.code for each in said.values()) != ["", "invalid_factor"]:
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(one).schedules)


def test_the_same_request_twice_gets_the_same_tokens(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """One of the requests may get an answer to repeat it. No second login begins, and no request is refused."""
    rewind, code = scene.deployment.remember(), scene.ada.code()

    def same(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, {name: scene.log_in(0, totp=code) for name in ("first", "second")})
        tokens = {each.members["access_token"] for each in said.values() if each.status == 200}
        statuses = {each.status for each in said.values()}
        if len(tokens) != 1 or not statuses <= {200, 503} or scene.deployment.written.count(ADMIT) != 1:
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(same).schedules)


def test_a_login_that_was_proved_before_a_change_is_not_admitted_after_it(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """The owner renews the recovery codes, which raises the credentials version."""
    path, code = "/me/factors/recovery-codes", scene.ada.code(1)
    grant = {"baton-grant": granted(scene, "POST", path)}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(
            course,
            {"login": scene.log_in(0, totp=code), "owner": lambda: scene.phone.request("POST", path, b"", grant)},
        )
        written = scene.deployment.written
        if ADMIT in written and CHANGE in written and written.index(ADMIT) > written.index(CHANGE):
            refute(course, "admitted by an outdated proof", scene.deployment)
        if (said["login"].status == 200) is not (ADMIT in written):
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(against).schedules)


def test_a_login_that_has_ended_changes_no_factor(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """The logout may come after the authorization of the change, and before its write."""
    path = "/me/factors/totp"
    grant = {"baton-grant": granted(scene, "DELETE", path)}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(
            course,
            {
                "change": lambda: scene.phone.request("DELETE", path, b"", grant),
                "logout": lambda: scene.phone.post("/logout", {}),
            },
        )
        written = scene.deployment.written
        if CHANGE in written and written.index(CHANGE) > written.index(END):
            refute(course, "changed after the logout", scene.deployment)
        if said["logout"].status != 204 or (said["change"].status == 204) is not (CHANGE in written):
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(against).schedules)


def granted(scene: Scene, method: str, path: str) -> str:
    """Step up with both factors, before the schedule."""
    said = grant_of(scene.phone, method, path, password=PASSWORD, totp=scene.ada.code())
    assert said.status == 200, said
    return str(said.members["grant"])


def test_a_store_that_forgets_the_condition_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeded fault uses a code without its condition, and the scene must fail."""
    monkeypatch.setattr(MemoryFactors, "consume_totp_step", lambda *_, **__: Done())
    rewind, code = scene.deployment.remember(), scene.ada.code()

    def one(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, {str(place): scene.log_in(place, totp=code) for place in range(2)})
        if [each.status for each in said.values()].count(200) != 1:
            refute(course, "two logins", scene.deployment)

    with pytest.raises(Refuted, match="two logins"):
        explore(one)
