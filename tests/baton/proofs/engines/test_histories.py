"""Histories from real engines, over a connection that loses answers, are compared with the rule."""

import random
import sys
import traceback
from collections import Counter
from pathlib import Path

import pytest

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.lineages.rules import Exchanged, Inactive, Retry, Reused, Superseded
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.storage.memory.tables import MemoryTables
from chalicelib.baton.testing.contract.values import ACCOUNT
from tests.baton.proofs.engines import check
from tests.baton.proofs.engines import history as histories
from tests.baton.proofs.engines.history import History, Unanswered, from_json, keep, read, to_json
from tests.baton.proofs.engines.linearizability import Refuted, explain
from tests.baton.proofs.engines.recording import FIRST, START, Device, Part, ReadThenWrite, record
from tests.baton.proofs.engines.sequential import apply
from tests.baton.proofs.engines.test_linearizability import IMPOSSIBLE, POSSIBLE
from tests.baton.proofs.engines.together import Team, processes, threads

DEVICES, STEPS = 4, 40
TRIES_MAX = 8
"""The number of histories before a seeded fault counts as unnoticed. Usually the first history shows the fault."""

SHORT = pytest.param(DEVICES, STEPS, range(1), id="short")


def long(histories: int) -> object:
    """Make a parameter set: this number of histories of eight devices, for ``make prove``."""
    return pytest.param(8, 60, range(100, 100 + histories), id="long", marks=pytest.mark.prove)


def require_explained(history: History, name: str) -> None:
    """Require that the rule explains a history. Otherwise store the history in a file."""
    verdict = explain(history, apply)
    if isinstance(verdict, Refuted):
        kept = keep(history, name)
        lines = "\n".join(check.told(history, verdict))
        pytest.fail(f"{lines}\nkept  {kept}\nnext  {sys.executable} -m tests.baton.proofs.engines.check {kept}")


def is_ever_refuted(team: Team, tables: Tables, **named: object) -> bool:
    """Record histories until a history is refuted."""
    recorded = (
        record(team, tables, seed=seed, devices=DEVICES, steps=STEPS // 2, **named) for seed in range(TRIES_MAX)
    )
    return any(isinstance(explain(history, apply), Refuted) for history in recorded)


@pytest.mark.parametrize(("devices", "steps", "seeds"), [SHORT, long(4)])
def test_the_embedded_engine_follows_the_rule(
    tables: Tables, eager_switching: None, devices: int, steps: int, seeds: range
) -> None:
    """The devices are threads, on moto with a lock."""
    with threads(devices) as team:
        for seed in seeds:
            history = record(team, tables, seed=seed, devices=devices, steps=steps)
            require_explained(history, f"embedded-{seed}")
    assert from_json(to_json(history)) == history


@pytest.mark.parametrize(("devices", "steps", "seeds"), [SHORT, long(30)])
def test_dynoxide_follows_the_rule(shared_tables: Tables, devices: int, steps: int, seeds: range) -> None:
    """The devices are processes, on dynoxide."""
    with processes(devices) as team:
        for seed in seeds:
            history = record(team, shared_tables, seed=seed, devices=devices, steps=steps)
            require_explained(history, f"dynoxide-{seed}")


def test_a_store_that_reads_and_then_writes_is_refuted(tables: Tables, eager_switching: None) -> None:
    """A control of the tests above: the lock of moto does not hide this fault."""
    with threads(DEVICES) as team:
        assert is_ever_refuted(team, tables, store=ReadThenWrite)


@pytest.mark.prove
def test_a_store_that_reads_and_then_writes_is_refuted_on_dynoxide(shared_tables: Tables) -> None:
    """Dynoxide does not hide this fault either."""
    with processes(DEVICES) as team:
        assert is_ever_refuted(team, shared_tables, store=ReadThenWrite)


def test_stock_moto_is_refuted(tables: Tables, stock: None, wide_gap: None, eager_switching: None) -> None:
    """Without the lock, moto breaks the rule under Baton's own store. The calibration is therefore necessary."""
    with threads(DEVICES) as team:
        try:
            refuted = is_ever_refuted(team, tables)
        except KeyError as fell_apart:  # moto fails if two of its threads use its dictionaries
            refuted = "moto" in traceback.extract_tb(fell_apart.__traceback__)[-1].filename
    assert refuted


def test_a_device_forgets_the_attempts_of_a_login_that_it_ended() -> None:
    """If a device kept the attempts and logged in with that state, a correct store would be refuted."""
    stored = MemoryTables(lineages={ACCOUNT: START.account_state})
    lineage_store = MemoryLineageStore(stored)

    def ask(verb: str, **arguments: object) -> object:
        return getattr(lineage_store, verb)(**arguments)

    part = Part(0, seed=0, steps=0, tables=Tables("none"), embedded=True)
    device = Device(part, ask, random.Random(0))
    device._exchange(FIRST)
    device._end(device._seen.lineages[FIRST.id])
    assert device._seen == lineage_store.get(ACCOUNT)
    assert device._seen.lineages[FIRST.id].ended


@pytest.mark.prove
def test_histories_have_every_verdict_of_the_rule(tables: Tables, eager_switching: None) -> None:
    """The histories have every verdict except ``Ahead``, which needs an old table.

    At least one request in ten has no answer.
    """
    with threads(DEVICES) as team:
        recorded = [record(team, tables, seed=seed, devices=DEVICES, steps=STEPS) for seed in range(TRIES_MAX)]
    said = Counter(type(operation.answer) for history in recorded for operation in history.operations)
    assert said.keys() >= {Exchanged, Retry, Superseded, Reused, Inactive, Done, Moved, AccountState, Unanswered}
    assert said[Unanswered] > said.total() / 10


def test_a_refuted_history_is_stored_and_refuted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The failure names the file. The command refutes the history in this file too."""
    monkeypatch.setattr(histories, "FOLDER", tmp_path)
    history = History(START, IMPOSSIBLE["two children of one generation"])
    with pytest.raises(pytest.fail.Exception, match=r"planted-1\.json"):
        require_explained(history, "planted-1")
    assert read(tmp_path / "planted-1.json") == history
    assert check.main([str(tmp_path / "planted-1.json")]) == 1
    assert "the rule says" in capsys.readouterr().out


def test_an_explained_history_is_explained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command without a file prints its usage."""
    kept = keep(History(START, POSSIBLE["the unheard happened"]), "well", tmp_path)
    assert check.main([str(kept)]) == 0
    assert "explained: 2 operations" in capsys.readouterr().out
    assert check.main([]) == 2
    assert "python -m tests.baton.proofs.engines.check" in capsys.readouterr().out
