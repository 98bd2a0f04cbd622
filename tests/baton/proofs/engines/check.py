"""Check stored histories again: ``python -m tests.baton.proofs.engines.check build/histories/NAME.json``."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from chalicelib.baton.lineages.model import AccountState, Lineage, PresentedToken
from chalicelib.baton.lineages.rules import Exchanged, Retry
from tests.baton.proofs.engines.history import FOREVER, History, Operation, read
from tests.baton.proofs.engines.linearizability import Explained, Refuted, explain
from tests.baton.proofs.engines.sequential import apply

SHOWN = 12
"""The number of operations that are printed before the contradiction."""


def brief(value: object) -> str:
    """Format a value in a few words."""
    match value:
        case AccountState():
            lineages = "; ".join(brief(lineage) for lineage in sorted(value.lineages.values(), key=lambda one: one.id))
            return f"epoch {value.epoch}, verifier {value.credentials_version}, {value.status.name.lower()}: {lineages}"
        case Lineage():
            ended = f", ended: {value.ended.reason} at {value.ended.at}" if value.ended else ""
            return f"{value.id} generation {value.generation} of epoch {value.epoch}, iat {value.issued_at}{ended}"
        case Exchanged(lineage) | Retry(lineage):
            return f"{type(value).__name__} {brief(lineage)}"
        case PresentedToken():
            return f"{value.lineage} generation {value.generation}, attempt {value.attempt!r}"
        case None:
            return "done"
        case _:
            return str(value)


def asked(operation: Operation) -> str:
    """Format the arguments of an operation: only the arguments that differ between operations."""
    telling = ("presented", "actor", "lineage", "reason", "status")
    return ", ".join(brief(value) for name, value in operation.arguments.items() if name in telling)


def told(history: History, verdict: Explained | Refuted) -> Iterable[str]:
    """Format the result of the check, as lines."""
    if isinstance(verdict, Explained):
        never = len(history.operations) - len(verdict.order)
        yield f"explained: {len(verdict.order)} operations in an order that the rule gives; {never} had no effect"
        return
    begun = min(operation.sent for operation in history.operations)
    yield f"refuted: no order explains more than {len(verdict.order)} of {len(history.operations)} operations"
    yield f"  {'sent µs':>10} {'heard µs':>10}  {'who':<10} {'verb':<16} asked -> heard"
    for operation in verdict.order[-SHOWN:]:
        yield _line(operation, begun)
    yield "  then none of these can be next:"
    for contradiction in verdict.next:
        yield _line(contradiction.operation, begun)
        yield f"  {'':>21}  {'':<10} {'the rule says':<16} -> {brief(contradiction.expected)}"


def _line(operation: Operation, begun: int) -> str:
    sent = (operation.sent - begun) // 1000
    heard = "never" if operation.heard == FOREVER else (operation.heard - begun) // 1000
    words = f"{asked(operation)} -> {brief(operation.answer)}"
    return f"  {sent:>10} {heard:>10}  {operation.who:<10} {operation.verb:<16} {words}"


def main(names: Sequence[str]) -> int:
    """Check each file. The command fails if a history is refuted."""
    if not names:
        sys.stdout.write(f"{__doc__}\n")
        return 2
    refuted = 0
    for name in names:
        history = read(Path(name))
        verdict = explain(history, apply)
        refuted += isinstance(verdict, Refuted)
        sys.stdout.writelines(f"{line}\n" for line in [name, *told(history, verdict)])
    if refuted:
        sys.stdout.write(
            "next  the rule is chalicelib/baton/lineages/rules.py, its conditions are in "
            "chalicelib/baton/storage/dynamodb/state_writes.py\n"
        )
    return 1 if refuted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
