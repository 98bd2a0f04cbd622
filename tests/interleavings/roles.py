"""Who presents something: the roles of a scene, each an honest app of one account, its operator, or a thief."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from chalicelib.core import errors
from chalicelib.core.model import LineageId, Operation, Status
from chalicelib.core.signatures import content_digest
from chalicelib.flows.call import StepUpRule
from chalicelib.flows.exchange import TokenRequest
from chalicelib.flows.issue import Issued
from tests.flows.world import EMAIL, PASSWORD, Phone
from tests.interleavings.deployment import Deployment, Success
from tests.interleavings.scheduler import Call, Course, Refuted, Scheduler
from tests.relay.runner import Need, Pause, Read, Record, Renewing, Replace, Revoke, Runner, Send, SetClock

CLIENT = "mobile-opaque"
NEW_PASSWORD = "granite umbrella conversation"
PATIENCE = 8
"""How often anybody sends: more than the faults there are, so that only a promise broken can use it up."""


class Role(StrEnum):
    """What a presenter does."""

    RENEW = "renew"
    """A process of the phone exchanges what is stored. All processes of the phone share its storage."""
    LOG_IN = "log in"
    """A new device logs in."""
    END_ONE = "end one"
    """Another device ends the phone's lineage."""
    END_ALL = "end all"
    """Another device logs out everywhere."""
    DISABLE = "disable"
    """The operator disables the account, and enables it again."""
    CHANGE_PASSWORD = "change password"
    """Another device changes the password."""
    DELETE = "delete"
    """Another device deletes the account."""
    LOG_IN_AGAIN = "log in again"
    """The phone logs in again, signed with the secret of its last login, which ends."""
    STEAL = "steal"
    """Somebody with a copy of the phone's key and token, but not of its attempt, exchanges."""


ENDING = (Role.END_ONE, Role.END_ALL, Role.DISABLE, Role.CHANGE_PASSWORD, Role.DELETE, Role.LOG_IN_AGAIN)
"""Roles by which the phone's lineage may end rightly."""


def _attempt_of(name: str) -> str:
    return f"{name}, attempt".replace(" ", "-").ljust(16, ".")


