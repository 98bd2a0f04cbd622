"""The accounts of the development server. They are read and changed by the function ``operate``, as in a deployment."""

import importlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from chalicelib.baton.testing.clock import DevelopmentClock
from chalicelib.baton.testing.gateway import GatewayResponse
from tools.dev.api.answers import DevRefusal, DevRequest, as_json
from tools.dev.api.history import History, pictured
from tools.dev.api.seen import OUTCOMES, ExchangeSeen
from tools.dev.engine import client

LISTED_MAX: Final = 100
OPERATOR: Final = "make dev"
COPY: Final = "cloned device"
"""The phone that exchanges a token for the fault ``cloned_device`` has this name in the history."""
CHANGES: Final = ("disable", "enable", "end", "delete")


def operate(**request: object) -> dict[str, Any]:
    """Call the Lambda function ``operate`` in this process. Raises ``DevRefusal`` if it refuses the request."""
    answer = importlib.import_module("chalicelib.baton.http.jobs").operate({"operator": OPERATOR, **request}, None)
    error = answer.get("error")
    if error:
        raise DevRefusal(error["status"], error["code"], error["detail"])
    return cast("dict[str, Any]", answer)


def change_of(request: DevRequest) -> dict[str, object]:
    """Return the keyword arguments of `operate` for the request ``POST accounts/{account}/{change}``.

    Raises ``DevRefusal`` for an unknown change or an invalid body.
    """
    _, account, change = request.path
    if change not in CHANGES:
        raise DevRefusal(404, "not_found", "There is no such change of an account.", known=list(CHANGES))
    members = request.members("confirm", "lineage") if change == "end" else request.members("confirm")
    if not all(isinstance(value, str) for value in members.values()):
        raise DevRefusal(400, "wrong_type", "The members must be texts.")
    op = "end_all" if change == "end" and not members.get("lineage") else change
    return {"op": op, "account": account, **members}


class DevAccounts:
    """The routes about accounts."""

    def __init__(self, baton: Callable[[], Any], history: History, clock: DevelopmentClock) -> None:
        """Use the current ``Baton`` and the history of the logins."""
        self._baton, self._history, self._clock = baton, history, clock

    def find(self, request: DevRequest) -> GatewayResponse:
        """List at most 100 accounts. With the query parameter ``q``, list only accounts that match its text."""
        return as_json({"accounts": self.listed(request.parameters("q").get("q", "").strip())})

    def show(self, request: DevRequest) -> GatewayResponse:
        """Show the account with the id in the path, with its newest 50 events. An unknown id raises ``DevRefusal``."""
        request.parameters()
        self._baton()
        account = request.path[1]
        shown = operate(op="account", account=account)
        return as_json({**shown, "activity": operate(op="activity", account=account)["events"]})

    def lineages(self, request: DevRequest) -> GatewayResponse:
        """Show the generations of each login of an account."""
        request.parameters()
        self._baton()
        account = request.path[1]
        shown = operate(op="account", account=account)
        return as_json(
            {
                "account": account,
                "lineages": [pictured(one, self._history.of(one["lineage"])) for one in shown["lineages"]],
            }
        )

    def activity(self, request: DevRequest) -> GatewayResponse:
        """Show 50 events of an account: the newest, or those before the event in the query parameter ``before``."""
        self._baton()
        before = request.parameters("before").get("before", "")
        return as_json(operate(op="activity", account=request.path[1], before=before))

    def change(self, request: DevRequest) -> GatewayResponse:
        """Disable, enable or delete an account, or end one or all of its logins."""
        self._baton()
        return as_json(operate(**change_of(request)))

    def listed(self, text: str) -> list[dict[str, object]]:
        """Return at most 100 accounts whose id, e-mail address or lineage id contains ``text``."""
        baton, found = self._baton(), []
        for account in self._ids(baton):
            user, state = baton.users.get(account), baton.lineage_store.get(account)
            if user is None or state is None:  # a deleted account: one of its two items is left
                continue
            names = (account, user.email, *state.lineages)
            if text and not any(text.lower() in name.lower() for name in names):
                continue
            # `logins` counts ended logins too. Only the answer about one account shows which logins have ended.
            status, logins = state.status.name.lower(), len(state.lineages)
            found.append({"account": account, "email": user.email, "status": status, "logins": logins})
            if len(found) == LISTED_MAX:
                break
        return sorted(found, key=lambda one: str(one["email"]))

    def email_of(self, account: str) -> str:
        """Return the e-mail address of an account, or an empty text."""
        user = self._baton().users.get(account)
        return str(user.email) if user else ""

    def exchange_as_copy(self, named: str) -> dict[str, object]:
        """Exchange the token of an account's newest login, as a copy of the device would.

        ``named``: the account's id or e-mail address. No device key is needed. Return the account, the lineage and the
        generation of the used token.

        Raises ``DevRefusal`` if no account matches, or if no active login of the account exchanges tokens.
        """
        baton, now = self._baton(), int(self._clock.time())
        found = operate(op="find", q=named)["accounts"]
        if not found:
            raise DevRefusal(404, "not_found", "No account has this id or address.")
        account = found[0]["account"]
        shown = {one["lineage"] for one in operate(op="account", account=account)["lineages"] if one["ended"] is None}
        state = baton.lineage_store.get(account)
        live = [
            one
            for one in (state.lineages.values() if state else ())
            if one.id in shown and (of := baton.clients.of(one.client)) is not None and of.mechanism.single_use
        ]
        if not live:
            raise DevRefusal(409, "no_login", "The account has no active login whose tokens are exchanged.")
        lineage = max(live, key=lambda one: (one.auth_time, one.issued_at))
        attempt = secrets.token_hex(16)
        presented = _presented(account, lineage, attempt)
        verdict = baton.lineage_store.exchange(
            presented,
            now=now,
            not_before=baton.key_ring.current(now=now).not_before,
            idle_s=baton.clients.of(lineage.client).mechanism.idle_s,
        )
        seen = ExchangeSeen(lineage.generation, presented.attempt[:4].hex(), OUTCOMES[type(verdict).__name__])
        request_id = secrets.token_hex(8)
        self._history.note(lineage.id, seen, at=round(self._clock.time(), 3), phone=COPY, request_id=request_id)
        return {"account": account, "lineage": lineage.id, "generation": lineage.generation}

    def _ids(self, baton: Any) -> Iterator[str]:  # noqa: ANN401 - of the current modules
        if baton.settings.storage == "memory":
            tables = importlib.import_module("chalicelib.baton.storage.memory.tables").OF_THIS_PROCESS
            with tables.lock:
                yield from list(tables.lineages)
            return
        name = baton.database.tables.lineages
        pages = client().get_paginator("scan").paginate(TableName=name, ConsistentRead=True, ProjectionExpression="pk")
        for page in pages:
            yield from (item["pk"]["S"].removeprefix("U#") for item in page["Items"])


def _presented(account: str, lineage: Any, attempt: str) -> Any:  # noqa: ANN401 - of the current modules
    model = importlib.import_module("chalicelib.baton.lineages.model")
    rules = importlib.import_module("chalicelib.baton.lineages.rules")
    return model.PresentedToken(
        account=account,
        lineage=lineage.id,
        generation=lineage.generation,
        issued_at=lineage.issued_at,
        client=lineage.client,
        binding=lineage.binding,
        attempt=rules.attempt_digest(attempt),
    )
