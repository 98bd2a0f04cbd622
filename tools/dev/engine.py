"""The embedded DynamoDB and KMS: moto in this process, with a lock.

moto has no lock: two callers can both succeed with the same conditional write. A lock around its handler prevents this.
The tests and ``make dev`` use this database, unless ``AWS_ENDPOINT_URL_DYNAMODB`` names another database.
"""

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.storage.dynamodb.values import Item
from chalicelib.baton.testing.dynamodb import serialised, shared_sessions
from tools import template
from tools.dev.api.units import size_of_item
from tools.dev.port import read_port

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ENDPOINT = "AWS_ENDPOINT_URL_DYNAMODB"
REGION = "us-east-1"
_PARTS = ("KeySchema", "AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "LocalSecondaryIndexes")
"""The properties of a template's table that a development table gets too."""


def offer_credentials() -> None:
    """Set placeholder credentials for botocore, if there are none. The emulators do not check them."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "development")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "development")


@contextlib.contextmanager
def embedded() -> Iterator[None]:
    """Answer every AWS client of this process from memory, one call at a time."""
    from moto import mock_aws  # noqa: PLC0415 - moto is slow to import, and may not be needed

    offer_credentials()
    with shared_sessions(), serialised(), mock_aws():
        yield


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """Use the database at ``AWS_ENDPOINT_URL_DYNAMODB``, or start the embedded one. Yield its URL or a description."""
    endpoint = os.environ.get(ENDPOINT)
    if endpoint:
        offer_credentials()
        yield endpoint
    else:
        with embedded():
            yield "embedded (moto, in memory, serialised)"


def client() -> "DynamoDBClient":
    """Return the DynamoDB client of the tools, made once for each endpoint."""
    return _client(os.environ.get(ENDPOINT), os.environ.get("AWS_ENDPOINT_URL"))


@functools.lru_cache(maxsize=8)
def _client(*_endpoints: str | None) -> "DynamoDBClient":
    """Make a client. The endpoints are only the key of the cache, because botocore reads them from the environment."""
    import boto3  # noqa: PLC0415 - slow to import

    return boto3.client("dynamodb")


def stored_size(table: str, key: Item) -> int | None:
    """Return the size in bytes of an item in the embedded database, without a request. ``None``: no such item."""
    from moto.core.models import DEFAULT_ACCOUNT_ID  # noqa: PLC0415 - moto is slow to import
    from moto.dynamodb.models import dynamodb_backends  # noqa: PLC0415
    from moto.dynamodb.models.dynamo_type import DynamoType  # noqa: PLC0415

    held = dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]].tables.get(table)
    if held is None:
        return None
    range_key = DynamoType(dict(key[held.range_key_attr])) if held.range_key_attr else None
    item = held.get_item(DynamoType(dict(key[held.hash_key_attr])), range_key)
    return size_of_item(item.to_json()["Attributes"]) if item is not None else None


def create_tables(tables: Tables) -> None:
    """Create the missing tables of ``infra/data.yaml``, with their TTL."""
    _create(template.tables(tables.prefix))


def create_own_tables(deployment: str) -> None:
    """Create the missing tables of ``tables.yaml``, with their indexes and TTL, if the team has this file.

    ``deployment`` (``Baton.deployment``) is the value for the template parameter ``Prefix``.
    """
    _create(template.own_tables(deployment))


def _create(tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Create tables without encryption keys, backups and deletion protection, which are only for AWS."""
    dynamodb = client()
    for name, declared in tables.items():
        try:
            dynamodb.create_table(TableName=name, **{part: declared[part] for part in _PARTS if part in declared})
        except dynamodb.exceptions.ResourceInUseException:  # it exists
            continue
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        if "TimeToLiveSpecification" in declared:
            with contextlib.suppress(dynamodb.exceptions.ClientError):  # some engines have no TTL
                dynamodb.update_time_to_live(
                    TableName=name, TimeToLiveSpecification=declared["TimeToLiveSpecification"]
                )


@contextlib.contextmanager
def over_http(port: int = 0, *, certificate: Path | None = None) -> Iterator[str]:
    """Serve the embedded database, and the other services of moto, on loopback within this context.

    Yield the URL. With a ``certificate`` (PEM, with its key), the server uses TLS.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - only needed here

    class Silent(WSGIRequestHandler):
        """A handler that keeps connections open, as AWS does. It logs nothing: a request line may contain a secret."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log(self, *_: object) -> None:
            """Log nothing."""

    offer_credentials()
    with serialised():
        application = DomainDispatcherApplication(create_backend_app)
        tls = (str(certificate), str(certificate)) if certificate else None
        server = make_server("127.0.0.1", port, application, threaded=True, request_handler=Silent, ssl_context=tls)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def serve(port: int) -> None:
    """Serve the embedded database over HTTP until interrupted, for example for ``chalice local``."""
    with over_http(port) as url:
        os.environ[ENDPOINT] = url
        create_tables(Tables("baton-dev"))
        create_own_tables("baton-dev")
        print(f"database    {url} (moto, in memory, serialised), tables baton-dev-*")
        print(f"next        {ENDPOINT}={url} .venv/bin/chalice local --stage local --port 8001", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def main(arguments: Sequence[str]) -> int:
    """Serve the embedded database until interrupted, on the port in ``arguments``, by default 8002."""
    serve(read_port(arguments[0]) if arguments else 8002)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
