"""The roles of a scene: an honest app of one account, its operator, or a thief."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any

from chalicelib.baton import errors
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.proof.signature import content_digest
from chalicelib.baton.routing import Message, RouteSpec, StepUp
from chalicelib.baton.tokens.caller import Caller, Operation
from chalicelib.baton.tokens.exchange import TokenRequest
from chalicelib.baton.tokens.issue import TokenResponse
from chalicelib.baton.tokens.refusals import GrantInvalid, TokenExpired
from tests.baton.proofs.interleavings.deployment import Deployment, Success
from tests.baton.proofs.interleavings.model import Asked
from tests.baton.proofs.interleavings.scheduler import Call, Course, Refuted, Scheduler
from tests.baton.proofs.relay.runner import Need, Pause, Read, Record, Renewing, Replace, Revoke, Runner, Send, SetClock
from tests.baton.world import EMAIL, PASSWORD, Phone

CLIENT = "mobile-opaque"
NEW = "granite umbrella conversation"
PATIENCE = 8
"""The maximum number of repetitions. It is more than the number of faults, so only a broken guarantee can use all of
them."""
GRANTS = 4
"""The maximum number of repetitions with a grant. Each needs its own grant, which is proved before the schedule
begins."""


class Role(StrEnum):
    """The action of a presenter (a client, an operator or a thief)."""

    RENEW = "renew"
    """A process of the phone exchanges the stored token. All processes of the phone share its storage."""
    LOG_IN = "log in"
    """A new device logs in."""
    END_ONE = "end one"
    """Another device ends the phone's lineage."""
    END_ALL = "end all"
    """Another device logs out everywhere."""
    DELETE = "delete"
    """Another device deletes the account."""
    DISABLE = "disable"
    """The operator disables the account, then enables it."""
    CHANGE_PASSWORD = "change password"
    """Another device changes the password."""
    STEAL = "steal"
    """A thief with a copy of the phone's key and token, but not of its attempt, exchanges."""
    CALL = "call"
    """A thief with a copy of the phone's key and token calls a route."""
    LOG_IN_AGAIN = "log in again"
    """The phone logs in again with its key, or signs with its HMAC secret if its login has one."""
    LOG_IN_BY_KEY = "log in by a new key"
    """A new device logs in with a key that all devices of this role share."""


OF_A_KEY = (Role.CALL, Role.LOG_IN_AGAIN, Role.LOG_IN_BY_KEY)
"""Roles for the logins of one key. They have their own scenes."""
EVERY = tuple(role for role in Role if role not in OF_A_KEY)
"""The roles of which every pair and every triple is tested."""
ACTING = (Role.END_ONE, Role.END_ALL, Role.DELETE, Role.CHANGE_PASSWORD)
"""Roles that write on behalf of a login, with a grant of the password."""


class Arrangement(Enum):
    """The relation between the presenters: which one acts on which."""

    APART = "each acts from a device of its own, and ends the phone"
    AGAINST = "each acts from a device of its own, and ends the next one's"
    TOGETHER = "all act from one device"


def _attempt_of(name: str) -> str:
    return f"{name}, attempt".replace(" ", "-").ljust(16, ".")


@dataclass(frozen=True, slots=True)
class Deed:
    """An action with a grant on behalf of a login: the verb of the model, the request, and the flow."""

    verb: str
    method: str
    path: str
    do: Callable[[Caller], None]
    sendings: int = GRANTS


