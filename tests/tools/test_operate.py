"""The operator's commands, over the embedded engine."""

from collections.abc import Callable

import pytest
from moto.core.exceptions import JsonRESTError
from moto.kms.responses import KmsResponse

from chalicelib.core.policy import (
    KEY_RING_REFRESH_S,
    REQUEST_MAX_S,
    RING_SEEN_EVERYWHERE_S,
    SIGNING_KEY_PUBLISHED_BEFORE_USE_S,
)
from chalicelib.stores.engine import Engine, Service, Tables
from chalicelib.stores.key_ring import KeyRing, KmsWrapper, LocalWrapper, Wrapper
from tests.web.conversation import Device, through
from tools.dev.gateway import DevelopmentClock, Gateway, load_environment
from tools.operate import clock as now
from tools.operate import main


@pytest.fixture
def waited() -> list[float]:
    """Note the pauses instead of making them."""
    return []


@pytest.fixture
def operate(waited: list[float]) -> Callable[..., int]:
    """Give the command without its pauses."""
    return lambda *arguments: main(arguments, pause=waited.append)


@pytest.fixture(params=["local", "kms"])
def wrapper(
    request: pytest.FixtureRequest, tables: Tables, monkeypatch: pytest.MonkeyPatch, operate: Callable[..., int]
) -> Wrapper:
    """Deploy with the ring kept as it is, and wrapped by KMS: the ring is made by the operator, before any request."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    if request.param == "local":
        return LocalWrapper()
    key_id = Service("kms").call("create_key")["KeyMetadata"]["KeyId"]
    monkeypatch.setenv("BATON_KEY_RING", f"kms:{key_id}")
    assert operate("make-ring") == 0
    return KmsWrapper(key_id)


@pytest.mark.promise(6, 7)
def test_a_disabled_account_lets_nobody_in_until_it_is_enabled(
    make_device: Callable[..., Device], operate: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every login ends at once, and none comes back with the account."""
    phone = make_device()
    phone.register("ada@example.com")
    assert operate("disable", "ada@example.com") == 0
    assert "disabled account" in capsys.readouterr().out
    assert phone.get("/me").code == "login_required"
    assert make_device().login("ada@example.com").code == "invalid_credentials"
    assert operate("enable", "Ada@Example.com") == 0
    assert phone.exchange().code == "login_required"
    assert make_device().login("ada@example.com").status == 200
    assert operate("disable", "nobody@example.com") == 1
    assert "nobody claims this address" in capsys.readouterr().err


@pytest.mark.promise(2)
def test_keys_rotate_and_every_cache_has_time_to_see_it(
    wrapper: Wrapper,
    make_device: Callable[..., Device],
    operate: Callable[..., int],
    waited: list[float],
    tables: Tables,
    clock: DevelopmentClock,
) -> None:
    """A live login goes on across both rotations; the command waits as long as a cache may be old."""
    phone = make_device()
    phone.register("ada@example.com")
    for revision, command in enumerate(("rotate-signing-key", "rotate-root"), start=1):
        before = sum(waited)
        assert operate(command) == 0
        assert sum(waited) - before == RING_SEEN_EVERYWHERE_S
        ring = KeyRing(Engine(tables), wrapper, bytes).current(now=now())
        assert ring.revision >= revision
    assert len(ring.signing) == len(ring.roots) == 2
    assert phone.exchange().status == 200
    clock.skip(SIGNING_KEY_PUBLISHED_BEFORE_USE_S + KEY_RING_REFRESH_S)
    assert phone.exchange().status == 200
    assert make_device().login("ada@example.com").status == 200


def _refuse(_: object) -> str:
    raise JsonRESTError("DisabledException", "planted")


@pytest.mark.promise(9)
def test_while_kms_does_not_open_the_ring_it_is_our_own_trouble(
    tables: Tables, operate: Callable[..., int], monkeypatch: pytest.MonkeyPatch, clock: DevelopmentClock
) -> None:
    """An environment that starts without KMS answers 503 to everybody and ends nothing; with KMS back, all go on."""
    key_id = Service("kms").call("create_key")["KeyMetadata"]["KeyId"]
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_KEY_RING", f"kms:{key_id}")
    assert operate("make-ring") == 0
    phone = Device(through(Gateway([load_environment(clock).app])), lambda: int(clock.time()))
    assert phone.register("ada@example.com").status == 201
    phone.send = through(Gateway([load_environment(clock).app]))
    with monkeypatch.context() as disabled:  # by hand: moto opens with a disabled key all the same
        disabled.setattr(KmsResponse, "decrypt", _refuse)
        for said in (phone.get("/me"), phone.exchange(), phone.login("ada@example.com")):
            assert (said.status, said.code) == (503, "unavailable")
            assert said.headers["retry-after"]
    assert phone.exchange().status == 200
    assert phone.get("/me").status == 200


@pytest.mark.promise(7)
def test_the_raised_fence_ends_every_login(
    wrapper: Wrapper,
    make_device: Callable[..., Device],
    operate: Callable[..., int],
    clock: DevelopmentClock,
    waited: list[float],
) -> None:
    """Once every cache must have seen it, and whoever began a request before has ended it."""
    phone = make_device()
    phone.register("ada@example.com")
    assert operate("raise-fence") == 0
    assert sum(waited) >= KEY_RING_REFRESH_S + REQUEST_MAX_S
    clock.skip(KEY_RING_REFRESH_S)
    assert phone.exchange().code == "login_required"


def test_a_ring_is_made_once(
    embedded_engine: None,
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    operate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A second one would make every verifier and every token unreadable."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    assert operate("make-ring") == 0
    ring = KeyRing(Engine(tables), LocalWrapper(), bytes).current(now=now())
    assert operate("make-ring") == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert KeyRing(Engine(tables), LocalWrapper(), bytes).current(now=now()) == ring


def test_words_that_are_off_change_nothing(operate: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 with the list; exit 1 naming what is wrong with the settings."""
    assert operate() == 2
    assert operate("disable") == 2
    assert operate("drop-tables") == 2
    monkeypatch.setenv("BATON_ISSUER", "nonsense")
    assert operate("make-ring") == 1
