"""Shortcuts of the tests: the same results, with less computation. A run takes half the time with them."""

import contextlib
import functools
import gc
import itertools
import re
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date

from chalicelib.baton.factors import password_hash
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from chalicelib.baton.testing import identity_provider
from chalicelib.baton.testing.dynamodb import shared_sessions
from tools import template
from tools.dev.engine import REGION

CHEAP: Final = (8, 1, 1)
"""The lowest cost that Argon2 accepts: KiB, passes and lanes. The cost of the policy takes 20 ms for each password."""
RSA_KEYS: Final = 16
"""More keys than a test has identity providers, so two providers of a test have different keys."""
_DEAR: Final = {name: getattr(password_hash, name) for name in ("_CURRENT", "_NOBODYS_PASSWORD_HASH")}
_REQUEST_ID: Final = ("x-amzn-requestid", "TEST")
_NOT_DECLARED: Final = (
    "throughput",
    "global_indexes",
    "indexes",
    "streams",
    "sse_specification",
    "deletion_protection_enabled",
    "warm_throughput",
)


def keep_what_is_loaded() -> None:
    """Let the garbage collector ignore all objects of this moment, and collect less often.

    Each full collection would visit the tests and the models of botocore again. This took a fifth of a run. A young
    collection also calls a function of Hypothesis.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@contextlib.contextmanager
def cheap_passwords() -> Iterator[None]:
    """Compute password hashes at the least cost within this context."""
    dear, cheap = ("m={},t={},p={}".format(*cost) for cost in (_DEAR["_CURRENT"], CHEAP))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(password_hash, "_CURRENT", CHEAP)
        unknown = _DEAR["_NOBODYS_PASSWORD_HASH"].replace(dear, cheap)
        patch.setattr(password_hash, "_NOBODYS_PASSWORD_HASH", unknown)
        yield


@contextlib.contextmanager
def dear_passwords() -> Iterator[None]:
    """Compute password hashes at the cost of the policy within this context."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _DEAR.items():
            patch.setattr(password_hash, name, value)
        yield


@contextlib.contextmanager
def few_rsa_keys() -> Iterator[None]:
    """Let the identity providers of this context share a few RSA keys, in turn. To make one takes 0.1 s of CPU."""
    turns = itertools.cycle(range(RSA_KEYS))
    make = functools.cache(lambda _turn, size: generate_private_key(65537, size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity_provider, "generate_private_key", lambda _exponent, size: make(next(turns), size))
        yield


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Within this context, botocore and moto cache results that depend only on code and on text arguments.

    The user agent of botocore is one word.
    """
    import botocore.session
    import botocore.useragent

    with shared_sessions(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        patch.setattr(botocore.useragent.UserAgentString, "to_string", lambda _: "botocore")
        _shorten_moto(patch)
        yield


def _shorten_moto(patch: pytest.MonkeyPatch) -> None:
    """Make moto faster.

    It reads each attribute value in only one way, and parses each condition and each update only once. Requests to
    DynamoDB go straight to its handler, whose operations are listed only once.
    """
    from moto.core.serialize import ResponseSerializer
    from moto.dynamodb.comparisons import ConditionExpressionParser
    from moto.dynamodb.parsing import expressions

    stock: Any = ResponseSerializer.get_value

    @functools.wraps(stock)
    def get_value(serializer: object, value: Any, key: str, shape: Any) -> object:
        parent = getattr(shape, "parent", None)
        if type(value) is dict and parent is not None and parent.name == "AttributeValue":
            return value.get(key)
        return stock(serializer, value, key, shape)

    split: Any = ConditionExpressionParser._lex_condition_expression

    @functools.lru_cache(maxsize=1000)
    def words(condition: str) -> tuple[object, ...]:
        return tuple(split(ConditionExpressionParser(condition, None, None)))

    @functools.wraps(split)
    def lex(parser: ConditionExpressionParser) -> deque[object]:
        return deque(words(parser.condition_expression or ""))

    patch.setattr(ResponseSerializer, "get_value", get_value)
    patch.setattr(ConditionExpressionParser, "_lex_condition_expression", lex)
    patch.setattr("moto.core.responses.gen_amzn_requestid_long", lambda headers: headers.setdefault(*_REQUEST_ID))
    updates: Any = vars(expressions)["UpdateExpressionParser"]
    patch.setattr(updates, "make", functools.lru_cache(maxsize=1000)(updates.make))
    _answer_dynamodb(patch)


def _answer_dynamodb(patch: pytest.MonkeyPatch) -> None:
    """Give requests to DynamoDB to moto's handler of DynamoDB.

    Otherwise moto makes a request of Werkzeug of each, and looks for the service with each of its URL patterns.
    """
    from moto.core import responses
    from moto.core.botocore_stubber import BotocoreStubber
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.dynamodb.responses import DynamoHandler

    stock: Any = BotocoreStubber.process_request
    address = re.compile(r"https?://dynamodb\.([a-z0-9-]+)\.amazonaws\.com/")

    @functools.wraps(stock)
    def process_request(stubber: BotocoreStubber, request: Any) -> object:
        found = address.fullmatch(request.url)
        if found is None:
            return stock(stubber, request)
        handler: Any = DynamoHandler()
        handler.body = _text(request.body)
        handler.headers = {name.title(): _text(value) for name, value in request.headers.items()}
        handler.querystring, handler.uri_match = {}, {}
        handler.region, handler.current_account = found[1], DEFAULT_ACCOUNT_ID
        handler.response_headers = {"server": "amazon.com", "date": http_date()}
        handler.parse_parameters(
            SimpleNamespace(
                method="POST",
                content_type=handler.headers["Content-Type"],
                values={},
                headers=handler.headers,
                data=request.body,
                path="/",
            )
        )
        try:
            return handler.call_action()
        except HTTPException as planted:  # by a test
            return planted.code, planted.get_headers(), planted.get_body()

    operations: Any = vars(responses)["method_names_from_class"]
    of_dynamodb = operations(DynamoHandler)

    def operations_of(kind: type) -> object:
        return of_dynamodb if kind is DynamoHandler else operations(kind)

    patch.setattr(responses, "method_names_from_class", operations_of)
    patch.setattr(BotocoreStubber, "process_request", process_request)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@contextlib.contextmanager
def tables_in_moto(tables: Tables) -> Iterator[None]:
    """Provide the empty tables of ``infra/data.yaml`` in moto within this context, without requests.

    With requests, they take 20 ms for each test.
    """
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.dynamodb.models import dynamodb_backends

    backend: Any = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION]
    pattern = _pattern()
    names = {tables.name(table): declared for table, declared in pattern.items()}
    for name, declared in names.items():
        backend.create_table(
            name,
            schema=declared["KeySchema"],
            attr=declared["AttributeDefinitions"],
            billing_mode=declared["BillingMode"],
            tags=[],
            **dict.fromkeys(_NOT_DECLARED),
        )
        if "TimeToLiveSpecification" in declared:
            backend.update_time_to_live(name, declared["TimeToLiveSpecification"])
    yield
    for name in names:
        backend.tables.pop(name, None)


@functools.cache
def _pattern() -> dict[str, Any]:
    """Return the tables of ``infra/data.yaml``, by the names that Baton has for them."""
    declared = template.tables("any")
    return {table: declared[Tables("any").name(table)] for table in KEYS}
