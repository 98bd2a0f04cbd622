"""The routes of the development API, ``/_dev``. docs/baton/development.md describes the bodies."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from chalicelib.baton.testing.attesters.kit import Attester
from chalicelib.baton.testing.clock import SKIP_MAX_S, DevelopmentClock
from chalicelib.baton.testing.gateway import Gateway, GatewayResponse
from tools.dev.api import facts, inspect, reset
from tools.dev.api.accounts import DevAccounts
from tools.dev.api.answers import NO_CONTENT, DevRefusal, DevRequest, as_json, integer, routed, string
from tools.dev.api.events import Events
from tools.dev.api.faults import IMMEDIATE, KINDS, Faults
from tools.dev.api.front import Front, tokens_in
from tools.dev.api.history import History
from tools.dev.api.providers import ProviderRoutes
from tools.dev.api.records import Records
from tools.dev.api.watch import Watch
from tools.dev.attestation import attestation_answer
from tools.dev.providers import DevelopmentProviders

LISTED: Final = 100
LISTED_MAX: Final = 2_000

Answer = GatewayResponse | Iterator[bytes]
"""An answer, or the parts of a stream of events."""


class DevApi:
    """The development API. Its ``front`` sends the requests of apps through the gateway."""

    def __init__(
        self,
        gateway: Gateway,
        clock: DevelopmentClock,
        *,
        watch: Watch | None = None,
        attester: Attester | None = None,
        providers: DevelopmentProviders | None = None,
        engine: str = "",
        register_demo: Callable[[], object] = lambda: None,
    ) -> None:
        """Serve a gateway. Without ``watch`` the apps are not Baton's, and the routes about accounts answer 404."""
        self.clock, self._watch, self._engine, self._register_demo = clock, watch, engine, register_demo
        self._attester = attester
        self.events = Events(clock.time)
        self.history = History()
        self.faults = Faults(lambda change, fault: self.events.publish("fault", change=change, fault=fault))
        self.records = Records(self.events, self.history, self._authorities)
        self.front = Front(gateway, clock, self.faults, self.records, self._account_of)
        self._accounts = DevAccounts(lambda: self._baton, self.history, clock)
        self._routes: dict[str, Callable[[DevRequest], Answer]] = {
            "GET events": self._stream,
            "GET requests": self._requests,
            "GET requests/{}": self._request,
            "GET accounts": self._accounts.find,
            "GET accounts/{}": self._accounts.show,
            "GET accounts/{}/lineages": self._accounts.lineages,
            "GET accounts/{}/activity": self._accounts.activity,
            "POST accounts/{}/{}": self._accounts.change,
            "GET mode": self._mode,
            "GET mails": self._mails,
            "GET clock": self._time,
            "POST clock": self._skip,
            "GET faults": self._faults_listed,
            "POST faults": self._fault_added,
            "DELETE faults": self._faults_removed,
            "DELETE faults/{}": self._fault_removed,
            "GET doctor": self._doctor,
            "GET settings": self._settings,
            "POST tokens/inspect": self._inspect,
            "POST attestation": self._attest,
            **ProviderRoutes(providers).routes,
            "POST reset": self._reset,
        }

    def answer(self, request: DevRequest) -> Answer:
        """Answer a request that ``guards.check`` accepted.

        Raises ``DevRefusal`` if no route matches, or if the route refuses the request.
        """
        return routed(self._routes, request)

    def mailed(self, to: str, subject: str) -> None:
        """Publish a mail as an event, without its text: the text can contain a code. ``GET mails`` returns the text."""
        self.events.publish("mail", to=to, subject=subject)

    def _attest(self, request: DevRequest) -> Answer:
        if self._attester is None:
            raise DevRefusal(404, "not_found", "This server attests no app.")
        return attestation_answer(self._attester, request.body)

    @property
    def _baton(self) -> Any:  # noqa: ANN401 - of the current modules
        if self._watch is None:
            raise DevRefusal(404, "not_found", "This server has no app of Baton.")
        return self._watch.baton

    def _authorities(self) -> frozenset[str]:
        return self._watch.baton.settings.authorities if self._watch else frozenset()

    def _account_of(self, headers: Sequence[tuple[str, str]], body: bytes) -> set[str]:
        tokens, email = tokens_in(headers, body)
        found = [inspect.presented(self._baton, token) for token in tokens]
        accounts = {one.account for one in found if one is not None}
        names = {account.lower() for account in accounts} | ({email.strip().lower()} if email else set())
        return names | {self._accounts.email_of(account).lower() for account in accounts}

    def _stream(self, request: DevRequest) -> Answer:
        given = request.parameters("after")
        after = integer(given, "after", least=0, most=2**53, otherwise=0) if "after" in given else None
        return self.events.stream(after, gone=request.gone)

    def _requests(self, request: DevRequest) -> Answer:
        given = request.parameters("q", "limit")
        limit = integer(given, "limit", least=1, most=LISTED_MAX, otherwise=LISTED)
        return as_json({"requests": self.records.found(given.get("q", "").strip(), limit)})

    def _request(self, request: DevRequest) -> Answer:
        request.parameters()
        found = self.records.get(request.path[1])
        if found is None:
            raise DevRefusal(404, "not_found", "No kept request has this id. The server keeps the last 2,000.")
        return as_json(found)

    def _mode(self, request: DevRequest) -> Answer:
        request.parameters()
        return as_json({"mode": "local", "stage": None, "operator": None})

    def _mails(self, request: DevRequest) -> Answer:
        request.parameters()
        return mails_answer()

    def _time(self, request: DevRequest) -> Answer:
        request.parameters()
        return as_json(self._told())

    def _told(self) -> dict[str, object]:
        return {"server_time": int(self.clock.time()), "skipped": round(self.clock.skipped_s, 3)}

    def _skip(self, request: DevRequest) -> Answer:
        seconds = request.members("skip").get("skip")
        # NaN is outside all limits too.
        if type(seconds) not in {int, float} or not -SKIP_MAX_S <= seconds <= SKIP_MAX_S:  # type: ignore[operator] # a number
            raise DevRefusal(400, "wrong_type", f'Send {{"skip": seconds}}, at most {SKIP_MAX_S} either way.')
        self.clock.skip(float(seconds))  # type: ignore[arg-type] # a number
        told = self._told()
        self.events.publish("clock", **told)
        return as_json(told)

    def _faults_listed(self, request: DevRequest) -> Answer:
        request.parameters()
        known = [{"name": name, "does": kind.does, "takes": kind.takes} for name, kind in KINDS.items()]
        return as_json({"faults": self.faults.listed(), "known": known})

    def _fault_added(self, request: DevRequest) -> Answer:
        members = request.members("name", "match", "times", "ms", "seconds")
        fault, times = self.faults.plan(members, self.front.routes)
        if fault.name == IMMEDIATE:
            cloned = self._accounts.exchange_as_copy(fault.match.account)
            self.events.publish("fault", change="hit", fault={"id": fault.id, "name": fault.name, **cloned})
        else:
            self.faults.add(fault, times)
        return as_json({"id": fault.id}, 201)

    def _faults_removed(self, request: DevRequest) -> Answer:
        request.parameters()
        self.faults.remove()
        return NO_CONTENT

    def _fault_removed(self, request: DevRequest) -> Answer:
        request.parameters()
        if not self.faults.remove(request.path[1]):
            raise DevRefusal(404, "not_found", "No planned fault has this id. It has happened, or it was deleted.")
        return NO_CONTENT

    def _doctor(self, request: DevRequest) -> Answer:
        request.parameters()
        return as_json({"rows": facts.rows(self._baton)})

    def _settings(self, request: DevRequest) -> Answer:
        request.parameters()
        return as_json(facts.settings(self._baton, engine=self._engine))

    def _inspect(self, request: DevRequest) -> Answer:
        return as_json(inspect.inspected(self._baton, string(request.members("token"), "token")))

    def _reset(self, request: DevRequest) -> Answer:
        request.members()
        baton = self._baton
        self.faults.remove()
        self.clock.skipped_s = 0.0
        reset.empty(baton)
        if self._watch is not None:
            self._watch.revoke_test_certificate()
        importlib.import_module("chalicelib.baton.mail.outbox").OF_THIS_PROCESS._mails.clear()
        self.history.clear()
        self.records.clear()
        self.events.clear()
        self.events.publish("reset")
        self._register_demo()
        return as_json({"accounts": len(self._accounts.listed(""))})


def mails_answer() -> GatewayResponse:
    """Answer with the mails of the development mailbox, the newest first."""
    # `make dev` imports the modules of chalicelib again when a file changes. Then the mailbox is a new one.
    mailbox = importlib.import_module("chalicelib.baton.mail.outbox").OF_THIS_PROCESS
    mails: list[Mapping[str, str]] = [
        {"to": mail.to, "subject": mail.subject, "text": mail.text, "html": mail.html}
        for mail in reversed(mailbox.mails)
    ]
    return as_json({"mails": mails})
