"""A sequential model of an account: the effect of each request. Some order of requests must explain a schedule.

A request on behalf of a login is accepted only while that login is active, and a request with a grant only while the
proved password is current. The search is the same as for recorded histories
(``tests/baton/proofs/engines/linearizability.py``).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from chalicelib.baton import errors
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.tokens.refusals import GrantInvalid, TokenReused
from tests.baton.proofs.engines.history import UNANSWERED, Operation
from tests.baton.proofs.engines.linearizability import Refuted, search


class Said(StrEnum):
    """The answer to a request."""

    DONE = "done"
    NOT_LIVE = "its login is not live"
    OUTDATED = "its password is not the account's any more"
    NOT_LET_IN = "not let in"


@dataclass(frozen=True, slots=True)
class Account:
    """The state of an account. ``known``: every login so far; ``deleted_by``: the login that deleted the account."""

    live: frozenset[LineageId]
    version: int
    status: Status
    known: frozenset[LineageId]
    deleted_by: LineageId | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: a verb of this module, and its arguments."""

    verb: str
    lineage: LineageId | None = None
    version: int = 0
    target: LineageId | None = None
    replaced: frozenset[LineageId] = frozenset()

    def heard(self, answer: object, *, twice: bool) -> "Iterator[tuple[Asked, object]]":
        """Translate a request and its answer to operations of this model.

        Yields none if the answer depends on no account.

        An exchange with the answer "reuse" is an end. An exchange without an answer may have been one. A refusal
        because the login has ended is only a read.

        ``twice``: one of its writes was sent twice. A refused request may then have had an effect: if another client
        changed the account in between, the second sending cannot tell. An operator command has no precondition on the
        account, so it may take effect twice.
        """
        if twice and self.lineage is None:
            yield self, UNANSWERED
        maybe = replace(self, verb="end") if self.verb == "use" else self
        if not isinstance(answer, errors.Refusal | None):
            yield self, Said.DONE
        elif isinstance(answer, TokenReused):
            yield replace(self, verb="end"), Said.DONE
        elif twice or answer is None or isinstance(answer, errors.Unavailable):
            yield maybe, UNANSWERED
        if isinstance(answer, errors.LoginRequired):
            yield replace(self, verb="use"), Said.NOT_LIVE
        elif isinstance(answer, errors.Refusal) and type(answer) in REFUSED and not twice:
            yield self, REFUSED[type(answer)]


REFUSED = {GrantInvalid: Said.OUTDATED, InvalidCredentials: Said.NOT_LET_IN}


def apply(account: Account, operation: Operation) -> tuple[Account, object]:
    """Return the account after a request without concurrency, and the answer."""
    asked = operation.arguments["asked"]
    assert isinstance(asked, Asked)
    return VERBS[asked.verb](account, asked)


Verb = Callable[[Account, Asked], tuple[Account, object]]


def _use(account: Account, asked: Asked) -> tuple[Account, object]:
    return account, Said.DONE if asked.lineage in account.live else Said.NOT_LIVE


def _log_in(account: Account, asked: Asked) -> tuple[Account, object]:
    if account.status is not Status.ACTIVE or account.version != asked.version:
        return account, Said.NOT_LET_IN
    if asked.lineage in account.known:  # a repetition of the request adds no login
        return account, Said.DONE if asked.lineage in account.live else Said.NOT_LIVE
    assert asked.lineage
    live = (account.live - asked.replaced) | {asked.lineage}
    return replace(account, live=live, known=account.known | {asked.lineage}), Said.DONE


def _end(account: Account, asked: Asked) -> tuple[Account, object]:
    return replace(account, live=account.live - {asked.lineage}), Said.DONE


def _on_behalf(effect: Callable[[Account, Asked], Account]) -> Verb:
    """Apply a request only while its login is active and its password is current."""

    def act(account: Account, asked: Asked) -> tuple[Account, object]:
        if asked.lineage not in account.live:
            return account, Said.NOT_LIVE
        if account.version != asked.version:
            return account, Said.OUTDATED
        return effect(account, asked), Said.DONE

    return act


def _delete(account: Account, asked: Asked) -> tuple[Account, object]:
    if asked.lineage == account.deleted_by:  # its own request, sent before
        return account, Said.DONE
    deleted = replace(account, live=frozenset(), status=Status.DELETED, deleted_by=asked.lineage)
    return _on_behalf(lambda *_: deleted)(account, asked)


def _set_status(status: Status) -> Verb:
    def act(account: Account, _: Asked) -> tuple[Account, object]:
        if account.status is Status.DELETED:
            return account, Said.NOT_LET_IN
        live = account.live if status is Status.ACTIVE else frozenset[LineageId]()
        return replace(account, live=live, status=status), Said.DONE

    return act


VERBS: Mapping[str, Verb] = {
    "use": _use,
    "log in": _log_in,
    "end": _end,
    "end device": _on_behalf(lambda account, asked: replace(account, live=account.live - {asked.target})),
    "end all": _on_behalf(lambda account, _: replace(account, live=frozenset())),
    "change password": _on_behalf(
        lambda account, asked: replace(account, live=account.live & {asked.lineage}, version=account.version + 1)
    ),
    "delete": _delete,
    "disable": _set_status(Status.DISABLED),
    "enable": _set_status(Status.ACTIVE),
    "look": lambda account, _: (account, (account.live, account.version, account.status)),
}


def contradiction(start: Account, operations: list[Operation]) -> str | None:
    """Return the reason why no order explains the operations, or ``None`` if some order does."""
    verdict = search(start, operations, apply)
    if not isinstance(verdict, Refuted):
        return None
    told = [f"{one.who}: {one.verb} -> {one.answer}" for one in verdict.order]
    against = [f"{one.operation.who}: {one.operation.verb} -> {one.operation.answer}" for one in verdict.next]
    return f"no order explains it: after {'; '.join(told) or 'nothing'} none can be next of {'; '.join(against)}"
