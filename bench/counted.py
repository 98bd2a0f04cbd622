"""The program that ``bench/instructions.py`` runs under cachegrind.

For each case, one process makes few calls and another process makes many. All processes are forks of one process after
set-up and warm-up. The count of each process also includes the set-up. The difference of two counts is therefore
the cost of the additional calls. The standard output has a line of JSON for each process: case, calls, process id.
"""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.cases import Asked, Login, engine, logins, trivial
from bench.instructions import EXCHANGE, FEW, HMAC_UNASKED, MANY, P256_CHECKS, P256_UNASKED, SIGNED_CALL, TRIVIAL
from bench.machine import silenced

WARMING = 20
"""The number of warm-up calls: after them, caches are full and the interpreter has specialised the code."""


class Case(NamedTuple):
    """A measured function, and whether the database answers it."""

    name: str
    work: Callable[[], None]
    answered: bool = True


def cases() -> Iterator[Case]:
    """Return all cases."""
    made = {login.name: login for login in logins()}
    yield Case(TRIVIAL, trivial)
    yield from (Case(SIGNED_CALL + name, login.call) for name, login in made.items())
    yield Case(EXCHANGE, made["P-256, opaque"].exchange)
    yield Case(HMAC_UNASKED, until_it_asks(made["HMAC, opaque"]), answered=False)
    yield Case(P256_UNASKED, until_it_asks(made["P-256, JWT"]), answered=False)
    yield Case(P256_CHECKS, made["P-256, JWT"].cryptography)


def until_it_asks(login: Login) -> Callable[[], None]:
    """Make the signed call up to its first database request."""

    def work() -> None:
        try:
            login.call()
        except Asked:
            return

    return work


def count(case: Case, calls: int) -> int:
    """Make this number of calls in a new process, and return its id."""
    process = os.fork()
    if not process:
        for _ in range(calls):
            case.work()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit(f"{case.name}: error: it failed: its output is above")
    return process


def main() -> int:
    """Count every case."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as told, silenced():
        for case in cases():
            engine.answers = case.answered
            for _ in range(WARMING):
                case.work()
            # Garbage collections in the forks then read only the objects of their own calls.
            gc.collect()
            gc.freeze()
            for calls in (FEW, MANY):
                print(json.dumps([case.name, calls, count(case, calls)]), file=told, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
