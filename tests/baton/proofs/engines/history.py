"""Histories: the operations on one account state, with their times and answers; as values and as files.

A history is a list of requests. It includes the requests without an answer, which may have had an effect or not. If the
connection broke at a known time, the effect was before that time. If the sender timed out, the effect can come at any
later time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from msgspec import Struct

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import SecondFactors, User
from chalicelib.baton.lineages import model
from chalicelib.baton.lineages import rules as rule

FOLDER = Path(__file__).parents[4] / "build" / "histories"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The value in place of an answer: the sender received none."""


UNANSWERED = Unanswered()

FOREVER = 2**63 - 1
"""The end time of a request that may still be on its way."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of one verb. Times are nanoseconds of the monotonic clock of the machine.

    ``heard`` is the time of the answer. Without an answer, it is the latest time at which the request can have had an
    effect.
    """

    who: str
    verb: str
    arguments: Mapping[str, object]
    sent: int
    heard: int
    answer: object


@dataclass(frozen=True, slots=True)
class State:
    """A user and an account state: all data that the verbs of a history read and write."""

    user: User
    account_state: model.AccountState

    def __hash__(self) -> int:
        """Hash the fields: a user and an account state contain mappings, which have no hash."""
        account_state = self.account_state
        return hash(
            (
                self.user.account,
                self.user.password_hash,
                self.user.credentials_version,
                account_state.status,
                account_state.epoch,
                account_state.raised,
                frozenset(account_state.lineages.items()),
            )
        )


@dataclass(frozen=True, slots=True)
class History:
    """The state at the start, and the operations after it."""

    start: State
    operations: tuple[Operation, ...]


_TYPES: dict[str, type[Any]] = {
    known.__name__: known
    for known in (
        *(History, State, Operation, Unanswered),
        *(
            User,
            SecondFactors,
            model.AccountState,
            model.Lineage,
            model.PresentedToken,
            model.Actor,
            model.Assurance,
            model.Ended,
            model.Rights,
        ),
        *(model.KeyBinding, model.SecretBinding, model.NoBinding, model.EndReason, model.Status),
        *(model.Attestation, model.BrowserKey),
        *(
            rule.Exchanged,
            rule.Retry,
            rule.Superseded,
            rule.Reused,
            rule.Ahead,
            rule.Inactive,
            rule.ProofOutdated,
            Done,
            Moved,
            Refused,
        ),
    )
}


def to_json(value: object) -> Any:  # noqa: PLR0911 - one return for each kind of value
    """Convert a value to JSON, under the name of its type."""
    match value:
        case Enum():
            return {type(value).__name__: value.value}
        case None | str() | int():
            return value
        case bytes():
            return {"bytes": value.hex()}
        case tuple() | list():
            return [to_json(one) for one in value]
        case frozenset():
            return {"set": sorted(to_json(one) for one in value)}
        case Mapping():
            return {"map": {name: to_json(one) for name, one in value.items()}}
        case _:
            names = value.__struct_fields__ if isinstance(value, Struct) else [field.name for field in fields(value)]  # type: ignore[arg-type] # every other value is a dataclass
            return {type(value).__name__: {name: to_json(getattr(value, name)) for name in names}}


def from_json(written: Any) -> Any:  # noqa: PLR0911 - the same
    """Convert JSON to a value."""
    match written:
        case {"bytes": str(digits)}:
            return bytes.fromhex(digits)
        case {"set": list(members)}:
            return frozenset(members)
        case {"map": dict(named)}:
            return {name: from_json(one) for name, one in named.items()}
        case dict():
            [(name, held)] = written.items()
            known = _TYPES[name]
            if issubclass(known, Enum):
                return known(held)
            return known(**{field: from_json(one) for field, one in held.items()})
        case list():
            return tuple(from_json(one) for one in written)
        case _:
            return written


def keep(history: History, name: str, folder: Path | None = None) -> Path:
    """Store a history in a file, one operation a line."""
    folder = folder or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{name}.json"
    lines = ",\n".join(json.dumps(to_json(operation)) for operation in history.operations)
    kept.write_text(f'{{"History": {{"start": {json.dumps(to_json(history.start))}, "operations": [\n{lines}\n]}}}}\n')
    return kept


def read(kept: Path) -> History:
    """Read a stored history."""
    history = from_json(json.loads(kept.read_text()))
    assert isinstance(history, History)
    return history