@dataclass(slots=True)
class Cast:
    """The presenters of one scene, over one deployment."""

    deployment: Deployment
    acts: list[tuple[str, Callable[[], None]]]
    devices: dict[str, Phone]
    honest: set[str]
    runner: Runner
    times: int = 1
    """The number of renewals of each renewing presenter."""
    thieves: set[str] = field(default_factory=set)
    one_key: dict[Role, tuple[Phone, frozenset[LineageId]]] = field(default_factory=dict)
    """For presenters with a shared key: the device, and all lineages that can begin with the key."""

    @classmethod
    def of(
        cls,
        roles: tuple[Role, ...],
        deployment: Deployment,
        *,
        times: int = 1,
        arrangement: Arrangement = Arrangement.APART,
        kind: str = "hmac",
    ) -> "Cast":
        """Prepare the roles, and store the initial state. ``kind`` is the binding of the phone's login."""
        world = deployment.world
        runner = Runner(lambda: f"attempt {deployment.entropy(8).hex()}".replace(" ", "-"), world.clock)
        cast = cls(deployment, [], {}, {"phone"}, runner, times)
        phone = cast.devices["phone"] = world.phone(kind)
        issued = world.register(phone, client_id=CLIENT, attempt=runner.attempt() if runner.attempt else None)
        deployment.storages["phone"] = runner.stored(issued)
        names = []
        for place, role in enumerate(roles, 1):
            number = sum(earlier is role for earlier in roles[:place])
            names.append(role.value + (f" {number}" if roles.count(role) > 1 else ""))
        acting = [name for name, role in zip(names, roles, strict=True) if role in ACTING]
        cast.enrol(acting, together=arrangement is Arrangement.TOGETHER)
        for role, device in ((Role.LOG_IN_AGAIN, phone), (Role.LOG_IN_BY_KEY, world.phone("P-256"))):
            begun = {cast.begun(name) for name, one in zip(names, roles, strict=True) if one is role}
            earlier = {LineageId(issued.device_id)} if role is Role.LOG_IN_AGAIN else set()
            cast.one_key[role] = (device, frozenset(earlier | begun))
        for name, role in zip(names, roles, strict=True):
            ended = "phone"
            if arrangement is Arrangement.AGAINST and role is Role.END_ONE:
                ended = acting[(acting.index(name) + 1) % len(acting)]
            cast.acts.append((name, cast.prepared(role, name, ended)))
        deployment.keep()
        return cast

    def enrol(self, names: list[str], *, together: bool) -> None:
        """Log in the devices of these roles: one device for all roles, or one for each."""
        world, storages = self.deployment.world, self.deployment.storages
        for name in names:
            if together and name != names[0]:
                self.devices[name], storages[name] = self.devices[names[0]], storages[names[0]]
            else:
                self.devices[name] = world.phone("hmac")
                storages[name] = self.runner.stored(world.login(self.devices[name], client_id=CLIENT))
                self.honest.add(name)

    def prepared(self, role: Role, name: str, ended: str) -> Callable[[], None]:  # noqa: PLR0911 - one return for each role
        """Prepare a role: its device and its action. ``ended`` is the presenter whose login the role ends, if any."""
        world, storages = self.deployment.world, self.deployment.storages
        phone, target = storages["phone"], storages[ended]
        assert phone is not None
        assert target is not None
        match role:
            case Role.RENEW:
                return lambda: self.renew("phone", shared=True)
            case Role.CALL:
                return lambda: self.call(phone)
            case Role.DISABLE:
                return self.disable_and_enable
            case Role.STEAL:
                self.thieves.add(name)
                self.devices[name] = self.devices["phone"]
                storages[name] = replace(phone, attempt=_attempt_of(name))
                return lambda: self.renew(name)
            case Role.LOG_IN | Role.LOG_IN_AGAIN | Role.LOG_IN_BY_KEY:
                self.honest.add(name)
                storages[name] = None
                device, of_its_key = self.one_key.get(role, (world.phone("hmac"), frozenset()))
                begun = self.begun(name)
                # A secret proves only the login that received it. A login that began with it has its own secret.
                replaced = of_its_key - {begun} if device.kind != "hmac" else of_its_key & {LineageId(phone.device_id)}
                version = self.deployment.account_state.credentials_version
                asked = Asked("log in", begun, version=version, replaced=replaced)
                return lambda: self.log_in(name, copy.copy(device), asked)
            case Role.END_ALL:
                return self.acting(
                    name,
                    Deed("end all", "POST", "/logout", lambda caller: world.logout(caller, everywhere=True)),
                )
            case Role.DELETE:
                return self.acting(name, Deed("delete", "DELETE", "/me", world.delete))
            case Role.CHANGE_PASSWORD:
                # Sent once: after a lost answer the device has to read its state.
                path = "/me/password"
                change = Deed("change password", "POST", path, lambda caller: world.change_password(caller, NEW), 1)
                return self.acting(name, change)
            case Role.END_ONE:
                device_id = target.device_id
                path = f"/me/devices/{device_id}"
                deed = Deed("end device", "DELETE", path, lambda caller: world.end_device(caller, device_id))
                return self.acting(name, deed, target=LineageId(device_id))

    # Actions

    def renew(self, name: str, *, shared: bool = False) -> None:
        """Exchange the given number of times, while there is a login."""
        for _ in range(self.times):
            if self.drive(name, self.runner.renewed(), shared=shared) is None:
                return

    def drive(self, name: str, renewing: Renewing, *, shared: bool = False) -> Record | None:
        """Serve the requests of an app. Each access to a storage that processes share is a step."""
        deployment, answer = self.deployment, None
        sent = 0
        try:
            while True:
                need: Need = renewing.send(answer)
                answer = None
                match need:
                    case Read():
                        self._touch(name, shared=shared, writes=False)
                        answer = deployment.storages[name]
                    case Send(record):
                        sent += 1
                        assert sent <= PATIENCE, f"{name} is never answered"
                        answer = self.exchanged(name, record)
                    case Replace(parent, child):
                        self._touch(name, shared=shared, writes=True)
                        answer = self.replaced(name, parent, child)
                    case Revoke():
                        raise AssertionError(f"{name} treats its own processes as a copy of the device (rule 8)")
                    case Pause() | SetClock():
                        pass
        except StopIteration as stopped:
            standing: Record | None = stopped.value
            return standing

    def replaced(self, name: str, parent: Record, child: Record | None) -> Record | None:
        """Compare and set (client rule 3)."""
        if self.deployment.storages[name] == parent:
            self.deployment.storages[name] = child
            if child is None:
                self._logged_out(name, parent)
        return self.deployment.storages[name]

    def exchanged(self, name: str, record: Record) -> Any:
        """Send an exchange."""
        deployment, world = self.deployment, self.deployment.world
        assert record.refresh_token
        token = record.refresh_token
        message = self.devices[name].message("POST", "/api/oauth/token", body=b"form", attempt=record.attempt)
        generation = world.call.proof.token(token, now=world.clock()).token.generation

        def told(issued: TokenResponse, at: int) -> None:
            deployment.chronicle.successes.append(Success("exchange", issued.device_id, at))
            deployment.chronicle.children[issued.device_id, generation].add((record.attempt or "", issued.access_token))

        return deployment.send(
            lambda: world._exchange(message, TokenRequest(token)),
            asked=Asked("use", LineageId(record.device_id)),
            lineage=LineageId(record.device_id),
            told=told,
        )

    def log_in(self, name: str, device: Phone, asked: Asked) -> None:
        """Log in with one attempt until there is an answer."""
        deployment, world, attempt = self.deployment, self.deployment.world, _attempt_of(name)
        self.devices[name] = device

        def told(issued: TokenResponse, at: int) -> None:
            deployment.chronicle.successes.append(Success("login", issued.device_id, at))

        for _ in range(PATIENCE):
            answer = deployment.send(
                lambda: world.login(device, client_id=CLIENT, attempt=attempt), asked=asked, told=told
            )
            match answer:
                case TokenResponse():
                    device.keep(answer)
                    deployment.storages[name] = self.runner.stored(answer)
                    return
                case InvalidCredentials():
                    assert self._may_be_refused, "the right password was refused"
                    return
                case errors.Superseded():
                    lost = deployment.world.key_ring.ring.lineage_ids(
                        deployment.account_state.account, attempt, now=world.clock()
                    )
                    assert set(lost) & deployment.chronicle.ended_on_request, "a login was lost without a request"
                    return
                case None | errors.Unavailable():
                    continue
                case errors.Refusal():
                    raise AssertionError(f"a login is answered {answer!r}")
        raise AssertionError(f"{name} is never answered")

    def begun(self, name: str) -> LineageId:
        """Return the id of the lineage that the login of this presenter begins."""
        world, account = self.deployment.world, self.deployment.account_state.account
        return world.key_ring.ring.lineage_ids(account, _attempt_of(name), now=world.clock())[0]

    def acting(self, name: str, deed: "Deed", *, target: LineageId | None = None) -> Callable[[], None]:
        """Prove the password now, once for each sending.

        The returned action sends the request until there is an answer.
        """
        deployment, world, device = self.deployment, self.deployment.world, self.devices[name]
        record = deployment.storages[name]
        assert record is not None
        path = f"/api{deed.path}"
        caller = world.use(device, record.access_token, "POST", "/api/step-up")
        operation = Operation(deed.method, path, content_digest(b""))
        grants = [world.grant_step_up(caller, operation, PASSWORD).grant for _ in range(deed.sendings)]
        lineage = LineageId(record.device_id)
        asked = Asked(deed.verb, lineage, version=deployment.account_state.credentials_version, target=target)

        def told(admitted_at: int, at: int) -> None:
            self._told_call(record)(admitted_at, at)
            if deed.verb == "change password":
                deployment.chronicle.password_changed = deployment.now

        def act() -> None:
            for grant in grants:
                message = device.message(deed.method, path, token=record.access_token, grant=grant)

                def journey(message: Message = message) -> int:
                    caller = world.call.authorize(world.call.authenticate(message), spec=RouteSpec(step_up=StepUp()))
                    admitted_at = deployment.decided_at
                    deed.do(caller)
                    return admitted_at

                answer = deployment.send(journey, asked=asked, lineage=lineage, told=told)
                if self._answered(name, record, answer):
                    return
            assert deed.sendings == 1, f"{name} is never answered"

        return act

    def _answered(self, name: str, record: Record, answer: object) -> bool:
        """Check that an answer is allowed, and return whether it is final."""
        match answer:
            case errors.LoginRequired():
                self.deployment.storages[name] = None
                self._logged_out(name, record)
                return True
            case None | errors.Unavailable():
                return False
            case GrantInvalid():
                assert self.deployment.account_state.credentials_version > self.deployment.start.version, (
                    "a fresh grant is refused"
                )
                return True
            case _:
                assert not isinstance(answer, errors.Refusal), f"{name} is answered {answer!r}"
                return True

    def call(self, record: Record) -> None:
        """Call a route with the phone's token and key, as a copy of the phone can."""
        deployment, phone = self.deployment, self.devices["phone"]
        token, lineage = record.access_token, LineageId(record.device_id)

        def journey() -> int:
            deployment.world.use(phone, token)
            return deployment.decided_at

        for _ in range(PATIENCE):
            asked = Asked("use", lineage)
            answer = deployment.send(journey, asked=asked, lineage=lineage, told=self._told_call(record))
            if isinstance(answer, errors.LoginRequired):
                assert self.copied or lineage in deployment.chronicle.ended_on_request, "a live login's call is refused"
                return
            assert answer is None or isinstance(answer, int | TokenExpired), f"a call is answered {answer!r}"
            if answer is not None:
                return

    def disable_and_enable(self) -> None:
        """Disable the account and, after the answer, enable it."""
        deployment, world = self.deployment, self.deployment.world
        for status in (Status.DISABLED, Status.ACTIVE):

            def told(_: object, __: int, status: Status = status) -> None:
                if status is deployment.chronicle.status_asked is Status.DISABLED:
                    deployment.chronicle.closed.append((deployment.now, None))

            def journey(status: Status = status) -> str:
                return world.set_status(EMAIL, status)

            for _ in range(PATIENCE):
                asked = Asked("disable" if status is Status.DISABLED else "enable")
                if deployment.send(journey, asked=asked, told=told) is not None:
                    break

    # Invariants after a schedule

    def close(self) -> None:
        """Let every device continue without faults. A device is accepted if and only if its end was not requested."""
        deployment = self.deployment
        deployment.chronicle.check()
        deployment.explain()
        for name in [*sorted(self.honest), *sorted(self.thieves)]:
            record = deployment.storages[name]
            if record is None:
                continue
            for _ in range(2 if self.copied else 1):
                record = self.drive(name, self.runner.renewed()) if record else None
            assert record is None or name in self.honest, "a copy outlives its owner's second exchange"
            if record is not None:
                caller = deployment.world.use(self.devices[name], record.access_token)
                assert caller.device_id == record.device_id
        deployment.chronicle.check()

    def _logged_out(self, name: str, record: Record) -> None:
        """Check that an honest device is logged out only on an authorized request, or because its copy was used."""
        if name not in self.honest:
            return
        exposed = name == "phone" and self.copied
        ended = LineageId(record.device_id) in self.deployment.chronicle.ended_on_request
        assert ended or exposed, f"the honest {name} was logged out"

    @property
    def copied(self) -> bool:
        """Return whether a thief has a copy of the phone."""
        return any(act.startswith(Role.STEAL) for act, _ in self.acts)

    @property
    def _may_be_refused(self) -> bool:
        return any(act.startswith((Role.DISABLE, Role.DELETE, Role.CHANGE_PASSWORD)) for act, _ in self.acts)

    def _told_call(self, record: Record) -> Callable[[int, int], None]:
        def told(admitted_at: int, _: int) -> None:
            self.deployment.chronicle.successes.append(Success("call", LineageId(record.device_id), admitted_at))

        return told

    def _touch(self, name: str, *, shared: bool, writes: bool) -> None:
        if shared and self.deployment.scheduler:
            call = Call(f"{'stores' if writes else 'reads'} its record", frozenset({f"storage of {name}"}), writes)
            self.deployment.scheduler.step(call)
            self.deployment.scheduler.course.made(call, changed=writes)


def scene(
    roles: tuple[Role, ...],
    *,
    faults: int,
    times: int = 1,
    deployment: Deployment | None = None,
    cast_of: "type[Cast] | None" = None,
    arrangement: Arrangement = Arrangement.APART,
    kind: str = "hmac",
) -> Callable[[Course], None]:
    """Make a scene of these roles: a function that runs one schedule.

    The deployment or the cast may have a seeded fault.
    """
    cast = (cast_of or Cast).of(roles, deployment or Deployment(), times=times, arrangement=arrangement, kind=kind)

    def play(course: Course) -> None:
        scheduler = Scheduler(course, faults)
        cast.deployment.restore(scheduler)
        for name, act in cast.acts:
            scheduler.enter(name, act)
        try:
            scheduler.run()
            cast.close()
        except AssertionError as broken:
            raise Refuted(str(broken), course.decisions, scheduler.steps) from broken

    return play
