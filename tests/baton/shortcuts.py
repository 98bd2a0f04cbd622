"""Shortcuts of the tests: the same results, with less computation. A run takes half the time with them."""

import contextlib
import functools
import gc
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import pytest

from chalicelib.baton.factors import password_hash
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from chalicelib.baton.testing.dynamodb import shared_sessions
from tools import template
from tools.dev.engine import REGION

CHEAP: Final = (8, 1, 1)
"""The lowest cost that Argon2 accepts: KiB, passes and lanes. The cost of the policy takes 20 ms for each password."""
_DEAR: Final = {name: getattr(password_hash, name) for name in ("_CURRENT", "_NOBODYS_PASSWORD_HASH")}
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
    """Let the garbage collector ignore all objects of this moment.

    Each full collection would visit the tests and the models of botocore again. This took a fifth of a run.
    """
    gc.collect()
    gc.freeze()


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
def remembered() -> Iterator[None]:
    """Within this context, botocore and moto cache results that depend only on code and on text arguments."""
    import botocore.session
    import botocore.useragent

    with shared_sessions(), pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (botocore.useragent, "sanitize_user_agent_string_component"),
            (botocore.session, "create_loader"),
        ):
            patch.setattr(module, name, functools.lru_cache(maxsize=1000)(getattr(module, name)))
        _shorten_moto(patch)
        yield


def _shorten_moto(patch: pytest.MonkeyPatch) -> None:
    """Make moto faster.

    It reads each attribute value in only one way, and splits each condition into words only once.
    """
    from moto.core.serialize import ResponseSerializer
    from moto.dynamodb.comparisons import ConditionExpressionParser

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
