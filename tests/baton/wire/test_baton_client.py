"""The reference client follows the nine client rules when messages are lost, repeated or parallel."""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import baton_client
from baton_client import (
    Answer,
    AnswerLost,
    BatonClient,
    BatonError,
    BrokenStorage,
    DeviceKey,
    FileStorage,
    HttpTransport,
    LoggedOut,
    MemoryStorage,
    NoResponse,
    NotLoggedIn,
    Offline,
    Record,
    Refused,
    Request,
    Session,
    State,
    Storage,
    StorageUnavailable,
    signature_fields,
)
from tests.baton.finished import finished
from tests.baton.wire.fake_server import BASE_URL, EMAIL, LIFE_S, PASSWORD, Clock, FakeServer, answered, problem

pytestmark = pytest.mark.guarantee(2)


class Pauses(list[float]):
    """A sleep that only records its length. It can run a function at that moment."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Start without pauses."""
        super().__init__()
        self.meanwhile = meanwhile

    def __call__(self, seconds: float) -> None:
        """Record the pause."""
        self.append(seconds)
        self.meanwhile()


def client_of(server: FakeServer, storage: Storage, **options: Any) -> BatonClient:
    """Make a client of the fake server. Its pauses take no time."""
    given = {"clock": server.clock, "transport": server, "sleep": Pauses(), "random": lambda: 0.5}
    return BatonClient(BASE_URL, "mobile", storage, **{**given, **options})


@pytest.fixture
def server() -> FakeServer:
    """Return a server on which Ada has an account."""
    server = FakeServer()
    server.passwords[EMAIL] = PASSWORD
    return server


@pytest.fixture
def storage() -> MemoryStorage:
    """Return an empty storage."""
    return MemoryStorage()


@pytest.fixture
def client(server: FakeServer, storage: MemoryStorage) -> BatonClient:
    """Return a client that has logged in."""
    client = client_of(server, storage)
    client.login(EMAIL, PASSWORD, "a phone")
    return client


def attempts(requests: list[Request]) -> set[str]:
    """Collect the attempts of some requests."""
    return {request.headers["idempotency-key"] for request in requests}


def session_in(storage: Storage) -> Session:
    """Return the session. It must exist."""
    session = storage.read().session
    assert session is not None
    return session


def only_lineage(server: FakeServer) -> Any:
    """Return the only lineage. It must exist."""
    (lineage,) = server.lineages.values()
    return lineage


