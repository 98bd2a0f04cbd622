"""The stage: a deployment whose key ring is encrypted by KMS, as in AWS, and the actions of the scenarios."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from baton_client import Answer, BatonClient, BatonError, LoggedOut, MemoryStorage, Refused, Request
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import open_ticket
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.mail.links import MailLinks
from chalicelib.baton.mail.tickets import MailOrder
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from chalicelib.baton.storage.dynamodb.items import state_of
from chalicelib.baton.storage.dynamodb.values import Item
from chalicelib.baton.testing.attesters.kit import Attester
from chalicelib.baton.testing.identity_provider import IdentityProvider
from tests.baton.federation.apple_server import AppleServer
from tests.baton.proofs.faults.line import Line
from tests.baton.wire.conversation import Device, Said, through
from tools.dev.engine import REGION
from tools.dev.gateway import DevelopmentClock, Gateway

BASE_URL = "https://api.example.com/api"
PATIENCE = 6
"""How often an action repeats a request that got no answer, or a 503."""

Act = Callable[[], str]
"""An action that follows the client contract, with retries, and returns its result as a word."""


@dataclass(frozen=True)
class Answered:
    """An answer as the client received it. ``struck``: a fault struck during this request."""

    route: str
    said: Said
    struck: bool

    @property
    def verdict(self) -> str:
        """Return the status and the code."""
        return f"{self.said.status} {self.said.code}".strip()


@dataclass
class Stage:
    """A deployment whose calls to AWS go over ``line``. ``transport`` is the name of the AWS client that it uses."""

    transport: str
    module: Any
    tables: Tables
    line: Line
    clock: DevelopmentClock
    attester: Attester
    providers: dict[str, IdentityProvider]
    apple: AppleServer
    answers: list[Answered] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put the gateway in front of a single environment, without pauses between retries."""
        self._carry = through(Gateway([self.module.app]))
        self.module.baton.database._dynamodb._pause = lambda _: None
        self.clear = self.remember()
        """Restore the initial tables, which hold only the key ring."""

    def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Said:
        """Send a request. A fault during the request is repaired before the next request."""
        before = self.line.struck
        said = self._carry(method, target, headers, body)
        self.answers.append(Answered(f"{method} {target}", said, self.line.struck > before))
        if self.line.struck:
            self.line.repair()
        return said

    def remember(self) -> "Callable[[], None]":
        """Copy the tables, and return a function that restores them.

        It also clears the caches, as a new environment does.
        """
        stored = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables
        names = [self.tables.name(table) for table in KEYS]
        kept = {name: copy.deepcopy(stored[name].items) for name in names}

        def rewind() -> None:
            for name in names:
                stored[name].items = copy.deepcopy(kept[name])
            self.module.baton.key_ring._cached = self.module.baton.key_ring._asked_at = None
            self.answers = []

        return rewind

    # --- Clients

    def device(self, client_id: str = "mobile", **members: Any) -> Device:
        """Create a device that sends raw requests."""
        return Device(self.send, lambda: int(self.clock.time()), client_id, **members)

    def client(self, client_id: str = "mobile", storage: MemoryStorage | None = None, **named: Any) -> BatonClient:
        """Create a device with the reference client."""

        def transport(request: Request, _timeout_s: float, /) -> Answer:
            target = "/" + request.url.split("/", 3)[3]
            said = self.send(request.method, target, list(request.headers.items()), request.body)
            return Answer(said.status, said.headers, said.body)

        return BatonClient(
            BASE_URL,
            client_id,
            storage or MemoryStorage(),
            clock=self.clock.time,
            transport=transport,
            sleep=lambda _: None,
            random=lambda: 0.0,
            **named,
        )

    def by_client(self, actor: BatonClient, do: Callable[[BatonClient], object]) -> Act:
        """Return an action of the reference client.

        It starts from its stored record, and then checks that it is still logged in.
        """
        record, client_id, binding = actor._storage.read(), actor._client_id, actor._binding

        def act() -> str:
            again = self.client(client_id, MemoryStorage(record), binding=binding)
            ended = _persist(lambda: do(again))
            self.line.rest()
            return f"{ended}, then {_persist(again.me)}"

        return act

    def by_device(self, actor: Device, do: Callable[[Device], Said]) -> Act:
        """Return an action: a device sends one raw request, and repeats it after 503 and after ``replayed_nonce``."""
        tokens = dict(actor.tokens)

        def act() -> str:
            again = replace(actor, tokens=dict(tokens))
            for _ in range(PATIENCE):
                said = do(again)
                if said.status != 503 and said.code != "replayed_nonce":
                    break
            self.line.rest()
            active = said.members.get("active", "") if said.status == 200 else ""
            return f"{said.status} {said.code}{active}"

        return act

    def code(self) -> str:
        """Read the code of the newest order in the queue."""
        return self._newest_order()[1].code

    def link(self, *, unproved: bool = False) -> str:
        """Make the ticket of the link to Baton's page in the mail of the newest order."""
        ring, order = self._newest_order()
        links = MailLinks(issuer="https://api.example.com", link_host="")
        (url,) = links(order, to=order.address, ring=ring, unproved=unproved).values()
        return url.rpartition("=")[2]

    def _newest_order(self) -> tuple[Ring, MailOrder]:
        baton = self.module.baton
        now = int(self.clock.time())
        ring = baton.key_ring.current(now=now)
        return ring, open_ticket(MailOrder, baton.background.pending._orders[-1], ring, now=now, bound_to={})

    # --- Results

    def items(self, table: str) -> list[Item]:
        """Read a table directly from the engine's memory: reads through the API would take most of the test time."""
        stored = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[self.tables.name(table)]
        return [{name: value.to_regular_json() for name, value in item.attrs.items()} for item in stored.all_items()]

    def state(self) -> list[str]:
        """List the facts in the tables that do not depend on time or randomness."""
        users = self.items("users")
        kinds = [item["pk"]["S"].partition("#")[0] for item in users]
        facts = [f"{kinds.count(kind)} {kind}" for kind in set(kinds)]
        facts += [f"verifier {item['v']['N']}" for item in users if "verifier" in item]
        now = int(self.clock.time())
        for account_state in map(state_of, self.items("lineages")):
            facts.append(f"account state {account_state.status.name} {account_state.credentials_version}")
            for lineage in account_state.lineages.values():
                ended = ended_of(account_state, lineage, now=now, not_before=0, idle_s=10**9)
                facts.append(
                    f"lineage {lineage.label} of client {lineage.client}: generation {lineage.generation},"
                    f" {ended.reason if ended else 'live'}"
                )
        for item in self.items("ephemeral"):
            assert int(item.get("taken", {"N": "0"})["N"]) >= 0, "a rate limit counts below zero"
        return sorted(facts)

    def events(self) -> set[str]:
        """Return the names of the events in the audit."""
        return {item["event"]["S"] for item in self.items("audit")}


def _persist(do: Callable[[], object]) -> str:
    """Repeat an action after ``AnswerLost`` and ``Offline``: the login has not ended."""
    ended = "never answered"
    for _ in range(PATIENCE):
        try:
            do()
        except LoggedOut as error:
            return f"logged out ({error.reason})"
        except Refused as error:
            return f"refused ({error.code})"
        except BatonError as error:
            ended = type(error).__name__
            if ended not in {"AnswerLost", "Offline"}:
                return ended
        else:
            return "done"
    return ended


def dumped(said: Said) -> str:
    """Format an answer for a failure message."""
    return json.dumps({"status": said.status, **said.members}, default=str)[:300]
