"""Columns of any width, and singular and plural nouns."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.baton.lineages.clients import Clients
from tests.baton.progress import Progress
from tools.dev import serve
from tools.printed import aligned, counted, roughly


@pytest.mark.parametrize(
    ("number", "written"), [(0, "0 items"), (1, "1 item"), (2, "2 items"), (12_000, "12,000 items")]
)
def test_one_item_is_singular(number: int, written: str) -> None:
    """Bug: the output was `1 items`."""
    assert counted(number, "item") == written


def test_an_irregular_plural_is_used() -> None:
    """Some nouns do not just get an s."""
    assert (counted(1, "process", "processes"), counted(2, "process", "processes")) == ("1 process", "2 processes")


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """No line ends with a space."""
    assert aligned([["a", "bb", ""], ["a long one", "b", "c"]]) == ["a           bb", "a long one  b   c"]


@pytest.mark.parametrize(
    ("seconds", "written"), [(1, "10 s"), (44, "40 s"), (89, "90 s"), (95, "2 min"), (600, "10 min")]
)
def test_a_duration_is_rounded_for_a_person_who_waits(seconds: float, written: str) -> None:
    """The unit is seconds, minutes or hours."""
    assert roughly(seconds) == written


@pytest.mark.parametrize("port", [80, 8000, 65_535])
def test_the_table_of_make_dev_keeps_its_columns(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns stay aligned for any port, and for long client names."""
    names = ["mobile", "a-client-with-a-name-that-is-very-long"]
    clients = [
        SimpleNamespace(id=name, mechanism=SimpleNamespace(name="rotating_refresh"), form="opaque", binding="required")
        for name in names
    ]
    registry = type("Registry", (list,), {"demonstration": True, "by_cookie": ()})(clients)
    monkeypatch.setattr(Clients, "from_toml", lambda *_: registry)
    running: Any = SimpleNamespace(
        url=f"http://localhost:{port}/api",
        engine="embedded",
        demo_account="registered just now",
        resource_server_secret="secret",
        own_routes=["POST /orders"],
        authority=None,
        server=SimpleNamespace(server_port=port, server_address=("127.0.0.1", port)),
    )
    lines = serve.table(running, io.StringIO()).splitlines()
    listed = [line for line in lines if "rotating_refresh" in line]
    (head,) = [line for line in lines if line.startswith("  client")]
    assert {line.index("rotating_refresh") for line in listed} == {head.index("mechanism")}
    assert {line.index("opaque") for line in listed} == {head.index("token")}
    first = [line for line in lines if line.startswith(("  Baton ", "  introspection ", "  reload "))]
    assert {line.index(word) for line in first for word in ("http://", "demo-api", "when app.py") if word in line} == {
        17
    }
    begun = [line for line in lines if line.startswith(("  make ", "  Ctrl-C"))]
    assert len({line.index(word) for line in begun for word in ("the whole", "what is", "stop") if word in line}) == 1
    assert any("4 of app.py" in line for line in lines)


def progress(known: int | None, marks: str = "not prove") -> Progress:
    """Make a progress object that stores the length of a run."""
    option = SimpleNamespace(markexpr=marks, keyword="")
    cache = SimpleNamespace(get=lambda *_: known)
    config: Any = SimpleNamespace(option=option, args=["tests"], cache=cache)
    return Progress(config)


def test_a_long_run_prints_its_number_of_tests_and_its_duration() -> None:
    """The first run estimates by the number of tests, and later runs by the last run."""
    assert progress(None).said(9_000, 4) == (
        "9,000 tests in 4 processes; about 90 s, if no other program needs the processors"
    ).replace("90 s", roughly(90))
    assert progress(240).said(9_000, 4) == "9,000 tests in 4 processes; the last run took 4 min"


def test_the_first_run_of_the_long_proofs_estimates_an_hour() -> None:
    """The tests of ``make prove`` take a second on average. Its first line once estimated 2 minutes for an hour."""
    assert progress(None, "guarantee or prove").said(9_220, 3) == (
        f"9,220 tests in 3 processes; about {roughly(9_220 / 3)}, if no other program needs the processors"
    )
    short = progress(None, "guarantee and not prove").said(9_000, 4)
    assert short.startswith(f"9,000 tests in 4 processes; about {roughly(90)},")


def test_a_run_with_many_paths_is_stored() -> None:
    """The file name in the cache has a limited length, and depends on the paths."""
    many = progress(None)
    many._config.args = [f"tests/a_folder/test_number_{number}.py" for number in range(100)]
    key = many._key
    assert len(key) < 100
    many._config.args = many._config.args[:-1]
    assert many._key != key
