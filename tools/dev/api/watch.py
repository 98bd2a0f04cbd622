"""Observe Baton from inside, for the development server: calls to AWS, tokens, exchanges and signatures.

Each environment of ``app.py`` gets a storage and AWS clients (`Effects`) that take notes while a request runs. The
notes of the request are in ``CURRENT``. They take no notes outside a request, and none about the mails that are sent
after an answer.
"""

import functools
import importlib
import secrets
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec.structs import replace

from chalicelib.baton.testing import gateway
from chalicelib.baton.testing.attesters.kit import REVOKED_SERIAL
from chalicelib.baton.testing.clock import DevelopmentClock
from tools.dev.api import units
from tools.dev.api.conditions import name_of
from tools.dev.api.masks import masked_base
from tools.dev.api.seen import CURRENT, OUTCOMES, EngineCall, ExchangeSeen, Presented, Seen, SignatureSeen
from tools.dev.engine import stored_size
from tools.dev.providers import DevelopmentProviders

if TYPE_CHECKING:
    from chalicelib.baton.attestation.ports import Anchors
    from chalicelib.baton.environment import Effects
    from chalicelib.baton.service import Baton
    from chalicelib.baton.storage.ports import Storage

_HOOKED: Final = "hooked_by_the_development_server"


class Watch:
    """Loads Lambda environments of ``app.py``, and observes their requests."""

    def __init__(
        self,
        clock: DevelopmentClock,
        mailed: Callable[[str, str], object],
        *,
        counts: bool = False,
        anchors: "Anchors | None" = None,
        providers: DevelopmentProviders | None = None,
    ) -> None:
        """Use the clock of the server. ``mailed`` is called for each mail. ``counts``: the database counts units.

        ``anchors`` are the root certificates that Baton trusts for evidence. ``providers`` are the identity providers.
        """
        self._clock, self._mailed, self._counts, self._anchors = clock, mailed, counts, anchors
        self._providers = providers
        self._baton: Any = None

    def load(self) -> ModuleType:
        """Load ``app.py`` as a new environment, and return its module."""
        module = gateway.load_app(gateway.APP, self._effects())
        _hook(importlib.import_module("chalicelib.baton.tokens.presented"))
        for baton in batons(module):
            baton._dispatch.after = _unwatched(baton._dispatch.after)
            self._baton = baton
            if self._providers is not None:
                self._providers.serve(baton.settings.providers, baton)
        return module

    @property
    def baton(self) -> "Baton":
        """Return the ``Baton`` of the environment that was loaded last."""
        return cast("Baton", self._baton)

    def revoke_test_certificate(self) -> None:
        """Revoke the certificate in the evidence that `Attester` makes with ``defect="revoked"``."""
        from chalicelib.baton.attestation.model import RevokedList  # noqa: PLC0415 - `make dev` reloads it
        from chalicelib.baton.attestation.rules import revoked_digest  # noqa: PLC0415 - as above

        listed = RevokedList(int(self._clock.time()), frozenset({revoked_digest(f"{REVOKED_SERIAL:x}")}))
        self._baton.storage.attestations.replace_revoked(listed)

    def _effects(self) -> "Effects":
        from chalicelib.baton.environment import Effects  # noqa: PLC0415 - `make dev` reloads it

        return Effects(
            lambda: int(self._clock.time()),
            secrets.token_bytes,
            storage=_watched_storage,
            aws=lambda name, client: cast("Any", _WatchedClient(name, client, counts=self._counts)),
            mailbox=cast("Any", self._mailbox),
            anchors=self._anchors,
            fetch=cast("Any", self._providers.fetch) if self._providers else None,
            post=cast("Any", self._providers.post) if self._providers else None,
            providers=self._providers.rows if self._providers else None,
        )

    def _mailbox(self, mail: Any) -> None:  # noqa: ANN401 - of the current modules
        importlib.import_module("chalicelib.baton.mail.outbox").OF_THIS_PROCESS(mail)
        self._mailed(mail.to, mail.subject)


def batons(module: ModuleType) -> Any:  # noqa: ANN401 - the class is of the current modules
    """Yield each ``Baton`` among the variables of ``module``, a loaded ``app.py``."""
    service = importlib.import_module("chalicelib.baton.service")
    return (value for value in vars(module).values() if isinstance(value, service.Baton))


