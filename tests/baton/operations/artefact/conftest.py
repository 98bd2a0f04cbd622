"""The packaged function, started as Lambda starts it, with a local engine on loopback."""

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from tests.baton.wire.conftest import BASE_URL
from tools.dev.engine import client, create_tables, over_http
from tools.dev.environment import Environment, unpack
from tools.package import configuration, this_architecture
from tools.template import tables

STAGE = "prod"


@pytest.fixture(scope="session")
def built(packaged: Callable[[str], Path]) -> Path:
    """Package for the architecture of this machine, because only that code can run here."""
    architecture = this_architecture()
    if architecture is None:
        pytest.skip("Lambda's runtime client runs on Linux, on x86_64 and arm64: there is nothing to boot here")
    return packaged(architecture)


@pytest.fixture(scope="session")
def task(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the zip."""
    return unpack(built / "deployment.zip", tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def aws(embedded_engine: None) -> Iterator[str]:
    """Serve AWS on loopback, with the tables, key, alias and key ring of the stage, as deployed."""
    del embedded_engine
    with over_http() as url:
        prefix = variables(url)["BATON_TABLE_PREFIX"]
        create_tables(Tables(prefix))
        kms = AwsClient("kms")
        key_id = kms.call("create_key")["KeyMetadata"]["KeyId"]
        kms.call("create_alias", AliasName=f"alias/{prefix}", TargetKeyId=key_id)
        KeyRing(DynamoDB(Tables(prefix)), KmsWrapper(key_id), secrets.token_bytes).create(now=int(time.time()))
        yield url
        for name in tables(prefix):
            client().delete_table(TableName=name)
        kms.call("delete_alias", AliasName=f"alias/{prefix}")


def variables(aws: str) -> dict[str, str]:
    """Return the variables of the stage, with another URL, another AWS endpoint and the registry of ``dev``.

    The registry that ``prod`` names does not exist here, because each team writes its own.
    """
    own = configuration()["stages"][STAGE]["environment_variables"]
    here = {"BATON_CLIENTS": "clients-dev.toml", "BATON_ISSUER": BASE_URL, "AWS_ENDPOINT_URL": aws}
    return {**own, **here, "BATON_BREACH_CHECK": "off"}  # no request leaves this machine


@pytest.fixture(scope="module")
def environment(task: Path, aws: str) -> Iterator[Environment]:
    """Start the function."""
    with Environment(task, variables(aws)) as booted:
        yield booted
