"""The deployed package on this machine: the zip, and an empty handler to compare it with."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from tools import package
from tools.dev.engine import create_tables
from tools.dev.environment import unpack

BASE_URL = "https://api.example.com/api"
REGISTRY = "clients-bench.toml"
BARE = 'def app(event, context):\n    return {"statusCode": 200, "headers": {}, "body": ""}\n'


@dataclass(frozen=True, slots=True)
class Deployed:
    """The unpacked zip and its template, an empty function, and the settings of a deployment with a key ring."""

    task: Path
    template: Path
    bare: Path
    variables: Mapping[str, str]


def _write_registry(task: Path) -> None:
    """Copy the demonstration registry without its line ``demonstration = true``, which a deployment would refuse."""
    shipped = (task / "chalicelib" / "clients.toml").read_text("utf-8")
    (task / "chalicelib" / REGISTRY).write_text(shipped.replace("demonstration = true\n", ""), "utf-8")


def deployed(folder: Path, *, dynamodb: str, kms: str, issuer: str = BASE_URL) -> Deployed:
    """Package for this machine, unpack, and create tables, key and key ring at these endpoints.

    The environment variables of this process must name the same endpoints. Raises ``SystemExit`` if Lambda's runtime
    client cannot run here.
    """
    architecture = package.this_architecture()
    if architecture is None:
        raise SystemExit("Lambda's runtime client runs on Linux, on x86_64 and arm64: there is nothing to boot here")
    with package.alone():
        archive = package.build("dev", architecture)
        task = unpack(archive, folder / "task")
        _write_registry(task)
        template = folder / "sam.yaml"
        template.write_bytes(archive.with_name("sam.yaml").read_bytes())
    bare = folder / "bare"
    bare.mkdir()
    (bare / "app.py").write_text(BARE, "utf-8")
    tables = Tables("bench")
    create_tables(tables)
    key_id = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    KeyRing(DynamoDB(tables), KmsWrapper(key_id), secrets.token_bytes).create(now=int(time.time()))
    variables = {
        "BATON_BREACH_CHECK": "off",  # no request leaves this machine
        "BATON_CLIENTS": REGISTRY,
        "BATON_ISSUER": issuer,
        "BATON_TABLE_PREFIX": tables.prefix,
        "BATON_KEY_RING": f"kms:{key_id}",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "AWS_ENDPOINT_URL_KMS": kms,
    }
    return Deployed(task, template, bare, variables)
