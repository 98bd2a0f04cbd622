"""The snapshot of SnapStart contains all code, and nothing that two environments must not share."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chalicelib.baton.storage.aws.snapshot import LATE
from tools.template import ROOT

LOOK = """
import json, sys
from pathlib import Path
from chalicelib.baton import settings
settings._FOLDER = Path("tests/baton/fixture_app").absolute()
from tests.baton.fixture_app.app import baton
from chalicelib.baton.storage.aws.snapshot import LATE
made = [one for one in vars(baton).values() if getattr(one, "_made", None) is not None]
print(json.dumps({
    "late": [name for name in LATE if name in sys.modules],
    "ring": baton.key_ring._cached is not None,
    "clients": len(made) + (baton.database._dynamodb._made is not None),
    "small": type(baton.settings.access_key).__name__,
    "handed": getattr(baton.access_key, "_known", None) is not None,
}))
"""
STARTED_ANYHOW = {
    "base64",
    "cryptography.exceptions",
    "cryptography.hazmat.primitives.ciphers",
    "ipaddress",
    "threading",
}
"""Modules that modules of the standard library, or the module of the ciphers ``aead``, import anyway."""


def late_imports() -> Iterator[str]:
    """Return the modules that deployed code imports inside functions."""
    for path in (ROOT / "chalicelib" / "baton").rglob("*.py"):
        if "testing" in path.parts:
            continue
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Import):
                        yield from (alias.name for alias in node.names)
                    elif isinstance(node, ast.ImportFrom):
                        modules = {f"{node.module}.{alias.name}" for alias in node.names} & set(LATE)
                        yield from modules or {str(node.module)}


def test_every_late_import_is_in_the_snapshot() -> None:
    """Each restored environment would import a missing module again, and SnapStart would save little."""
    in_development_only = {"chalicelib.baton.storage.memory.storage"}
    assert set(LATE) | in_development_only == set(late_imports())


@pytest.mark.parametrize("kind", ["snap-start", "on-demand"])
def test_a_snapshot_has_no_secret_and_no_connection(kind: str) -> None:
    """A snapshot has no key ring, client, connection or access key. Without SnapStart, nothing is loaded in advance."""
    own = {
        "BATON_ISSUER": "https://api.example.com/api",
        "BATON_TABLE_PREFIX": "baton-prod",
        "BATON_KEY_RING": "kms:alias/baton-prod",
        "BATON_CLIENTS": "clients-dev.toml",
    }
    # AWS is unreachable, so a call would fail.
    lambda_s = {
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "of-the-role",
        "AWS_SECRET_ACCESS_KEY": "of-the-role",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
        "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
        "AWS_ENDPOINT_URL": "http://x.invalid",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, env={**own, **lambda_s}, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert set(LATE) - set(seen["late"]) == set() if kind == "snap-start" else set(seen["late"]) <= STARTED_ANYHOW
    assert (seen["ring"], seen["clients"], seen["handed"]) == (False, 0, False)
    assert seen["small"] == ("Vended" if kind == "snap-start" else "AccessKey")
