"""The operator's commands, over the embedded engine."""

from collections.abc import Callable

import pytest

from chalicelib.core.policy import KEY_RING_REFRESH_S
from chalicelib.stores.engine import Engine, Tables
from chalicelib.stores.key_ring import KeyRing, LocalWrapper
from tests.web.conversation import Device
from tools.dev.gateway import DevelopmentClock
from tools.operate import clock, main


@pytest.fixture
def waited() -> list[float]:
    """Note the pauses instead of making them."""
    return []


@pytest.fixture
def operate(waited: list[float]) -> Callable[..., int]:
    """Give the command without its pauses."""
    return lambda *arguments: main(arguments, pause=waited.append)


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


def test_keys_rotate_and_every_cache_has_time_to_see_it(
    make_device: Callable[..., Device], operate: Callable[..., int], waited: list[float], tables: Tables
) -> None:
    """A live login goes on across both rotations; the command waits as long as a cache may be old."""
    phone = make_device()
    phone.register("ada@example.com")
    for revision, command in enumerate(("rotate-signing-key", "rotate-root"), start=1):
        before = sum(waited)
        assert operate(command) == 0
        assert sum(waited) - before >= KEY_RING_REFRESH_S
        ring = KeyRing(Engine(tables), LocalWrapper(), bytes).current(now=clock())
        assert ring.revision >= revision
    assert len(ring.signing) == len(ring.roots) == 2
    assert phone.exchange().status == 200


def test_the_raised_fence_ends_every_login(
    make_device: Callable[..., Device], operate: Callable[..., int], clock: DevelopmentClock
) -> None:
    """Once every cache must have seen it."""
    phone = make_device()
    phone.register("ada@example.com")
    assert operate("raise-fence") == 0
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
    ring = KeyRing(Engine(tables), LocalWrapper(), bytes).current(now=clock())
    assert operate("make-ring") == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert KeyRing(Engine(tables), LocalWrapper(), bytes).current(now=clock()) == ring


def test_words_that_are_off_change_nothing(operate: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 with the list; exit 1 naming what is wrong with the settings."""
    assert operate() == 2
    assert operate("disable") == 2
    assert operate("drop-tables") == 2
    monkeypatch.setenv("BATON_ISSUER", "nonsense")
    assert operate("make-ring") == 1