@dataclass(slots=True)
class Cast:
    """The presenters of one scene, over one deployment."""

    deployment: Deployment
    acts: list[tuple[str, Callable[[], None]]]
    devices: dict[str, Phone]
    honest: set[str]
    runner: Runner
    times: int = 1
    """How often whoever renews does so."""

    @classmethod
    def of(cls, roles: tuple[Role, ...], deployment: Deployment, *, times: int = 1) -> "Cast":
        """Prepare the roles, and keep the beginning."""
        world = deployment.world
        runner = Runner(lambda: f"attempt {deployment.entropy(8).hex()}".replace(" ", "-"), world.clock)
        cast = cls(deployment, [], {}, {"phone"}, runner, times)
        phone = cast.devices["phone"] = world.phone("hmac")
        issued = world.register(phone, client_id=CLIENT, attempt=runner.attempt() if runner.attempt else None)
        deployment.storages["phone"] = runner.stored(issued)
        for place, role in enumerate(roles, 1):
            number = sum(earlier is role for earlier in roles[:place])
            name = role.value + (f" {number}" if roles.count(role) > 1 else "")
            cast.acts.append((name, cast.prepared(role, name)))
        deployment.keep()
        return cast

    def prepared(self, role: Role, name: str) -> Callable[[], None]:  # noqa: PLR0911 - one for each role
        """Give a role its device, and what it does."""
        world, storages = self.deployment.world, self.deployment.storages
        phone = storages["phone"]
        assert phone is not None
        if role is Role.RENEW:
            return lambda: self.renew("phone", shared=True)
        if role is Role.DISABLE:
            return self.disable_and_enable
        if role is Role.STEAL:
            self.devices[name] = self.devices["phone"]
            storages[name] = replace(phone, attempt=_attempt_of(name))
            return lambda: self.renew(name)
        device = self.devices[name] = world.phone("hmac")
        self.honest.add(name)
        if role is Role.LOG_IN_AGAIN:
            storages[name] = None
            return lambda: self.log_in_again(name)
        if role is Role.LOG_IN:
            storages[name] = None
            return lambda: self.log_in(name, _attempt_of(name))
        storages[name] = self.runner.stored(world.login(device, client_id=CLIENT))
        if role is Role.CHANGE_PASSWORD:
            return self.password_changer(name)
        if role is Role.END_ALL:
            return lambda: self.call(name, "POST", "/logout", lambda caller: world.logout(caller, everywhere=True))
        if role is Role.DELETE:
            return lambda: self.call(name, "DELETE", "/me", world.delete)
        return lambda: self.end_device(name, phone.device_id)

    # Acts

    def renew(self, name: str, *, shared: bool = False) -> None:
        """Exchange as often as the scene wants, while there is a login."""
        for _ in range(self.times):
            if self.drive(name, self.runner.renewed(), shared=shared) is None:
                return

    def drive(self, name: str, renewing: Renewing, *, shared: bool = False) -> Record | None:
        """Give an app what it needs. A storage that other processes share is a step each time it is touched."""
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
                        raise AssertionError(f"{name} takes its own processes for a copy of the device (rule 8)")
                    case Pause() | SetClock():
                        pass
        except StopIteration as stopped:
            standing: Record | None = stopped.value
            return standing

    def replaced(self, name: str, parent: Record, child: Record | None) -> Record | None:
        """Compare and set (rule 3)."""
        if self.deployment.storages[name] == parent:
            self.deployment.storages[name] = child
            if child is None:
                self._logged_out(name, parent)
        return self.deployment.storages[name]

    def exchanged(self, name: str, record: Record) -> Any:
        """Send an exchange."""
        deployment, world = self.deployment, self.deployment.world
        assert record.refresh_token is not None
        token = record.refresh_token
        message = self.devices[name].message("POST", "/api/oauth/token", body=b"form", attempt=record.attempt)
        generation = world.call.proof.token(token, now=world.clock()).token.generation

        def told(issued: Issued, at: int) -> None:
            deployment.chronicle.successes.append(Success("exchange", issued.device_id, at))
            deployment.chronicle.children[issued.device_id, generation].add((record.attempt or "", issued.access_token))

        return deployment.send(
            lambda: world._exchange(message, TokenRequest(token)), lineage=LineageId(record.device_id), told=told
        )

    def log_in(self, name: str, attempt: str) -> None:
        """Log in under one attempt until there is an answer."""
        deployment, world, device = self.deployment, self.deployment.world, self.devices[name]

        def told(issued: Issued, at: int) -> None:
            deployment.chronicle.successes.append(Success("login", issued.device_id, at))

        for _ in range(PATIENCE):
            answer = deployment.send(lambda: world.login(device, client_id=CLIENT, attempt=attempt), told=told)
            match answer:
                case Issued():
                    device.keep(answer)
                    deployment.storages[name] = self.runner.stored(answer)
                    return
                case errors.InvalidCredentials():
                    assert self._may_be_refused, "the right password was refused"
                    return
                case errors.Superseded():
                    lost = deployment.world.key_ring.ring.lineage_ids(EMAIL, attempt, now=world.clock())
                    assert set(lost) & deployment.chronicle.ended_on_request, "a login was lost to nobody"
                    return
                case None | errors.Unavailable():
                    continue
                case errors.Refusal():
                    raise AssertionError(f"a login is answered {answer!r}")
        raise AssertionError(f"{name} is never answered")

    def log_in_again(self, name: str) -> None:
        """Log in with what the phone holds of its last login, which this one ends."""
        last = self.devices["phone"]
        self.devices[name].key_id, self.devices[name].secret = last.key_id, last.secret
        self.log_in(name, _attempt_of(name))

    def call(self, name: str, method: str, path: str, act: Callable[[Any], None]) -> None:
        """Make a signed call that may be repeated, until there is an answer."""
        deployment, world = self.deployment, self.deployment.world
        record = deployment.storages[name]
        assert record is not None
        for _ in range(PATIENCE):
            message = self.devices[name].message(method, f"/api{path}", token=record.access_token)

            def journey(message: Any = message) -> int:
                act(world.call.admit(world.call.prove(message)))
                return deployment.decided_at

            answer = deployment.send(journey, lineage=LineageId(record.device_id), told=self._told_call(record))
            if isinstance(answer, int):
                return
            if isinstance(answer, errors.LoginRequired):
                deployment.storages[name] = None
                self._logged_out(name, record)
                return
            assert answer is None or isinstance(answer, errors.Unavailable), f"{path} is answered {answer!r}"
        raise AssertionError(f"{name} is never answered")

    def end_device(self, name: str, device_id: str) -> None:
        """End another device's lineage."""
        end = self.deployment.world.end_device
        self.call(name, "DELETE", f"/me/devices/{device_id}", lambda caller: end(caller, device_id))

    def disable_and_enable(self) -> None:
        """Disable the account, and enable it once that is answered."""
        deployment, world = self.deployment, self.deployment.world
        for status in (Status.DISABLED, Status.ACTIVE):

            def told(_: object, __: int, status: Status = status) -> None:
                if status is deployment.chronicle.status_asked is Status.DISABLED:
                    deployment.chronicle.closed.append((deployment.now, None))

            def journey(status: Status = status) -> str:
                return world.set_status(EMAIL, status)

            for _ in range(PATIENCE):
                if deployment.send(journey, told=told) is not None:
                    break

    def password_changer(self, name: str) -> Callable[[], None]:
        """Step up now; the act is the change itself, sent once: whoever gets no answer has to look."""
        deployment, world, device = self.deployment, self.deployment.world, self.devices[name]
        record = deployment.storages[name]
        assert record is not None
        body = b'{"new_password":"..."}'
        operation = Operation("POST", "/api/me/password", content_digest(body))
        caller = world.use(device, record.access_token, "POST", "/api/step-up")
        grant = world.grant_step_up(caller, operation, PASSWORD).grant

        def change() -> None:
            message = device.message("POST", "/api/me/password", body=body, token=record.access_token, grant=grant)

            def journey() -> int:
                caller = world.call.admit(world.call.prove(message), step_up=StepUpRule())
                world.change_password(caller, NEW_PASSWORD)
                return deployment.decided_at

            def told(decided_at: int, at: int) -> None:
                self._told_call(record)(decided_at, at)
                deployment.chronicle.password_changed = deployment.now

            answer = deployment.send(journey, lineage=LineageId(record.device_id), told=told)
            if isinstance(answer, errors.LoginRequired):
                deployment.storages[name] = None
                self._logged_out(name, record)

        return change

    # What must hold afterwards

    def close(self) -> None:
        """Let every device go on, without faults: whoever has not been ended on request is let in, nobody else."""
        deployment = self.deployment
        deployment.chronicle.check()
        for name in [*sorted(self.honest), *sorted(self.devices.keys() - self.honest)]:
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
        """See that nobody honest is logged out but by somebody entitled to it, or when a copy of theirs was used."""
        if name not in self.honest:
            return
        exposed = name == "phone" and self.copied
        ended = LineageId(record.device_id) in self.deployment.chronicle.ended_on_request
        assert ended or exposed, f"the honest {name} was logged out"

    @property
    def copied(self) -> bool:
        """Tell whether somebody has a copy of the phone."""
        return any(act.startswith(Role.STEAL) for act, _ in self.acts)

    @property
    def _may_be_refused(self) -> bool:
        return any(act.startswith((Role.DISABLE, Role.CHANGE_PASSWORD, Role.DELETE)) for act, _ in self.acts)

    def _told_call(self, record: Record) -> Callable[[int, int], None]:
        def told(decided_at: int, _: int) -> None:
            self.deployment.chronicle.successes.append(Success("call", LineageId(record.device_id), decided_at))

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
) -> Callable[[Course], None]:
    """Make a scene of these roles: one schedule each time it is called. A deployment and a cast may be broken."""
    cast = (cast_of or Cast).of(roles, deployment or Deployment(), times=times)

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