class TestRule1:
    """Rule 1: token and attempt are one storage record, written atomically. A token never gets a second attempt."""

    def test_an_exchange_with_a_lost_answer_is_repeated_with_the_same_attempt(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """After five lost answers there is one child token, one attempt and an active login."""
        server.faults.extend([server.lose_answer, server.lose_request, server.lose_answer, server.busy])
        client.exchange(deadline_s=None)
        assert server.exchanges == 1
        assert len(attempts(server.sent("/oauth/token"))) == 1
        assert client.me()["email"] == EMAIL

    def test_the_attempt_is_kept_when_the_process_ends(self, server: FakeServer, tmp_path: Path) -> None:
        """An app that stops between sending and storing repeats the stored attempt after the restart."""
        before = client_of(server, FileStorage(tmp_path / "session"))
        before.login(EMAIL, PASSWORD, "a phone")
        server.faults.extend([server.lose_answer])
        with pytest.raises(Offline):
            before.exchange(deadline_s=0)
        after = client_of(server, FileStorage(tmp_path / "session"))
        after.exchange()
        assert server.exchanges == 1
        assert only_lineage(server).ended is None

    def test_each_generation_has_its_own_attempt(
        self, client: BatonClient, storage: MemoryStorage, server: FakeServer
    ) -> None:
        """Attempts have at least 128 bits and differ from each other. The attempt of the parent is not used again."""
        seen = {session_in(storage).attempt} | {client.exchange().attempt for _ in range(5)}
        assert len(seen) == 6
        assert all(len(base64.urlsafe_b64decode(attempt + "==")) >= 16 for attempt in seen)
        assert server.exchanges == 5

    @pytest.mark.parametrize("route", ["register", "login"])
    def test_a_login_that_was_interrupted_is_repeated_after_the_restart(self, route: str, tmp_path: Path) -> None:
        """Attempt and key are sent again, so registration and login take effect once. No device is added."""
        server = FakeServer()
        if route == "login":
            server.passwords[EMAIL] = PASSWORD
        server.faults.extend([server.lose_answer])
        with pytest.raises(Offline):
            getattr(client_of(server, FileStorage(tmp_path / "s")), route)(EMAIL, PASSWORD, "a phone", deadline_s=0)
        session = getattr(client_of(server, FileStorage(tmp_path / "s")), route)(
            " ADA@example.com", PASSWORD, "a phone"
        )
        assert len(attempts(server.log)) == 1
        assert only_lineage(server).id == session.device_id

    def test_attempt_and_key_are_stored_before_they_are_sent(self, server: FakeServer, storage: MemoryStorage) -> None:
        """The storage has both before the server receives the login."""

        def watching(request: Request, timeout_s: float) -> Answer:
            pending, key = storage.read().pending, storage.read().key
            assert pending is not None
            assert key is not None
            assert request.headers["idempotency-key"] == f'"{pending.attempt}"'
            assert json.loads(request.body)["device"]["public_key"] == key.jwk()
            return server(request, timeout_s)

        client_of(server, storage, transport=watching).login(EMAIL, PASSWORD, "a phone")
        assert storage.read().pending is None

    def test_a_login_with_another_address_gets_a_new_attempt(self, server: FakeServer, storage: MemoryStorage) -> None:
        """The attempt of a login for one address is never used for another address."""
        server.passwords["bob@example.com"] = PASSWORD
        server.faults.extend([server.lose_answer])
        client = client_of(server, storage)
        with pytest.raises(Offline):
            client.login(EMAIL, PASSWORD, "a phone", deadline_s=0)
        client.login("bob@example.com", PASSWORD, "a phone")
        assert len(attempts(server.log)) == 2

    def test_the_key_is_kept_after_a_logout(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The server recognises the device by this key at the next login."""
        key = storage.read().key
        client.logout()
        client.login(EMAIL, PASSWORD, "a phone")
        assert storage.read().key == key
        assert len({lineage.key_id for lineage in server.lineages.values()}) == 1


class TestRule2:
    """Rule 2: storage is read immediately before signing, and each process has one exchange in flight."""

    def test_a_client_reads_the_storage_again_after_a_pause(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """While one client pauses, another exchanges. The first uses the stored token and sends nothing more."""
        other = client_of(server, storage)

        def go_on() -> None:
            for _ in range(6):
                other.exchange()

        waiting = client_of(server, storage, sleep=Pauses(meanwhile=go_on))
        server.faults.extend([server.lose_request])
        assert waiting.exchange() == session_in(storage)
        assert server.exchanges == 6
        assert only_lineage(server).ended is None
        assert client.me()

    @pytest.mark.parametrize("nth", range(1, 6))
    @pytest.mark.parametrize("act", ["exchange", "me"])
    def test_a_process_frozen_between_reading_and_sending_ends_no_login(
        self, act: str, nth: int, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """After the nth reading an hour passes, in which another process exchanges six times.

        The client takes `created` before it reads. The server thus refuses the old token for its time (E3), not as
        reuse (E8).
        """

        class Freezing:
            """The shared storage, for a process that is frozen after it has read it."""

            readings = 0

            def read(self) -> Record:
                """Read, then freeze."""
                record = storage.read()
                self.readings += 1
                if self.readings == nth:
                    for _ in range(6):
                        client.exchange()
                    server.clock.skip(3600)
                return record

            def update(self, change: Callable[[Record], Record], /) -> Record:
                """Change the shared record."""
                return storage.update(change)

        frozen = client_of(server, Freezing())
        for _ in range(5):
            getattr(frozen, act)()
        assert server.exchanges >= 6
        assert only_lineage(server).ended is None

    def test_one_exchange_at_a_time_in_a_process(self, server: FakeServer, client: BatonClient) -> None:
        """Eight threads need a token. They send one exchange."""
        server.clock.skip(LIFE_S)
        together = threading.Barrier(8)
        failures: list[BaseException] = []

        def need() -> None:
            try:
                together.wait(10)
                client.me()
            except BaseException as error:  # noqa: BLE001 - asserted below
                failures.append(error)

        threads = [threading.Thread(target=need) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not failures
        assert len(server.sent("/oauth/token")) == 1

    def test_two_clients_on_one_file_exchange_once(self, server: FakeServer, tmp_path: Path) -> None:
        """Both clients may send, because the record is the lock. With the same attempt, both get the same child."""
        together = threading.Barrier(2)
        both_sent: set[bytes] = set()

        def slow(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            if request.url.endswith("/oauth/token"):
                both_sent.add(request.body)
                together.wait(10)  # No client stores before both are answered.
            return answer

        clients = [client_of(server, FileStorage(tmp_path / "session"), transport=slow) for _ in range(2)]
        clients[0].login(EMAIL, PASSWORD, "a phone")
        children: list[Session] = []
        threads = [threading.Thread(target=lambda one=one: children.append(one.exchange())) for one in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(both_sent) == 1
        assert server.exchanges == 1
        assert children[0] == children[1] == session_in(FileStorage(tmp_path / "session"))


class TestRule3:
    """Rule 3: the child token is stored only if the storage still has its parent."""

    def test_an_answer_after_a_logout_does_not_restore_the_session(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """The session was deleted while an exchange was in flight."""

        def dropping(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            client.forget()
            return answer

        with pytest.raises(NotLoggedIn):
            client_of(server, storage, transport=dropping).exchange()
        assert storage.read().session is None

    def test_a_late_answer_does_not_replace_a_newer_session(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """While one answer is in flight, another client advances by two generations. The late child is discarded."""

        def overtaken(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            client.exchange()
            client.exchange()
            return answer

        session = client_of(server, storage, transport=overtaken).exchange()
        assert session == session_in(storage)
        assert session.access_token.split(".")[2] == "2"

    def test_a_login_is_discarded_if_another_one_began_later(self, server: FakeServer, storage: MemoryStorage) -> None:
        """The storage belongs to the login that began last. The late answer to the earlier login is not stored."""
        server.passwords["bob@example.com"] = PASSWORD
        bob = client_of(server, storage)

        def overtaken(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            bob.login("bob@example.com", PASSWORD, "a phone")
            return answer

        with pytest.raises(NotLoggedIn, match="overtook"):
            client_of(server, storage, transport=overtaken).login(EMAIL, PASSWORD, "a phone")
        assert bob.me()["email"] == "bob@example.com"


class TestRule4:
    """Rule 4: the child token is stored before it is used."""

    def test_each_token_is_stored_before_it_is_sent(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """At each call the storage has the token of the call."""

        def watching(request: Request, timeout_s: float) -> Answer:
            if "authorization" in request.headers:
                assert request.headers["authorization"] == f"Bearer {session_in(storage).access_token}"
            return server(request, timeout_s)

        watched = client_of(server, storage, transport=watching)
        server.clock.skip(LIFE_S)
        assert watched.me() == client.me()
        assert server.exchanges == 1

    def test_a_child_that_cannot_be_stored_is_not_used(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk stops the call. When there is space again, the same exchange returns the same child."""
        server.clock.skip(LIFE_S)
        with monkeypatch.context() as patch:

            def full(_: object) -> Record:
                raise OSError(28, "No space left on device")

            patch.setattr(storage, "update", full)
            with pytest.raises(StorageUnavailable, match="No space left") as unavailable:
                client.me()
            assert isinstance(unavailable.value.__cause__, OSError)
        assert not server.sent("/me")
        assert client.me()
        assert server.exchanges == 1


class TestRule5:
    """Rule 5: a network error, a time-out or a 503 is repeated, and never logs the user out."""

    def test_a_network_error_never_logs_the_user_out(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """After a day without network the client raises `Offline`, and the record is unchanged."""
        before = storage.read()
        server.clock.skip(LIFE_S)

        def dead(request: Request, timeout_s: float) -> Answer:
            raise TimeoutError(f"{request.method} took longer than {timeout_s}")

        with pytest.raises(Offline, match="The login is kept"):
            client_of(server, storage, transport=dead).me()
        assert storage.read() == before
        assert client.me()

    @pytest.mark.parametrize("status", [200, 401, 403, 404, 502, 504])
    def test_a_foreign_answer_never_logs_the_user_out(
        self, status: int, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The answer of a proxy or gateway, with any status, does not end the session."""
        before = storage.read()
        page = Answer(status, {"content-type": "text/html"}, b"<h1>Welcome to our hotel</h1>")
        with pytest.raises(Offline):
            client_of(server, storage, transport=lambda _request, _timeout_s: page).exchange()
        assert storage.read() == before
        assert client.me()

    def test_pauses_grow_and_are_random(self, server: FakeServer, storage: MemoryStorage, client: BatonClient) -> None:
        """The back-off is exponential with full jitter, up to a maximum pause."""
        sleep = Pauses()
        server.faults.extend([server.lose_request] * 9)
        client_of(server, storage, sleep=sleep, random=lambda: 1.0).exchange(deadline_s=None)
        assert sleep == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        server.faults.extend([server.lose_request] * 2)
        client_of(server, storage, sleep=sleep, random=lambda: 0.0).exchange()
        assert sleep[9:] == [0.0, 0.0]
        assert client.me()

    def test_retry_after_is_the_minimum_pause(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """The jitter is added to it, so that not all clients return at the same moment."""
        sleep = Pauses()
        server.faults.extend([lambda request: server.busy(request, wait_s=7)])
        client_of(server, storage, sleep=sleep, random=lambda: 1.0).me()
        assert sleep == [7.5]
        assert client.me()

    def test_the_caller_sets_the_deadline(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """No pause begins that would end after the deadline. Each request gets the remaining time."""
        sleep, told = Pauses(), []

        def dead(request: Request, timeout_s: float) -> Answer:
            told.append(timeout_s)
            raise NoResponse(request.url)

        with pytest.raises(Offline):
            (client_of(server, storage, transport=dead, sleep=sleep, random=lambda: 1.0).me(),)
        assert 15 < sum(sleep) < 30
        assert max(told) <= 10
        with pytest.raises(Offline):
            client_of(server, storage, transport=dead, sleep=sleep).exchange(deadline_s=3)
        assert told[-1] <= 3
        assert client.me()

    def test_a_rate_limit_longer_than_the_deadline_is_raised_immediately(
        self, server: FakeServer, storage: MemoryStorage
    ) -> None:
        """The exception has the time to wait."""
        limited = answered(429, {"code": "too_many_requests", "action": "retry"}, retry_after="900")
        with pytest.raises(Refused) as refused:
            client_of(server, storage, transport=lambda _request, _timeout_s: limited).login(EMAIL, PASSWORD, "phone")
        assert (refused.value.code, refused.value.retry_after_s) == ("too_many_requests", 900)

    def test_a_server_defect_is_raised_with_its_request_id(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """The error is not `Offline`, because the server answered. After three such answers the client stops."""
        before, count = storage.read(), []

        def defective(request: Request, _timeout_s: float) -> Answer:
            count.append(request)
            return problem(500, "server_error", "server_error", "retry", request_id="id-of-the-defect")

        broken = client_of(server, storage, transport=defective)
        acts: list[Callable[[], object]] = [broken.me, lambda: broken.exchange(deadline_s=None)]
        for act in acts:
            count.clear()
            with pytest.raises(Refused, match="id-of-the-defect") as refused:
                act()
            assert (refused.value.code, len(count)) == ("server_error", 3)
        assert storage.read() == before
        with pytest.raises(Offline, match="server_error"):
            broken.exchange(deadline_s=0)  # One defect: a later request may succeed.
        with pytest.raises(AnswerLost, match="id-of-the-defect"):
            broken.call("POST", "/notes", json={})
        assert client.me()


class TestRule6:
    """Rule 6: the client decides by `action`, and by nothing else."""

    @pytest.mark.parametrize("wrong_by_s", [-86_400, -301, 301, 86_400])
    def test_a_wrong_clock_costs_one_round_trip(self, server: FakeServer, wrong_by_s: int) -> None:
        """If the device's clock is wrong, the client computes its offset from the refusal and signs once more."""
        client = client_of(server, MemoryStorage(), clock=Clock(server.clock, wrong_by_s=wrong_by_s))
        client.login(EMAIL, PASSWORD, "a phone")
        assert len(server.log) == 2
        assert client.me()
        assert len(server.log) == 3
        assert abs(client.now() - server.clock()) <= 1

    def test_a_clock_that_changes_while_the_app_runs_is_corrected(self, server: FakeServer) -> None:
        """Every call succeeds, and no login ends."""
        clock = Clock(server.clock)
        client = client_of(server, MemoryStorage(), clock=clock)
        client.login(EMAIL, PASSWORD, "a phone")
        for jump in (86_400, -200_000, 3_000):
            clock.skip(jump)
            assert client.me()
        assert only_lineage(server).ended is None

    def test_the_clock_is_corrected_only_once_for_a_request(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """If the server refuses the corrected time again, the refusal is raised."""
        skewed = problem(401, "stale_signature", "clock_skew", "sync_clock")
        count = []

        def stubborn(request: Request, _timeout_s: float) -> Answer:
            count.append(request)
            return skewed

        with pytest.raises(Refused, match="clock_skew"):
            client_of(server, storage, transport=stubborn).me()
        assert len(count) == 2
        assert client.me()

    def test_the_clock_is_corrected_without_the_header(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """If a gateway removes `Baton-Time`, `server_time` in the body is used."""

        def dropping(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            return replace(answer, headers={n: v for n, v in answer.headers.items() if n != "baton-time"})

        slow = client_of(server, storage, transport=dropping, clock=Clock(server.clock, wrong_by_s=-5_000))
        assert slow.me() == client.me()
        assert slow.sync_clock() == 5_000

    def test_a_slow_answer_does_not_change_the_clock(self, server: FakeServer, storage: MemoryStorage) -> None:
        """An answer that took a minute contains the time of a minute ago."""

        def slow(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            server.clock.skip(60)
            return answer

        assert client_of(server, storage, transport=slow).sync_clock() == 0

    def test_superseded_makes_the_client_read_the_storage_again(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """A request that arrives after two more exchanges is answered 409. The client uses the stored token."""

        def delayed(request: Request, timeout_s: float) -> Answer:
            client.exchange()
            client.exchange()
            return server(request, timeout_s)

        session = client_of(server, storage, transport=delayed).exchange()
        assert session == session_in(storage)
        assert client.me()

    def test_a_superseded_login_starts_again(self, server: FakeServer, storage: MemoryStorage) -> None:
        """The answer was lost and the lineage has ended, so the client logs in again with a new attempt."""
        client = client_of(server, storage)
        server.faults.extend([server.lose_answer])
        with pytest.raises(Offline):
            client.login(EMAIL, PASSWORD, "a phone", deadline_s=0)
        only_lineage(server).ended = "ended_by_owner"
        session = finished(client.login(EMAIL, PASSWORD, "a phone"))
        assert server.lineages[session.device_id].ended is None
        assert len(attempts(server.log)) == 2

    def test_a_login_that_another_process_finished_is_adopted(self, server: FakeServer, storage: MemoryStorage) -> None:
        """Two processes start one login.

        The slower process finds a finished and advanced login in the storage and uses it.
        """
        quick = client_of(server, storage)

        def delayed(request: Request, timeout_s: float) -> Answer:
            if not server.lineages:
                quick.login(EMAIL, PASSWORD, "a phone")
                quick.exchange()
            return server(request, timeout_s)

        session = client_of(server, storage, transport=delayed).login(EMAIL, PASSWORD, "a phone")
        assert session == session_in(storage)
        assert only_lineage(server).generation == 1

    @pytest.mark.parametrize("how", ["call", "exchange"])
    def test_the_end_of_the_session_is_raised_with_its_reason(
        self, how: str, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """`log_in` in answer to the token of the session deletes the stored session and keeps the key."""
        only_lineage(server).ended = "password_changed"
        with pytest.raises(LoggedOut) as ended:
            client.me() if how == "call" else client.exchange()
        assert ended.value.reason == "password_changed"
        assert (storage.read().session, storage.read().key is None) == (None, False)
        with pytest.raises(NotLoggedIn):
            client.me()

    def test_the_end_of_an_earlier_session_does_not_end_the_current_one(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """The storage no longer has the refused token, so the newer session is kept."""
        other = client_of(server, storage)

        def overtaken(request: Request, timeout_s: float) -> Answer:
            if request.url.endswith("/me") and len(server.lineages) == 1:
                only_lineage(server).ended = "logout"
                other.login(EMAIL, PASSWORD, "a phone")
            return server(request, timeout_s)

        assert client_of(server, storage, transport=overtaken).me()["device_id"] == session_in(storage).device_id
        assert client.me()

    def test_a_refusal_about_another_thing_does_not_end_the_session(
        self, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """Examples are a wrong password, and a registered address, although its `action` is `log_in`."""
        before = session_in(storage)
        for begin, code in (
            (lambda: client.login(EMAIL, "wrong" * 4, "a phone"), "invalid_credentials"),
            (lambda: client.register(EMAIL, PASSWORD, "a phone"), "account_exists"),
            (lambda: client.change_password("wrong" * 4, "another fine password"), "invalid_credentials"),
            (lambda: client.call("GET", "/nothing"), "not_found"),
        ):
            with pytest.raises(Refused) as refused:
                begin()
            assert refused.value.code == code
        assert session_in(storage) == before

    def test_an_unknown_action_is_raised(self, server: FakeServer, storage: MemoryStorage, client: BatonClient) -> None:
        """The app decides what to do."""
        before = storage.read()
        for status in (401, 429, 500, 503):
            odd = problem(status, "invalid_token", "moon_phase", "look_up")
            strange = client_of(server, storage, transport=lambda _request, _timeout_s, odd=odd: odd)
            for act in (strange.me, strange.exchange, lambda one=strange: one.call("POST", "/notes", json={})):
                with pytest.raises(Refused, match="moon_phase") as raised:
                    act()
                assert raised.value.action == "look_up"
        assert storage.read() == before
        assert client.me()

    @pytest.mark.parametrize("error", ["insufficient_acr", "unknown_passkey", "session_superseded", "", None, 7])
    def test_log_in_keeps_the_session_if_it_is_not_about_the_token(
        self, error: Any, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """`log_in` means: start a login. Only `invalid_token` and `invalid_grant` are about the session's token."""
        before = storage.read()
        demand = problem(401, error, "another_code", "log_in")
        strange = client_of(server, storage, transport=lambda _request, _timeout_s: demand)
        for act in (strange.me, strange.exchange, lambda: strange.delete_account(PASSWORD)):
            with pytest.raises(Refused, match="another_code"):
                act()
        assert storage.read() == before
        assert client.me()

    def test_a_server_defect_in_a_state_changing_call_is_an_unknown_outcome(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """`check_outcome`: the server may have executed the call. It is repeated only if a repetition is harmless."""
        answers: list[Answer] = []
        sent: list[Request] = []

        def defective(request: Request, timeout_s: float) -> Answer:
            sent.append(request)
            return answers.pop(0) if answers else server(request, timeout_s)

        defect = problem(500, "server_error", "server_error", "check_outcome", request_id="id-of-the-defect")
        unknown = problem(409, "outcome_unknown", "outcome_unknown", "check_outcome")
        broken = client_of(server, storage, transport=defective)
        key = "transfer-2025-06-15-0003"
        for answer, idempotency_key in ((defect, None), (unknown, None), (unknown, key)):
            answers[:], sent[:] = [answer], []
            with pytest.raises(AnswerLost, match=str(answer.members()["code"])) as lost:
                broken.call("POST", "/notes", json={}, idempotency_key=idempotency_key)
            assert isinstance(lost.value.__cause__, Refused)
            assert len(sent) == 1
        answers[:], sent[:] = [defect] * 2, []
        assert broken.call("POST", "/notes", json={}, idempotency_key=key).status == 201
        assert len(sent) == 3
        answers[:], sent[:] = [defect] * 9, []
        with pytest.raises(Refused, match="id-of-the-defect"):
            broken.end_device("own")  # A repetition is harmless, so the defect is raised, not `AnswerLost`.
        assert len(sent) == 3
        assert client.me()

    @pytest.mark.parametrize(("action", "sendings"), [("exchange", 2), ("step_up", 3)])
    def test_the_client_gives_up_after_a_limited_number_of_remedies(
        self, action: str, sendings: int, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """Then it raises the refusal."""
        demand = problem(401, "x", "x", action)
        calls = []

        def stubborn(request: Request, timeout_s: float) -> Answer:
            if not request.url.endswith("/notes"):
                return server(request, timeout_s)
            calls.append(request)
            assert len(calls) <= sendings
            return demand

        with pytest.raises(Refused, match=action):
            client_of(server, storage, transport=stubborn).call("POST", "/notes", json={}, confirm=lambda _: PASSWORD)
        assert len(calls) == sendings
        assert client.me()

    @pytest.mark.parametrize("lost", [None, DeviceKey.generate("p256")])
    def test_a_lost_key_ends_the_session(
        self, lost: DeviceKey | None, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """A bound session is useless without its key. Nothing is sent."""
        storage.update(lambda record: replace(record, key=lost))
        arrived = len(server.log)
        with pytest.raises(LoggedOut, match="key_lost") as ended:
            client.me()
        assert (ended.value.reason, ended.value.confirmed) == ("key_lost", False)
        assert storage.read().session is None
        assert len(server.log) == arrived

    def test_a_logout_that_cannot_be_signed_is_reported(
        self, client: BatonClient, storage: MemoryStorage, server: FakeServer
    ) -> None:
        """The key is lost, so the login stays active on the server. The app learns this."""
        storage.update(lambda record: replace(record, key=None))
        assert not client.logout()
        assert only_lineage(server).ended is None
        assert (storage.read().session, storage.read().revocations) == (None, ())

    def test_a_key_that_an_attacker_may_have_is_replaced(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The reason is `reuse`: a second holder has signed with this key. The next login makes a new key."""
        key = storage.read().key
        for code, reason in (("token_reused", None), ("login_required", "reuse")):
            ended = problem(400, "invalid_grant", code, "log_in", **({"reason": reason} if reason else {}))
            with pytest.raises(LoggedOut) as told:
                client_of(server, storage, transport=lambda _request, _timeout_s, ended=ended: ended).exchange()
            assert told.value.reason == "reuse"
            assert storage.read().key is None
            client.login(EMAIL, PASSWORD, "a phone")
            assert storage.read().key not in {None, key}


class TestRule7:
    """Rule 7: the token is exchanged when it is needed."""

    def test_a_valid_token_is_not_exchanged(self, server: FakeServer, client: BatonClient) -> None:
        """Calls within the lifetime of a token cause no exchange. Time without calls causes none either."""
        client.me()
        server.clock.skip(LIFE_S - 60)
        client.me()
        server.clock.skip(20 * LIFE_S)
        assert server.exchanges == 0
        client.me()
        assert server.exchanges == 1

    def test_a_token_that_is_about_to_expire_is_exchanged_first(self, server: FakeServer, client: BatonClient) -> None:
        """A token with five seconds left may expire before the request arrives."""
        server.clock.skip(LIFE_S - 5)
        client.me()
        assert server.exchanges == 1
        assert len(server.sent("/me")) == 1

    def test_a_token_that_expired_on_the_way_is_exchanged_and_the_call_repeated(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """401 `token_expired` means that nothing was executed, so even a state-changing call is repeated."""

        def slow(request: Request, timeout_s: float) -> Answer:
            if not server.exchanges and request.url.endswith("/notes"):
                server.clock.skip(60)
            return server(request, timeout_s)

        server.clock.skip(LIFE_S - 30)
        answer = client_of(server, storage, transport=slow).call("POST", "/notes", json={"text": "hello"})
        assert answer.status == 201
        assert len(server.sent("/notes")) == 2
        assert len(server.transfers) == server.exchanges == 1
        assert client.me()

    def test_a_child_that_has_expired_on_arrival_is_exchanged_too(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """The answer was lost on Friday and is fetched on Monday.

        The child has expired, so it is exchanged immediately.
        """
        server.faults.extend([server.lose_answer])
        with pytest.raises(Offline):
            client.exchange(deadline_s=0)
        server.clock.skip(3 * 86_400)
        assert client.me()
        assert server.exchanges == 2
        assert len(server.sent("/me")) == 1


class TestRule8:
    """Rule 8: `superseded` twice for an unchanged record means a second holder of it. The client revokes the login."""

    @pytest.fixture(params=["key", "hmac", "none"])
    def binding(self, request: pytest.FixtureRequest) -> str:
        """Return each binding in turn."""
        return str(request.param)

    @pytest.fixture
    def owner(self, binding: str, server: FakeServer, storage: MemoryStorage) -> BatonClient:
        """Return a client that has logged in with this binding."""
        client = client_of(server, storage, binding=binding)
        client.login(EMAIL, PASSWORD, "a phone")
        return client

    def copied(self, server: FakeServer, storage: Storage, *, ahead: int = 2, **options: Any) -> BatonClient:
        """Copy the device's whole storage, and exchange the given number of times before the owner does."""
        copy = client_of(server, MemoryStorage(storage.read()), **options)
        for _ in range(ahead):
            copy.exchange()
        return copy

    @pytest.mark.parametrize("ahead", [2, 3, 4])
    @pytest.mark.parametrize("act", ["exchange", "me"])
    def test_a_copy_that_is_ahead_is_revoked_by_its_owner(
        self, act: str, ahead: int, binding: str, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """A complete copy (token, key, attempt) stops working when the owner exchanges. The owner logs in again."""
        old = storage.read()
        copy = self.copied(server, storage, ahead=ahead)
        if act == "me":
            server.clock.skip(LIFE_S)
        with pytest.raises(LoggedOut) as ended:
            getattr(owner, act)()
        assert (ended.value.reason, ended.value.confirmed) == ("reuse", True)
        assert only_lineage(server).ended == "reuse"
        (revoked,) = server.sent("/oauth/revoke")
        assert ("signature" in revoked.headers) == (binding != "none")
        assert storage.read().session is None
        assert storage.read().key is None
        assert storage.read().revocations == ()
        for use in (copy.exchange, copy.me):
            with pytest.raises(NotLoggedIn):
                use()
        owner.login(EMAIL, PASSWORD, "a phone")
        assert owner.me()["email"] == EMAIL
        if binding == "key":
            assert storage.read().key not in {None, old.key}

    def test_the_client_pauses_and_sends_again_before_it_decides(self, server: FakeServer, owner: BatonClient) -> None:
        """The client sends two exchanges, at least a second apart."""
        pauses = Pauses()
        owner._sleep = pauses
        self.copied(server, owner._storage)
        arrived = len(server.sent("/oauth/token"))
        with pytest.raises(LoggedOut):
            owner.exchange()
        assert len(server.sent("/oauth/token")) == arrived + 2
        assert len(pauses) == 1
        assert pauses[0] >= 1

    @pytest.mark.parametrize("moment", ["pause", "second answer", "decision"])
    def test_a_record_that_another_process_changed_causes_no_revocation(
        self, moment: str, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """The record is the lock. Another process stored its child, so the owner itself advanced."""
        session = session_in(storage)
        behind = self.copied(server, storage)
        ahead = session_in(behind._storage)

        def moved() -> None:
            storage.update(lambda record: replace(record, session=ahead))

        def answering(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            if moment == "second answer" and answer.status == 409 and pauses:
                moved()
            return answer

        class Deciding:
            """The shared storage, which another process changes just before this process decides."""

            def read(self) -> Record:
                """Read."""
                return storage.read()

            def update(self, change: Callable[[Record], Record], /) -> Record:
                """Change the record of the other process."""
                if moment == "decision" and pauses:
                    moved()
                return storage.update(change)

        pauses = Pauses(meanwhile=moved if moment == "pause" else lambda: None)
        slow = client_of(server, Deciding(), transport=answering, sleep=pauses)
        assert slow.exchange() == ahead != session
        assert not server.sent("/oauth/revoke")
        assert storage.read().revocations == ()
        assert owner.me()["email"] == EMAIL

    def test_one_superseded_answer_causes_no_revocation(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """The second exchange gets another answer, so the login stays active."""
        server.faults.extend([lambda _: problem(409, "invalid_request", "superseded", "retry")])
        assert owner.exchange() == session_in(storage)
        assert not server.sent("/oauth/revoke")

    def test_without_time_for_the_second_exchange_nothing_is_decided(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """The caller gets `Offline`. The next exchange decides."""
        before = storage.read()
        self.copied(server, storage)
        with pytest.raises(Offline):
            owner.exchange(deadline_s=0)
        assert storage.read() == before
        with pytest.raises(LoggedOut, match="reuse"):
            owner.exchange()

    def offline(self, server: FakeServer) -> Callable[[Request, float], Answer]:
        """Return a transport that loses revocations."""

        def line(request: Request, timeout_s: float) -> Answer:
            if request.url.endswith("/oauth/revoke"):
                raise NoResponse("no network", sent=False)
            return server(request, timeout_s)

        return line

    @pytest.mark.parametrize("chance", ["login", "me", "exchange", "sync_clock", "logout"])
    def test_a_revocation_is_stored_until_it_is_answered(
        self, chance: str, binding: str, server: FakeServer, tmp_path: Path
    ) -> None:
        """The network failed. The next process sends the revocation first, before its own request."""

        def client(transport: Any) -> BatonClient:
            return client_of(server, FileStorage(tmp_path / "s"), binding=binding, transport=transport)

        session = finished(client(server).login(EMAIL, PASSWORD, "a phone"))
        copy = self.copied(server, FileStorage(tmp_path / "s"))
        with pytest.raises(LoggedOut) as ended:
            client(self.offline(server)).exchange()
        assert (ended.value.reason, ended.value.confirmed) == ("reuse", False)
        record = FileStorage(tmp_path / "s").read()
        assert record.session is None
        assert [revocation.token for revocation in record.revocations] == [session.access_token]
        assert copy.me()
        after = client(server)
        if chance == "login":
            after.login(EMAIL, PASSWORD, "a phone")
        elif chance in {"sync_clock", "logout"}:
            getattr(after, chance)()
        else:
            with pytest.raises(NotLoggedIn):
                getattr(after, chance)()
        assert server.lineages[session.device_id].ended == "reuse"
        assert FileStorage(tmp_path / "s").read().revocations == ()
        with pytest.raises(LoggedOut):
            copy.me()
        assert len(server.sent("/oauth/revoke")) == 1

    def test_a_revocation_is_kept_after_the_next_login(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """The owner logs in while revocations are lost. A later call sends the revocation."""
        (lineage,) = server.lineages.values()
        self.copied(server, storage)
        flaky = client_of(server, storage, binding=owner._binding, transport=self.offline(server))
        with pytest.raises(LoggedOut):
            flaky.exchange()
        flaky.login(EMAIL, PASSWORD, "a phone")
        assert flaky.me()
        assert len(storage.read().revocations) == 1
        assert owner.me()
        assert storage.read().revocations == ()
        assert lineage.ended in {"reuse", "replaced"}

    def test_a_revocation_is_repeated_after_an_error_and_with_the_correct_time(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """A 500, a 503, a foreign page and a refusal for a wrong clock do not answer the revocation."""
        self.copied(server, storage)
        page = Answer(200, {"content-type": "text/html"}, b"<h1>Welcome</h1>")
        troubles = [problem(503, "temporarily_unavailable", "unavailable", "retry"), page]
        troubles.append(problem(500, "server_error", "server_error", "check_outcome"))

        def troubled(request: Request, timeout_s: float) -> Answer:
            if request.url.endswith("/oauth/revoke") and troubles:
                return troubles.pop()
            return server(request, timeout_s)

        with pytest.raises(LoggedOut):
            client_of(server, storage, transport=troubled, clock=Clock(server.clock, wrong_by_s=7200)).exchange()
        assert not troubles
        assert only_lineage(server).ended == "reuse"

    @pytest.mark.parametrize(
        ("action", "kept"),
        [("log_in", 0), ("fix_request", 1), ("retry", 1), ("sync_clock", 1), ("check_outcome", 1), ("look_up", 1)],
    )
    def test_only_log_in_answers_a_revocation(
        self, action: str, kept: int, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """After another refusal the revocation is kept, and this process does not send it again."""
        self.copied(server, storage)
        refusal = problem(400, "invalid_grant", "some_code", action)
        asked: list[Request] = []

        def refusing(request: Request, timeout_s: float) -> Answer:
            if not request.url.endswith("/oauth/revoke"):
                return server(request, timeout_s)
            asked.append(request)
            return refusal

        client = client_of(server, storage, binding=owner._binding, transport=refusing)
        with pytest.raises(LoggedOut) as ended:
            client.exchange()
        assert ended.value.confirmed == (kept == 0)
        assert len(storage.read().revocations) == kept
        before = len(asked)
        client.login(EMAIL, PASSWORD, "a phone")
        assert len(asked) == before, "an unanswered revocation is not sent again for half a minute"
        client._revoke_after = 0.0
        client.me()
        assert (len(asked) == before) == (action in {"log_in", "fix_request", "look_up"})

    def test_two_processes_that_detect_the_copy_revoke_it_once(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """The second process finds that the record has changed."""
        self.copied(server, storage)
        told: list[NotLoggedIn] = []

        def other() -> None:
            if not told:
                told.append(NotLoggedIn())
                with pytest.raises(LoggedOut) as ended:
                    client_of(server, storage).exchange()
                told[0] = ended.value

        with pytest.raises(NotLoggedIn):
            client_of(server, storage, sleep=Pauses(meanwhile=other)).exchange()
        assert isinstance(told[0], LoggedOut)
        assert len(server.sent("/oauth/revoke")) == 1
        assert owner.session is None

    def test_a_logout_that_detects_a_copy_reports_the_open_revocation(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """The login is not reported as ended before its revocation is answered. The copy then stops working."""
        copy = self.copied(server, storage)
        server.clock.skip(LIFE_S)
        assert not client_of(server, storage, binding=owner._binding, transport=self.offline(server)).logout()
        assert only_lineage(server).ended is None
        assert owner.logout()
        assert only_lineage(server).ended == "reuse"
        with pytest.raises(LoggedOut):
            copy.me()

    def test_a_restored_backup_counts_as_a_copy(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """The client cannot distinguish its own old record from a copy. The login ends, and a new login starts."""
        backup = storage.read()
        owner.exchange()
        owner.exchange()
        storage.update(lambda _: backup)
        with pytest.raises(LoggedOut, match="reuse"):
            owner.exchange()
        owner.login(EMAIL, PASSWORD, "a phone")
        assert owner.me()

    def test_a_stored_revocation_is_read_again_and_its_repr_shows_no_secret(
        self, server: FakeServer, owner: BatonClient, storage: MemoryStorage
    ) -> None:
        """A revocation contains a token and a key, like a session."""
        record = storage.read()
        assert record.session
        self.copied(server, storage)
        with pytest.raises(LoggedOut):
            client_of(server, storage, binding=owner._binding, transport=self.offline(server)).exchange()
        after = storage.read()
        assert Record.from_json(after.to_json()) == after
        assert len(after.revocations) == 1
        secrets = [record.session.access_token, record.session.attempt, record.session.secret, record.key]
        for secret in [secret.data if isinstance(secret, DeviceKey) else secret for secret in secrets if secret]:
            assert secret not in repr(after)


class TestStateChangingCalls:
    """A state-changing call with a lost answer is not repeated automatically."""

    @pytest.mark.parametrize("trouble", ["lose_answer", "lose_request", "busy"])
    def test_a_lost_answer_is_raised_as_an_unknown_outcome(
        self, trouble: str, server: FakeServer, client: BatonClient
    ) -> None:
        """The call is sent once, and the caller learns that the outcome is unknown."""
        server.faults.extend([getattr(server, trouble)])
        with pytest.raises(AnswerLost):
            client.call("POST", "/notes", json={})
        assert len(server.transfers) <= 1
        assert not server.faults
        assert len(server.sent("/notes")) <= 1

    def test_a_replayed_nonce_is_an_unknown_outcome(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """A proxy sent the request twice and lost the first answer.

        A fresh nonce can be `replayed_nonce` only in this way.
        """

        def doubling(request: Request, timeout_s: float) -> Answer:
            server(request, timeout_s)
            return server(request, timeout_s)

        with pytest.raises(AnswerLost, match="replayed_nonce"):
            client_of(server, storage, transport=doubling).call("POST", "/notes", json={})
        assert len(server.transfers) == 1
        assert client.me()

    def test_a_request_that_was_never_sent_is_sent_again(self, server: FakeServer, client: BatonClient) -> None:
        """Without a connection nothing took effect. The client tries again and then raises `Offline`."""
        server.faults.extend([server.refuse_connection] * 2)
        assert client.call("POST", "/notes", json={}).status == 201
        server.faults.extend([server.refuse_connection])
        with pytest.raises(Offline):
            client.call("POST", "/notes", json={}, deadline_s=0)
        assert len(server.transfers) == 1

    def test_a_rate_limited_call_is_sent_again(self, server: FakeServer, client: BatonClient) -> None:
        """Baton and its API Gateway answer 429 before anything is executed."""
        server.faults.extend([lambda _: problem(429, "too_many_requests", "too_many_requests", "retry")])
        assert client.call("POST", "/notes", json={}).status == 201
        assert len(server.transfers) == 1

    def test_a_call_with_an_idempotency_key_is_repeated(self, server: FakeServer, client: BatonClient) -> None:
        """The route recognises the repetition by the key. Each request is signed with a new nonce."""
        server.faults.extend([server.lose_answer, server.lose_answer])
        key = "transfer-2025-06-15-0001"
        answer = client.call("POST", "/transfers", json={"to": "bob"}, confirm=lambda _: PASSWORD, idempotency_key=key)
        assert answer.status == 201
        assert len(server.transfers) == 1

    @pytest.mark.parametrize("bad", ["short", "x" * 129, 'quotes"quotes"quotes', "lines\r\nlines: lines"])
    def test_an_idempotency_key_of_the_wrong_shape_is_refused(self, bad: str, client: BatonClient) -> None:
        """A key that cannot be sent in the header is an error of the caller. It is raised before sending."""
        with pytest.raises(ValueError, match="Idempotency-Key"):
            client.call("POST", "/notes", json={}, idempotency_key=bad)


class TestStepUp:
    """Step-up: the password is verified again for one exact request."""

    def test_confirm_is_called_when_the_operation_requires_a_step_up(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """`confirm` is called once, with the refusal that lists the requirements."""
        asked: list[Refused] = []

        def confirm(refusal: Refused) -> str:
            asked.append(refusal)
            return PASSWORD

        assert client.call("POST", "/transfers", json={"to": "bob", "amount": 10}, confirm=confirm).status == 201
        assert [refusal.problem["max_age"] for refusal in asked] == [300]
        assert [one["to"] for one in server.transfers] == ["bob"]

    def test_a_grant_that_is_too_old_asks_the_person_again(self, server: FakeServer, client: BatonClient) -> None:
        """The person takes long for the gesture, and the first answer is lost."""
        asked: list[Refused] = []

        def confirm(refusal: Refused) -> str:
            asked.append(refusal)
            return PASSWORD

        server.old_grants = 1
        assert client.call("POST", "/transfers", json={"to": "bob", "amount": 10}, confirm=confirm).status == 201
        assert len(asked) == 2

    def test_a_grant_is_valid_for_one_request_only(self, server: FakeServer, client: BatonClient) -> None:
        """A grant for the amount 10 does not authorize 1000, and the attempt uses it up."""
        grant = client.step_up(PASSWORD, "POST", "/transfers", json={"amount": 10})
        with pytest.raises(Refused, match="grant_invalid"):
            client.call("POST", "/transfers", json={"amount": 1000}, grant=grant)
        grant = client.step_up(PASSWORD, "POST", "/transfers", json={"amount": 10})
        assert client.call("POST", "/transfers", json={"amount": 10}, grant=grant).status == 201
        assert len(server.transfers) == 1

    def test_without_confirm_the_step_up_refusal_is_raised(self, client: BatonClient) -> None:
        """The app can ask the user in its own way."""
        with pytest.raises(Refused) as refused:
            client.call("POST", "/transfers", json={})
        assert (refused.value.code, refused.value.action) == ("step_up_required", "step_up")

    def test_a_grant_used_by_a_lost_answer_is_replaced_without_asking_again(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """The repetition needs its own grant. The user is asked once."""
        asked = []

        def confirm(_: Refused) -> str:
            asked.append(1)
            server.faults.extend([None, server.lose_answer])  # type: ignore[list-item]  # the step-up, the transfer
            return PASSWORD

        key = "transfer-2025-06-15-0002"
        client.call("POST", "/transfers", json={"to": "bob"}, confirm=confirm, idempotency_key=key)
        assert len(asked) == 1
        assert len(server.transfers) == 1

    def test_the_time_for_the_password_does_not_count_against_the_deadline(
        self, server: FakeServer, client: BatonClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A user who takes a minute for the password still has the whole deadline for the call."""
        told: list[float] = []
        minutes = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: minutes[0])

        def watching(request: Request, timeout_s: float) -> Answer:
            told.append(timeout_s)
            return server(request, timeout_s)

        def confirm(_: Refused) -> str:
            minutes[0] += 60
            return PASSWORD

        monkeypatch.setattr(client, "_transport", watching)
        client.call("POST", "/transfers", json={}, confirm=confirm)
        assert told == [10, 10, 10]

    def test_password_change_and_deletion_step_up_automatically(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """Both require the current password."""
        client.change_password(PASSWORD, "another fine password")
        assert server.passwords[EMAIL] == "another fine password"
        client.delete_account("another fine password")
        assert storage.read().session is None
        assert only_lineage(server).ended == "deleted"


class TestLastSecret:
    """An HMAC login is signed with the secret of the previous login, so the server recognises the device."""

    def signed_by(self, request: Request) -> str | None:
        """Return the keyid of a signed request."""
        field = request.headers.get("signature-input")
        return field and field.partition('keyid="')[2].partition('"')[0]

    @pytest.fixture
    def client(self, server: FakeServer, storage: MemoryStorage) -> BatonClient:
        """Return a client that has logged in with HMAC."""
        client = client_of(server, storage, binding="hmac")
        client.login(EMAIL, PASSWORD, "a phone")
        return client

    def test_the_first_login_is_unsigned(self, server: FakeServer, client: BatonClient) -> None:
        """The device has no earlier secret."""
        assert client.session
        assert self.signed_by(server.sent("/login")[0]) is None

    @pytest.mark.parametrize(
        ("how", "ended"),
        [("logout", "logout"), ("forget", "replaced"), ("ended", "ended_by_owner"), ("replace", "replaced")],
    )
    def test_the_next_login_is_signed_with_the_last_secret(
        self, how: str, ended: str, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The previous login has ended, by logout or by another device, or is still active and is then ended."""
        first = session_in(storage)
        if how in {"logout", "forget"}:
            getattr(client, how)()
        elif how == "ended":
            only_lineage(server).end("ended_by_owner")
            with pytest.raises(LoggedOut):
                client.me()
        again = client_of(server, storage, binding="hmac")
        again.login(EMAIL, PASSWORD, "a phone")
        assert self.signed_by(server.sent("/login")[-1]) == first.key_id
        assert server.lineages[first.device_id].ended == ended
        assert session_in(storage).key_id != first.key_id
        assert storage.read().last is None
        assert again.me()

    def test_the_last_secret_is_read_from_the_file_again(
        self, server: FakeServer, client: BatonClient, tmp_path: Path
    ) -> None:
        """The `repr` of the record does not show it."""
        storage = FileStorage(tmp_path / "s")
        storage.update(lambda _: client._storage.read())
        client_of(server, storage, binding="hmac").logout()
        last = storage.read().last
        assert last
        assert client.session
        assert (last.key_id, last.secret) == (client.session.key_id, client.session.secret)
        assert last.secret not in repr(storage.read())

    def test_a_lost_answer_is_repeated_with_the_same_attempt_and_key(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """The repetition is the same login."""
        client.logout()
        server.faults.extend([server.lose_answer])
        with pytest.raises(Offline):
            client.login(EMAIL, PASSWORD, "a phone", deadline_s=0)
        client.login(EMAIL, PASSWORD, "a phone")
        first, second = server.sent("/login")[1:]
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert self.signed_by(first) == self.signed_by(second) is not None
        assert len(server.lineages) == 2

    def test_a_login_is_sent_unsigned_if_the_server_refuses_the_signature(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The root of the last secret no longer exists.

        The login is sent without a signature and with the same attempt.
        """
        client.logout()
        server.refuses_last_key = True
        client.login(EMAIL, PASSWORD, "a phone")
        signed, unsigned = server.sent("/login")[1:]
        assert self.signed_by(signed)
        assert self.signed_by(unsigned) is None
        assert signed.headers["idempotency-key"] == unsigned.headers["idempotency-key"]
        assert signed.body == unsigned.body
        assert session_in(storage).key_id
        assert client.me()

    def test_a_wrong_password_keeps_the_last_secret(self, server: FakeServer, client: BatonClient) -> None:
        """The device stays a known device after two wrong passwords."""
        client.logout()
        for _ in range(2):
            with pytest.raises(Refused, match="invalid_credentials"):
                client.login(EMAIL, "wrong" * 4, "a phone")
        client.login(EMAIL, PASSWORD, "a phone")
        assert len({self.signed_by(request) for request in server.sent("/login")[1:]} - {None}) == 1
        assert all(self.signed_by(request) for request in server.sent("/login")[1:])

    def test_a_wrong_clock_costs_the_login_one_round_trip(self, server: FakeServer, client: BatonClient) -> None:
        """A signed login contains a time. The refusal corrects the clock."""
        client.logout()
        slow = client_of(server, client._storage, binding="hmac", clock=Clock(server.clock, wrong_by_s=-7200))
        slow.login(EMAIL, PASSWORD, "a phone")
        assert [bool(self.signed_by(request)) for request in server.sent("/login")[1:]] == [True, True]

    def test_a_registration_and_a_login_with_a_key_are_not_signed_with_the_last_secret(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """A new account has no earlier login. A login with a key is signed with that key."""
        client.logout()
        client.register("bob@example.com", PASSWORD, "a phone")
        assert self.signed_by(server.sent("/register")[0]) is None
        client.logout()
        client_of(server, storage).login(EMAIL, PASSWORD, "a phone")
        key = storage.read().key
        assert key
        assert self.signed_by(server.sent("/login")[-1]) == key.thumbprint()

    def test_a_deleted_account_leaves_no_last_secret(self, client: BatonClient, storage: MemoryStorage) -> None:
        """The secret is deleted with the account."""
        client.delete_account(PASSWORD)
        assert storage.read().last is None

    @pytest.mark.parametrize("missing", ["secret", "key_id", "device_id"])
    def test_a_login_answer_without_the_secret_is_incomplete(
        self, missing: str, server: FakeServer, storage: MemoryStorage
    ) -> None:
        """A proxy removed a member. The repetition returns it."""

        def dropping(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            if len(server.log) == 1:
                members = {name: value for name, value in answer.members().items() if name != missing}
                return replace(answer, body=json.dumps(members).encode())
            return answer

        client_of(server, storage, binding="hmac", transport=dropping).login(EMAIL, PASSWORD, "a phone")
        assert len(server.lineages) == 1
        assert session_in(storage).secret


class TestOtherDevices:
    """Ending other devices requires the password, so that a thief with one phone cannot end the others."""

    @pytest.mark.parametrize("act", ["end_device", "logout_everywhere"])
    @pytest.mark.parametrize("how", ["password", "confirm"])
    def test_the_password_is_verified_for_this_exact_request(
        self, act: str, how: str, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The password is passed with the call, or requested from the user when the server requires it."""
        other = client_of(server, MemoryStorage())
        device = finished(other.login(EMAIL, PASSWORD, "another phone")).device_id
        asked: list[Refused] = []

        def confirm(refusal: Refused) -> str:
            asked.append(refusal)
            return PASSWORD

        given: dict[str, Any] = {"password": PASSWORD} if how == "password" else {"confirm": confirm}
        arguments: dict[str, Any] = {"device_id": device} if act == "end_device" else {}
        getattr(client, act)(**arguments, **given)
        assert server.lineages[device].ended == ("ended_by_owner" if act == "end_device" else "ended_everywhere")
        assert [refusal.code for refusal in asked] == (["step_up_required"] if how == "confirm" else [])
        assert (storage.read().session is None) == (act == "logout_everywhere")

    @pytest.mark.parametrize("act", ["end_device", "logout_everywhere"])
    def test_without_the_password_no_device_is_ended(
        self, act: str, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The refusal is raised and the session is kept. A wrong password has the same result."""
        before = storage.read()
        other = client_of(server, MemoryStorage())
        device = finished(other.login(EMAIL, PASSWORD, "another phone")).device_id
        arguments: dict[str, Any] = {"device_id": device} if act == "end_device" else {}
        with pytest.raises(Refused, match="step_up_required"):
            getattr(client, act)(**arguments)
        with pytest.raises(Refused, match="invalid_credentials"):
            getattr(client, act)(**arguments, password="wrong" * 4)
        assert storage.read() == before
        assert {lineage.ended for lineage in server.lineages.values()} == {None}

    def test_the_own_session_ends_without_a_password(self, server: FakeServer, client: BatonClient) -> None:
        """Examples are a logout and the end of the own device."""
        assert client.session
        client.end_device(client.session.device_id)
        client.login(EMAIL, PASSWORD, "a phone")
        client.logout()
        assert {lineage.ended for lineage in server.lineages.values()} == {"ended_by_owner", "logout"}

    def test_logout_everywhere_with_a_lost_answer_succeeds_when_repeated(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """The repetition finds this session ended with the reason `ended_everywhere`."""
        lost = [server.lose_answer]

        def losing(request: Request, timeout_s: float) -> Answer:
            if "baton-grant" in request.headers and lost:
                return lost.pop()(request) or server(request, timeout_s)
            return server(request, timeout_s)

        client._transport = losing
        client.logout_everywhere(password=PASSWORD)
        assert not lost
        assert client.session is None

    def test_logout_everywhere_reports_another_end_of_the_session_during_the_call(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """The other sessions may still be active."""

        def ending(request: Request, timeout_s: float) -> Answer:
            if "baton-grant" in request.headers:
                only_lineage(server).end("reuse")
            return server(request, timeout_s)

        client._transport = ending
        with pytest.raises(LoggedOut) as ended:
            client.logout_everywhere(password=PASSWORD)
        assert ended.value.reason == "reuse"

    @pytest.mark.parametrize("reason", ["logout", "ended_by_owner", "replaced", "ended_everywhere"])
    def test_logout_everywhere_of_an_ended_session_does_not_report_success(
        self, reason: str, server: FakeServer, client: BatonClient
    ) -> None:
        """The other devices are still logged in, and the app learns this."""
        other = client_of(server, MemoryStorage())
        other.login(EMAIL, PASSWORD, "another phone")
        assert client.session
        server.lineages[client.session.device_id].end(reason)
        with pytest.raises(LoggedOut) as ended:
            client.logout_everywhere(password=PASSWORD)
        assert ended.value.reason == reason
        with pytest.raises(NotLoggedIn):
            client.logout_everywhere(password=PASSWORD)
        assert other.me()


class TestState:
    """The state of a client is its record. Listeners are called after the record has changed."""

    def test_a_listener_is_told_each_change(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The listener is called once for each change, and not for an exchange. After its removal it is not called."""
        told: list[State] = []
        remove = client.on_state(told.append)
        client.exchange()
        assert told == []
        client.logout()
        client.login(EMAIL, PASSWORD, "a phone")
        device = session_in(storage).device_id
        out = State(signed_in=False, reason="logout", at=int(server.clock()))
        assert told == [out, State(signed_in=True, device_id=device)]
        remove()
        remove()
        client.forget()
        assert len(told) == 2
        assert client.state() == State(signed_in=False)

    def test_a_change_of_another_process_is_told_when_it_is_found(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The client finds the change at its next read of the record.

        The other client stored the end and its reason.
        """
        told: list[State] = []
        client.on_state(told.append)
        other = client_of(server, storage)
        only_lineage(server).end("password_changed")
        with pytest.raises(LoggedOut):
            other.me()
        assert told == []
        with pytest.raises(NotLoggedIn):
            client.me()
        assert [state.reason for state in told] == ["password_changed"]

    def test_an_error_of_a_listener_undoes_nothing(self, client: BatonClient, monkeypatch: pytest.MonkeyPatch) -> None:
        """The hook for errors gets the error, and the other listeners are called."""
        shown: list[object] = []
        monkeypatch.setattr("sys.excepthook", lambda *error: shown.append(error[1]))
        told: list[State] = []

        def broken(_: State) -> None:
            raise KeyError("a defect of the app")

        client.on_state(broken)
        client.on_state(told.append)
        assert client.logout()
        assert [type(error) for error in shown] == [KeyError]
        assert len(told) == 1

    def test_the_last_state_told_is_the_newest(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """Another thread logs in again before this thread reports the logout."""
        told: list[State] = []
        client.on_state(told.append)
        before = storage.read()
        after = storage.update(lambda now: now.logged_out("logout", 7))
        storage.update(lambda _: before)
        client._told, client._told_once = before.state, True
        client._tell(after)
        assert told == []

    def test_a_key_is_not_used_again_after_a_login_by_another_device(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The end reason is `replaced`, but this record did not make the other login. So another device has the key."""
        key = storage.read().key
        only_lineage(server).end("replaced")
        with pytest.raises(LoggedOut):
            client.me()
        assert storage.read().key is None
        client.login(EMAIL, PASSWORD, "a phone")
        assert storage.read().key != key

    @pytest.mark.parametrize("given", [7, [], {}, {"pin": "1"}, b"word"])
    def test_a_proof_of_another_type_is_an_error_of_the_program(
        self, given: Any, server: FakeServer, client: BatonClient
    ) -> None:
        """The error comes before a step-up is sent. `None` cancels the step-up, and the refusal is raised."""
        with pytest.raises(TypeError):
            client.call("POST", "/transfers", json={}, confirm=lambda _: given)
        assert not server.sent("/step-up")
        with pytest.raises(Refused, match="step_up_required"):
            client.call("POST", "/transfers", json={}, confirm=lambda _: None)
        assert client.call("POST", "/transfers", json={}, confirm=lambda _: {"password": PASSWORD}).status == 201

    def test_a_wrong_path_or_key_is_refused_before_anything_is_sent(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """The check also comes before the exchange of an expired token."""
        server.clock.skip(LIFE_S)
        server.log.clear()
        for named in ({"path": "/a/../b"}, {"path": "/notes", "idempotency_key": "short"}):
            with pytest.raises(ValueError, match=r"path|Idempotency"):
                client.call("POST", **named)  # type: ignore[arg-type] # text
        assert server.log == []

    def test_an_error_says_what_came_instead_of_an_answer(self, server: FakeServer, client: BatonClient) -> None:
        """`last` helps a developer: for example, it shows the page of a firewall."""
        page = Answer(202, {"content-type": "text/html"}, b"")
        strange = client_of(server, client._storage, transport=lambda _request, _timeout_s: page)
        with pytest.raises(Offline) as offline:
            strange.me()
        with pytest.raises(AnswerLost) as lost:
            strange.call("POST", "/notes", json={})
        assert "202 text/html" in offline.value.last
        assert "202 text/html" in lost.value.last
        assert (offline.value.kind, lost.value.kind) == ("offline", "answer_lost")


class TestUnknownMembers:
    """Unknown members in answers and records are ignored."""

    def test_unknown_members_of_answers_and_refusals_are_ignored(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """An example is a token response with the lifetimes of draft-ietf-oauth-refresh-token-expiration."""

        def richer(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            if answer.body:
                members = {**answer.members(), "new": {"deeply": [1, None]}, "refresh_token_timeout": 1}
                return replace(answer, body=json.dumps(members).encode())
            return answer

        rich = client_of(server, storage, transport=richer)
        rich.exchange()
        rich.login(EMAIL, PASSWORD, "a phone")
        assert rich.me()["email"] == EMAIL
        with pytest.raises(Refused, match="step_up_required"):
            rich.call("POST", "/transfers", json={})
        assert client.me()

    def test_a_record_of_an_earlier_or_later_version_is_read(self, storage: MemoryStorage, client: BatonClient) -> None:
        """An earlier record may lack members, and a later record may have additional members."""
        members = json.loads(storage.read().to_json())
        earlier = {name: members[name] for name in ("session", "pending", "key")}
        assert Record.from_json(json.dumps(earlier).encode()) == storage.read()
        assert Record.from_json(json.dumps({**members, "later": 1}).encode()) == storage.read()
        assert client.me()


class TestJourneys:
    """Complete flows, for each mechanism, binding and key type."""

    @pytest.mark.parametrize("mechanism", ["exchange", "rotating_refresh", "refresh", "session", "long_lived"])
    @pytest.mark.parametrize("binding", ["key", "hmac", "none"])
    def test_every_mechanism_works_with_every_binding(self, mechanism: str, binding: str, tmp_path: Path) -> None:
        """Register, call, let the token expire, call again, list devices and log out, each step after a restart."""
        server = FakeServer(mechanism)

        def again() -> BatonClient:
            return client_of(server, FileStorage(tmp_path / "session"), binding=binding)

        again().register(EMAIL, PASSWORD, "a phone")
        assert again().me()["email"] == EMAIL
        if mechanism == "long_lived":
            with pytest.raises(BatonError, match="not renewed"):
                again().exchange()
        else:
            server.clock.skip(LIFE_S + 1)
        assert [device["ended_reason"] for device in again().devices()] == [None]
        again().exchange() if mechanism != "long_lived" else None
        assert server.exchanges == (2 if mechanism in {"exchange", "rotating_refresh"} else 0)
        assert ("signature" in server.log[-1].headers) == (binding != "none")
        again().logout_everywhere(password=PASSWORD)
        assert only_lineage(server).ended == "ended_everywhere"
        assert again().session is None

    @pytest.mark.parametrize("binding", ["key", "hmac"])
    def test_a_lost_login_answer_does_not_lose_the_secret(self, binding: str, server: FakeServer) -> None:
        """The repetition returns the same tokens and the same HMAC secret."""
        server.faults.extend([server.lose_answer] * 2)
        client = client_of(server, MemoryStorage(), binding=binding)
        client.login(EMAIL, PASSWORD, "a phone")
        assert client.me()
        assert len(server.lineages) == 1

    @pytest.mark.parametrize("key", ["p256", "ed25519"])
    @pytest.mark.parametrize(
        "query",
        [{}, {"q": ""}, {"a b": "c+d&e=f", "ü~*": "%2F /?#'\"\\", "z": "日本"}, {"x" * 50: "~" * 200}],
    )
    def test_an_independent_verifier_accepts_the_signatures(
        self, key: str, query: dict[str, str], server: FakeServer
    ) -> None:
        """Unusual names and values in query and body verify, with both key types."""
        client = client_of(server, MemoryStorage(), key=key)
        client.login(EMAIL, PASSWORD, "a phone")
        assert client.call("GET", "/me", query=query).status == 200
        body = {"text": '日本 ~ " \\ \n'}
        assert client.call("POST", "/notes", json=body, query=query).status == 201
        assert server.transfers == [body]

    def test_each_request_has_a_new_nonce(self, server: FakeServer, client: BatonClient) -> None:
        """No signature is sent twice."""
        server.faults.extend([server.lose_answer] * 3)
        client.me()
        server.faults.extend([server.lose_answer] * 3)
        client.exchange()
        signatures = [request.headers["signature"] for request in server.log]
        assert len(set(signatures)) == len(signatures) == 9

    def test_a_second_logout_and_a_logout_without_session_succeed(
        self, server: FakeServer, client: BatonClient
    ) -> None:
        """A repeated logout finds the session ended. Without a session the client has nothing to do."""
        server.faults.extend([server.lose_answer])
        client.logout()
        client.logout()
        assert only_lineage(server).ended == "logout"

    def test_a_logout_without_network_is_a_logout_here(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The session is deleted, so the person is not logged in at the next start. The revocation is sent later."""
        sleep = Pauses()
        server.faults.extend([server.lose_request])
        assert not client_of(server, storage, sleep=sleep).logout()
        assert sleep == [], "a logout waits for no network"
        state = client.state()
        assert (state.signed_in, state.reason, state.at) == (False, "logout", int(server.clock()))
        assert only_lineage(server).ended is None
        with pytest.raises(NotLoggedIn):
            client.me()
        assert only_lineage(server).ended == "logout"
        assert storage.read().revocations == ()

    def test_a_logout_does_not_end_the_login_that_follows(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The revocation has the token of its own login."""
        offline = client_of(server, storage, transport=TestRule8().offline(server))
        assert not offline.logout()
        offline.login(EMAIL, PASSWORD, "a phone")
        assert client.me()
        assert storage.read().revocations == ()
        assert client.state().device_id == session_in(storage).device_id

    def test_waiting_revocations_are_at_most_eight_and_end_after_thirty_days(
        self, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """Of nine revocations, eight are stored. After thirty days, the login has also ended at the server."""
        offline = client_of(server, storage, transport=TestRule8().offline(server))
        for _ in range(9):
            offline.logout()
            offline.login(EMAIL, PASSWORD, "a phone")
        tokens = [one.token for one in storage.read().revocations]
        assert len(tokens) == len(set(tokens)) == 8
        server.clock.skip(30 * 86_400 + 1)
        server.log.clear()
        client.sync_clock()
        assert server.sent("/oauth/revoke") == []
        assert storage.read().revocations == ()

    @pytest.mark.parametrize("act", ["logout", "delete_account"])
    def test_a_late_end_does_not_delete_a_newer_login(
        self, act: str, server: FakeServer, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """Rule 3: another process logged in with this storage while the answer was in flight."""

        def overtaken(request: Request, timeout_s: float) -> Answer:
            answer = server(request, timeout_s)
            if answer.status == 204 or request.url.endswith("/oauth/revoke"):
                server.passwords[EMAIL] = PASSWORD
                client.login(EMAIL, PASSWORD, "the same phone")
            return answer

        late = client_of(server, storage, transport=overtaken)
        late.logout() if act == "logout" else late.delete_account(PASSWORD)
        assert client.session is not None
        assert client.me()["email"] == EMAIL

    def test_ending_a_device_ends_only_that_device(self, server: FakeServer, client: BatonClient) -> None:
        """The id is part of the path, and the path is signed."""
        other = client_of(server, MemoryStorage())
        device = finished(other.login(EMAIL, PASSWORD, "another phone")).device_id
        client.end_device(device, password=PASSWORD)
        with pytest.raises(LoggedOut):
            other.me()
        assert client.me()

    def test_a_thief_with_a_copy_and_his_own_attempt_ends_the_session(
        self, server: FakeServer, storage: MemoryStorage, client: BatonClient
    ) -> None:
        """The server detects the reuse, and logs out both. The owner gets the reason."""
        copy = storage.read()
        assert copy.session is not None
        thief = client_of(server, MemoryStorage(replace(copy, session=replace(copy.session, attempt="thief" * 5))))
        client.exchange()
        with pytest.raises(LoggedOut):
            thief.exchange()
        with pytest.raises(LoggedOut) as ended:
            client.me()
        assert ended.value.reason == "reuse"


class TestKeys:
    """Keys have the names and forms that the RFCs define."""

    def test_the_thumbprint_of_rfc_8037(self) -> None:
        """RFC 8037 appendix A.3."""
        seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        pkcs8 = bytes.fromhex("302e020100300506032b657004220420") + seed
        key = DeviceKey(base64.b64encode(pkcs8).decode())
        assert key.jwk()["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        assert key.thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

    def test_p256_coordinates_and_signatures_have_their_full_length(self) -> None:
        """Leading zeros are kept. One in 128 keys and signatures has some, and no value may be shorter."""
        keys = [DeviceKey.generate("p256") for _ in range(300)]
        assert {len(base64.urlsafe_b64decode(key.jwk()[name] + "=")) for key in keys for name in "xy"} == {32}
        assert {len(keys[0].sign(bytes([n % 256, n // 256]))) for n in range(600)} == {64}

    def test_the_signed_components_have_the_documented_order(self, server: FakeServer, client: BatonClient) -> None:
        """The components and their order are written out in full."""
        client.call("POST", "/notes", json={}, query={"a": "b c"}, grant="grant", idempotency_key="0123456789abcdef")
        signed = server.log[-1].headers["signature-input"].removeprefix("baton=").partition(";created=")
        assert signed[0] == (
            '("@method" "@authority" "@path" "@query-param";name="a"'
            ' "content-digest" "authorization" "idempotency-key" "baton-grant")'
        )
        assert signed[2].endswith(';tag="baton"')
        assert server.log[-1].url.endswith("/prod/notes?a=b%20c")

    def test_an_hmac_signature_is_over_the_base_of_rfc_9421(self) -> None:
        """The signature base is written out line by line."""
        seen: list[bytes] = []

        def sign(base: bytes) -> bytes:
            seen.append(base)
            return hashlib.sha256(base).digest()

        request = Request("GET", "https://api.example.com/prod/me?a=1", {"authorization": "Bearer x"})
        fields = signature_fields(request, baton_client.Signer("key-id", sign), created=7, nonce="n")
        parameters = (
            '("@method" "@authority" "@path" "@query-param";name="a" "authorization")'
            ';created=7;keyid="key-id";nonce="n";tag="baton"'
        )
        assert seen[0].decode().split("\n") == [
            '"@method": GET',
            '"@authority": api.example.com',
            '"@path": /prod/me',
            '"@query-param";name="a": 1',
            '"authorization": Bearer x',
            f'"@signature-params": {parameters}',
        ]
        assert fields["signature-input"] == f"baton={parameters}"


class TestStorage:
    """The record is written completely or not at all, and only its owner can read it."""

    def test_only_the_owner_can_read_the_file(self, server: FakeServer, tmp_path: Path) -> None:
        """The mode is 0600, in a new folder. Only the lock file is left beside it."""
        path = tmp_path / "folder" / "session.json"
        client_of(server, FileStorage(path)).login(EMAIL, PASSWORD, "a phone")
        if sys.platform != "win32":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {found.name for found in path.parent.iterdir()} == {"session.json", "session.json.lock"}

    def test_the_record_that_was_written_is_read(self, server: FakeServer, tmp_path: Path) -> None:
        """Each part of the record is stored in the file."""
        storage = FileStorage(tmp_path / "s")
        assert storage.read() == Record()
        for binding in ("key", "hmac", "none"):
            client = client_of(server, storage, binding=binding)
            server.faults.extend([server.lose_answer])
            with pytest.raises(Offline):
                client.login(EMAIL, PASSWORD, "a phone", deadline_s=0)
            pending = storage.read()
            assert Record.from_json(pending.to_json()) == pending
            client.login(EMAIL, PASSWORD, "a phone")
            assert Record.from_json(storage.read().to_json()) == storage.read()

    @pytest.mark.parametrize("moment", ["fsync", "write", "replace"])
    def test_a_crash_while_writing_keeps_the_old_record(
        self, moment: str, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process ends before the rename.

        The parent and its attempt are still stored, so the exchange can be repeated.
        """
        storage = FileStorage(tmp_path / "session")
        client = client_of(server, storage)
        client.login(EMAIL, PASSWORD, "a phone")
        before = storage.read()

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            target: tuple[object, str] = {
                "fsync": (os, "fsync"),
                "write": (Record, "to_json"),
                "replace": (Path, "replace"),
            }[moment]
            patch.setattr(*target, crash)
            with pytest.raises(KeyboardInterrupt):
                client.exchange()
        assert storage.read() == before
        client.exchange()
        assert server.exchanges == 1

    def test_a_record_is_flushed_to_disk_before_it_replaces_the_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The order is flush, rename, flush of the folder."""
        order: list[str] = []
        flush, rename = os.fsync, Path.replace

        def fsync(descriptor: int) -> None:
            order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            flush(descriptor)

        def replaced(self: Path, target: Path) -> Path:
            order.append("rename")
            return rename(self, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replaced)
        FileStorage(tmp_path / "s").update(lambda record: replace(record, key=DeviceKey.generate("p256")))
        assert order == ["file", "rename", *(["folder"] if sys.platform != "win32" else [])]

    @pytest.mark.parametrize("key", ["", "x", "AAAA", 7, None, "P-384", "X25519"])
    def test_a_record_with_an_unreadable_key_is_refused(
        self, key: object, client: BatonClient, storage: MemoryStorage
    ) -> None:
        """The error is raised when the record is read, as for any other part of it."""
        foreign: dict[object, Any] = {
            "P-384": ec.generate_private_key(ec.SECP384R1()),
            "X25519": x25519.X25519PrivateKey.generate(),
        }
        if key in foreign:
            pkcs8 = foreign[key].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            key = base64.b64encode(pkcs8).decode()
        members = json.loads(storage.read().to_json())
        with pytest.raises(BrokenStorage):
            Record.from_json(json.dumps({**members, "key": {"pkcs8": key}}).encode())
        assert client.me()

    @pytest.mark.parametrize(
        "text", [b"", b"{", b"[]", b"{}", b'{"session":{"x":1},"pending":null,"key":null}', b"\xff"]
    )
    def test_an_unreadable_record_does_not_log_the_user_out(
        self, text: bytes, server: FakeServer, tmp_path: Path
    ) -> None:
        """Nothing is sent and nothing is overwritten. The app decides."""
        (tmp_path / "session").write_bytes(text)
        client = client_of(server, FileStorage(tmp_path / "session"))
        with pytest.raises(BrokenStorage):
            client.me()
        with pytest.raises(BrokenStorage):
            client.login(EMAIL, PASSWORD, "a phone")
        assert (tmp_path / "session").read_bytes() == text
        assert not server.log

    def test_only_one_process_at_a_time_changes_the_record(self, tmp_path: Path) -> None:
        """Three processes change one record fifty times each. No change is lost."""
        path = tmp_path / "session"
        start = Session("d", "t", None, 0, "a" * 22)
        FileStorage(path).update(lambda record: replace(record, session=start))
        code = (
            "import sys; from dataclasses import replace; from baton_client import FileStorage\n"
            "storage = FileStorage(sys.argv[1])\n"
            "for _ in range(50):\n"
            "    storage.update(lambda r: replace(r, session=replace(r.session, expires_at=r.session.expires_at + 1)))"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(baton_client.__file__).parent)}
        processes = [subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment) for _ in range(3)]
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        assert session_in(FileStorage(path)).expires_at == 150

    def test_no_repr_shows_a_secret(self, server: FakeServer, storage: MemoryStorage) -> None:
        """Tokens, attempts, keys and secrets therefore do not get into a log by accident."""
        client_of(server, storage, binding="hmac").login(EMAIL, PASSWORD, "a phone")
        client_of(server, storage).login(EMAIL, PASSWORD, "a phone")
        record = replace(storage.read(), pending=baton_client.Pending(EMAIL, "mobile", "key", "p" * 22))
        assert record.session is not None
        assert record.key is not None
        shown = repr(record) + repr(server.log)
        assert not any(
            secret in shown
            for secret in (record.session.access_token, record.session.attempt, record.key.data, "p" * 22, PASSWORD)
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: set[Any]
    behaviour: list[str]

    def handle_one_request(self) -> None:
        self.connections.add(self.client_address)
        try:
            super().handle_one_request()
        except ConnectionError:  # The client did not read the whole body.
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        behaviour = self.behaviour.pop(0) if self.behaviour else "answer"
        if behaviour == "hang up":
            self.close_connection = True
            return
        text = b"x" * (2 << 20) if behaviour == "flood" else body
        if behaviour in {"drip head", "drip body"}:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\nX-Padding: xxxxxxxxxxxxxxxxxxxxxxxxxx\r\n\r\n"
            for byte in head if behaviour == "drip head" else b"x" * 40:
                if behaviour == "drip body":
                    self.wfile.write(head)
                    head = b""
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
            self.wfile.write(b"x" * 40 if behaviour == "drip head" else b"")
            return
        self.send_response(307 if behaviour == "redirect" else 200)
        self.send_header("Location", "https://elsewhere.example/")
        self.send_header("Content-Length", str(len(text) + (1 if behaviour == "cut short" else 0)))
        self.send_header("Baton-Time", "7")
        self.end_headers()
        self.wfile.write(text)
        if behaviour in {"answer and hang up", "cut short"}:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@pytest.fixture
def listening() -> Iterator[tuple[str, type[_Handler]]]:
    """Serve on loopback. Return the address, and the handler class with its connections and its next behaviours."""
    handler = type("Handler", (_Handler,), {"connections": set(), "behaviour": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join(10)
    server.server_close()


class TestHttpTransport:
    """Each request is sent once, over a connection that is kept."""

    def test_connections_are_kept_and_the_answer_is_read_completely(
        self, listening: tuple[str, type[_Handler]]
    ) -> None:
        """Several requests use one connection. Header names are in lower case."""
        url, handler = listening
        with contextlib.closing(HttpTransport()) as transport:
            for text in (b"one", b"two", b"three" * 10_000):
                answer = transport(Request("POST", f"{url}/api?x=1", {}, text), 5)
                assert (answer.status, answer.body, answer.server_time()) == (200, text, 7)
            assert len(handler.connections) == 1
            transport.close()
            assert transport(Request("POST", f"{url}/api?x=1", {}, b"four"), 5).body == b"four"
            assert len(handler.connections) == 2

    def test_a_connection_that_the_server_has_closed_is_not_used_again(
        self, listening: tuple[str, type[_Handler]]
    ) -> None:
        """A request on a closed connection would have an unknown outcome, so an old connection is checked first."""
        url, handler = listening
        with contextlib.closing(HttpTransport()) as transport:
            for _ in range(3):
                handler.behaviour.append("answer and hang up")
                assert transport(Request("POST", url + "/", {}, b"x"), 5).body == b"x"
                kept = next(iter(transport._idle.values()))[0].sock
                kept.settimeout(5)
                assert kept.recv(1, socket.MSG_PEEK) == b""
            assert len(handler.connections) == 3

    def test_a_request_without_a_complete_answer_may_have_been_executed(
        self, listening: tuple[str, type[_Handler]]
    ) -> None:
        """The server closes the connection before or within the answer, or the answer is too long."""
        url, handler = listening
        for behaviour in ("hang up", "flood", "cut short"):
            handler.behaviour.append(behaviour)
            with pytest.raises(NoResponse) as lost:
                HttpTransport()(Request("POST", url + "/", {}, b"x"), 5)
            assert lost.value.sent

    @pytest.mark.parametrize("behaviour", ["drip head", "drip body"])
    def test_an_answer_that_arrives_too_slowly_times_out(
        self, behaviour: str, listening: tuple[str, type[_Handler]]
    ) -> None:
        """The time-out holds for the whole request. Each byte arrives early enough, but all of them together do not."""
        url, handler = listening
        handler.behaviour.append(behaviour)
        with contextlib.closing(HttpTransport()) as transport:
            with pytest.raises(NoResponse, match="TimeoutError") as lost:
                transport(Request("POST", url + "/", {}, b"x"), 0.3)
            assert lost.value.sent
            assert transport(Request("POST", url + "/", {}, b"again"), 5).body == b"again"

    def test_without_a_connection_nothing_was_sent(self) -> None:
        """No process listens on the port."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # Bound, and not listening.
            with pytest.raises(NoResponse) as lost:
                HttpTransport()(Request("POST", f"http://127.0.0.1:{taken.getsockname()[1]}/", {}, b"x"), 5)
        assert not lost.value.sent

    def test_redirects_are_not_followed(self, listening: tuple[str, type[_Handler]]) -> None:
        """A signed request is for one authority only."""
        url, handler = listening
        handler.behaviour.append("redirect")
        with contextlib.closing(HttpTransport()) as transport:
            client = BatonClient(url, "mobile", MemoryStorage(), transport=transport)
            with pytest.raises(Offline, match="307"):
                client.login(EMAIL, PASSWORD, "a phone", deadline_s=0)

    @pytest.mark.parametrize(
        "base_url",
        ["http://api.example.com", "http://localhost.example.com", "ftp://localhost", "https://a.example?x", "x"],
    )
    def test_plain_http_is_allowed_only_for_loopback(self, base_url: str) -> None:
        """Any other http URL is refused before a password can be sent."""
        with pytest.raises(ValueError, match="base_url"):
            BatonClient(base_url, "mobile", MemoryStorage())

    @pytest.mark.parametrize(
        ("base_url", "signed"),
        [
            ("https://API.example.com:443/prod/", "https://api.example.com/prod/time"),
            ("http://localhost:8000/api", "http://localhost:8000/api/time"),
            ("http://[::1]:80", "http://[::1]/time"),
        ],
    )
    def test_the_authority_is_signed_as_it_is_sent(self, base_url: str, signed: str) -> None:
        """The authority is in lower case, without the scheme's default port (RFC 9421 section 2.2.3)."""
        seen: list[Request] = []

        def watching(request: Request, _timeout_s: float) -> Answer:
            seen.append(request)
            return answered(200, {}, baton_time="7")

        BatonClient(base_url, "mobile", MemoryStorage(), transport=watching).sync_clock()
        assert seen[0].url == signed
        assert seen[0].headers["host"] == signed.split("/")[2]

    @pytest.mark.parametrize(
        "path", ["me", "/me?x=1", "/me#x", "/a b", "/ü", "//evil\r\nx: y", "https://evil.example/"]
    )
    def test_an_invalid_path_is_refused(self, path: str, client: BatonClient) -> None:
        """A path that cannot be signed as it is sent is refused."""
        with pytest.raises(ValueError, match="path"):
            client.call("GET", path)