def _unwatched(after: Callable[[], None] | None) -> Callable[[], None] | None:
    if after is None:
        return None

    def run() -> None:
        token = CURRENT.set(None)
        try:
            after()
        finally:
            CURRENT.reset(token)

    return run


def _unavailable(reason: str) -> Exception:
    errors = importlib.import_module("chalicelib.baton.errors")  # the current module
    return cast("Exception", errors.Unavailable(reason))


class _WatchedClient:
    """An ``AwsClient`` that notes each call to AWS. It also injects the faults that are set for the app's request."""

    def __init__(self, name: str, client: Any, *, counts: bool) -> None:  # noqa: ANN401 - of the current modules
        self._name, self._client, self._counts = name, client, counts

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def call(self, operation: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - the request of AwsClient
        """Call an operation of AWS, note the call, and inject the faults of the request."""
        seen = CURRENT.get()
        if seen is None:
            return cast("dict[str, Any]", self._client.call(operation, **request))
        began, answer, verdict = time.perf_counter(), {}, "done"
        asked = {**request, "ReturnConsumedCapacity": "TOTAL"} if self._counts else request
        conditions = _conditions(request)
        try:
            lost = self._struck(seen, operation)
            answer = self._client.call(operation, **asked)
            verdict = "held" if conditions else "done"
            if lost:
                verdict = "answer lost"
                raise _unavailable(f"{self._name} {operation}: ConnectionClosedError")
        except Exception as error:
            kind = type(error).__name__
            if kind in {"ConditionFailed", "TransactionFailed"}:
                verdict = "failed"
                answer = {"Attributes": getattr(error, "item", None)}
            elif verdict != "answer lost":
                verdict = str(getattr(error, "reason", "") or kind)
            raise
        finally:
            ms = round((time.perf_counter() - began) * 1000, 2)
            stored = None if self._counts else stored_size
            sizes = units.items_of(operation, request, answer, stored)
            # moto adds wrong figures even if the request does not ask for them.
            counted = units.counted(answer.pop("ConsumedCapacity", None)) if self._counts else None
            table = _table(request)
            seen.calls.append(
                EngineCall(self._name, operation, table, " | ".join(conditions), verdict, ms, sizes, counted)
            )
        return cast("dict[str, Any]", answer)

    def _struck(self, seen: Seen, operation: str) -> bool:
        """Inject the faults that come before a call. Return whether the answer to this call must be lost."""
        if not seen.faults or self._name != "dynamodb":
            return False
        if slow := seen.fault("database_slow"):
            time.sleep(slow.ms / 1000)
        if seen.fault("database_down"):
            raise _unavailable(f"{self._name} {operation}: ProvisionedThroughputExceededException")
        lost = seen.fault("database_answer_lost")
        if lost is None or operation in units.READS:
            return False
        # Only the first write of a request loses its answer. Most requests end with this error. Later calls succeed.
        seen.faults = tuple(fault for fault in seen.faults if fault is not lost)
        return True


def _conditions(request: Mapping[str, Any]) -> list[str]:
    if "ConditionExpression" in request:
        return [name_of(request["ConditionExpression"])]
    return [
        name_of(write["ConditionExpression"])
        for one in request.get("TransactItems", ())
        for write in one.values()
        if "ConditionExpression" in write
    ]


def _table(request: Mapping[str, Any]) -> str:
    """Return the names of the tables without the prefix of the deployment."""
    named = [request["TableName"]] if "TableName" in request else list(request.get("RequestItems", ()))
    named += [write["TableName"] for one in request.get("TransactItems", ()) for write in one.values()]
    return ", ".join(dict.fromkeys(name.rpartition("-")[2] for name in named))


def _watched_storage(storage: "Storage") -> "Storage":
    return replace(
        storage,
        accounts=cast("Any", _WatchedAccounts(storage.accounts)),
        lineages=cast("Any", _WatchedLineages(storage.lineages)),
        key_ring=cast("Any", _WatchedKeyRing(storage.key_ring)),
    )


def _note_account(account: str) -> None:
    seen = CURRENT.get()
    if seen is not None and seen.account is None:
        seen.account = account


class _WatchedAccounts:
    """The store ``accounts``. It notes the account of a registration."""

    def __init__(self, stock: object) -> None:
        self._stock = stock

    def __getattr__(self, name: str) -> object:
        return getattr(self._stock, name)

    def register(self, user: Any, account_state: object) -> object:  # noqa: ANN401 - of the current modules
        _note_account(user.account)
        return self._stock.register(user, account_state)  # type: ignore[attr-defined] # of the port


class _WatchedLineages:
    """The store ``lineages``. It notes the account of a request, and each exchange."""

    def __init__(self, stock: object) -> None:
        self._stock = stock

    def __getattr__(self, name: str) -> object:
        return getattr(self._stock, name)

    def get(self, account: str) -> object:
        _note_account(account)
        return self._stock.get(account)  # type: ignore[attr-defined] # of the port

    def exchange(self, presented: Any, **named: object) -> object:  # noqa: ANN401 - of the current modules
        verdict = self._stock.exchange(presented, **named)  # type: ignore[attr-defined] # of the port
        seen = CURRENT.get()
        if seen is not None:
            outcome = OUTCOMES[type(verdict).__name__]
            seen.exchange = ExchangeSeen(presented.generation, presented.attempt[:4].hex(), outcome)
        return verdict


class _WatchedKeyRing:
    """The key ring. The fault ``kms_down`` makes it unreadable for a request."""

    def __init__(self, stock: object) -> None:
        self._stock = stock

    def __getattr__(self, name: str) -> object:
        seen = CURRENT.get()
        if seen is not None and name in {"current", "refreshed"} and seen.fault("kms_down"):
            raise _unavailable("kms decrypt: KMSInternalException")
        return getattr(self._stock, name)


def _hook(presented: ModuleType) -> None:
    """Replace functions of the module ``presented`` by others, which also note the token and signature of a request.

    If the module already has these other functions, do nothing.
    """
    if getattr(presented, _HOOKED, False):
        return
    setattr(presented, _HOOKED, True)
    verifier = presented.RequestVerifier
    stock_token, stock_signature, stock_verify = verifier.token, verifier.signature, presented.verify_signature
    base_of = importlib.import_module("chalicelib.baton.proof.signature").signature_base

    @functools.wraps(stock_token)
    def token(self: object, text: str, *, now: int, cookie: bool = False) -> Any:  # noqa: ANN401 - of the current modules
        proved = stock_token(self, text, now=now, cookie=cookie)
        if (seen := CURRENT.get()) is not None:
            seen.token = Presented(proved.token.account, proved.token.lineage, proved.token.generation)
        return proved

    @functools.wraps(stock_signature)
    def signature(self: object, message: Any, proved: Any, *, now: int) -> Any:  # noqa: ANN401
        try:
            return stock_signature(self, message, proved, now=now)
        except Exception as error:
            seen = CURRENT.get()
            if seen is not None and type(error).__name__ == "WrongKey" and message.path.endswith("/oauth/token"):
                seen.exchange = ExchangeSeen(proved.token.generation, _attempt(presented, message), "wrong_key")
            raise

    @functools.wraps(stock_verify)
    def verify(message: Any, given: Any, *, now: int, **expected: object) -> Any:  # noqa: ANN401
        seen = CURRENT.get()
        if seen is None:
            return stock_verify(message, given, now=now, **expected)
        noted = seen.signature = SignatureSeen(
            functools.partial(_base, base_of, message, given),
            given.components,
            given.keyid,
            given.parameters.get("created"),
            "verified",
        )
        try:
            return stock_verify(message, given, now=now + seen.skew_s, **expected)
        except Exception as error:
            noted.verdict = str(getattr(error, "code", type(error).__name__))
            raise

    verifier.token, verifier.signature = token, signature
    setattr(presented, "verify_signature", verify)  # noqa: B010 - a module has no such attribute for the type checker


def _base(base_of: Callable[..., bytes], message: object, given: object) -> str:
    try:
        return masked_base(base_of(message, given).decode())
    except Exception:  # noqa: BLE001 - the same error is raised again, where the request is judged
        return ""


def _attempt(presented: ModuleType, message: object) -> str | None:
    try:
        attempt = presented.attempt_header(message)
    except Exception:  # noqa: BLE001 - an attempt of the wrong form
        return None
    return presented.attempt_digest(attempt)[:4].hex() if attempt else None
