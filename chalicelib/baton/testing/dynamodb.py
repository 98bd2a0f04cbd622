"""DynamoDB in this process (moto), for a World whose app has its own tables."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from unittest import mock

from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables

MISSING: Final = "the DynamoDB of this test needs moto. remedy: pip install 'moto[dynamodb]'"
_REGION: Final = "us-east-1"
_LOCK: Final = threading.RLock()


@contextlib.contextmanager
def serialised() -> Iterator[None]:
    """Answer one call at a time within this context, because moto's tables are not safe for threads."""
    from moto.dynamodb.responses import DynamoHandler  # noqa: PLC0415 - slow to import, and rarely needed

    stock: Callable[..., Any] = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> Any:  # noqa: ANN401 - moto's own
        with _LOCK:
            return stock(handler)

    DynamoHandler.call_action = call_action  # type: ignore[method-assign] # the replacement
    try:
        yield
    finally:
        DynamoHandler.call_action = stock  # type: ignore[method-assign]


@contextlib.contextmanager
def shared_sessions() -> Iterator[None]:
    """Share one session of botocore among the clients of this context, while the variables ``AWS_*`` stay the same.

    Without the shared session, each client reads the service models again, which takes 0.1 s of CPU.
    """
    import botocore.session  # noqa: PLC0415 - slow to import, and rarely needed

    stock, sessions = botocore.session.get_session, dict[frozenset[tuple[str, str]], Any]()

    def get_session(env_vars: Any = None) -> Any:  # noqa: ANN401 - botocore's own
        variables = frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
        if variables not in sessions:
            sessions[variables] = stock(env_vars)
        return sessions[variables]

    with mock.patch.object(botocore.session, "get_session", get_session):
        yield


@contextlib.contextmanager
def emulated() -> Iterator[None]:
    """Within this context, answer the calls of each new AWS client from memory.

    A region and placeholder credentials replace all variables ``AWS_*``.

    Raises ``ModuleNotFoundError`` with the remedy if moto is not installed.
    """
    try:
        from moto import mock_aws  # noqa: PLC0415 - slow to import, and rarely needed
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(MISSING) from missing
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    given = {"AWS_DEFAULT_REGION": _REGION, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    with mock.patch.dict(os.environ, kept | given, clear=True), shared_sessions(), serialised(), mock_aws():
        yield


@contextlib.contextmanager
def tables(prefix: str) -> Iterator[None]:
    """Create Baton's four tables, and delete them at the end of this context.

    Each table has the key schema of a deployed table. TTL, backups and deletion protection are off.
    """
    dynamodb, names = AwsClient("dynamodb").client, Tables(prefix)
    for table, key in KEYS.items():
        dynamodb.create_table(TableName=names.name(table), BillingMode="PAY_PER_REQUEST", **_schema(key))
    try:
        yield
    finally:
        for table in KEYS:
            dynamodb.delete_table(TableName=names.name(table))


def _schema(key: tuple[str, ...]) -> Mapping[str, object]:
    return {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in key],
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
        ],
    }
