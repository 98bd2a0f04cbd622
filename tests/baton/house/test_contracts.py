"""baton.importlinter.toml: the code follows each contract, and each contract detects an import that breaks it."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFIG = "baton.importlinter.toml"
CONTRACTS = tomllib.loads((ROOT / CONFIG).read_text("utf-8"))["tool"]["importlinter"]["contracts"]
NAMES = [str(contract["name"]) for contract in CONTRACTS]
LAYERS, RULES, CHALICE, ONCE, AWS, MEMORY, CONNECTIONS, PYTEST, TOOLS, KIT = NAMES

PLANTED = [
    (LAYERS, "errors.py", "import chalicelib.baton.service"),
    (LAYERS, "lineages/rules.py", "from chalicelib.baton.events import names"),
    (LAYERS, "tokens/exchange.py", "from chalicelib.baton.storage import ports"),
    (LAYERS, "http/answer.py", "from chalicelib.baton.storage import ports"),
    (LAYERS, "accounts/login.py", "from chalicelib.baton import testing"),
    (LAYERS, "newroom/__init__.py", ""),
    (RULES, "lineages/rules.py", "import time"),
    (RULES, "lineages/login_rules.py", "import secrets"),
    (RULES, "lineages/model.py", "import os"),
    (RULES, "factors/model.py", "from datetime import datetime"),
    (RULES, "factors/strength.py", "import random"),
    (RULES, "factors/password_hash.py", "import os"),
    (RULES, "policy.py", "import socket"),
    (RULES, "proof/once_rules.py", "import http.client"),
    (RULES, "proof/signature.py", "from time import time"),
    (RULES, "newroom/rules.py", "import time"),
    (CHALICE, "accounts/login.py", "from chalice import Response"),
    (CHALICE, "storage/aws/service.py", "import chalice.app"),
    (ONCE, "http/once.py", "from chalice.app import Response"),
    (AWS, "http/dispatch.py", "import botocore.session"),
    (AWS, "settings.py", "import boto3"),
    (AWS, "storage/dynamodb/database.py", "def late():\n    import botocore"),
    (MEMORY, "storage/memory/once.py", "from chalicelib.baton.storage.dynamodb import items"),
    (CONNECTIONS, "tokens/exchange.py", "def late():\n    import http.client"),
    (CONNECTIONS, "events/log.py", "import socket"),
    (CONNECTIONS, "accounts/email.py", "import smtplib"),
    (CONNECTIONS, "service.py", "import requests"),
    (CONNECTIONS, "factors/breach.py", "def late():\n    import ssl"),
    (CONNECTIONS, "storage/dynamodb/audit.py", "import http.client"),
    (PYTEST, "http/body.py", "import pytest"),
    (TOOLS, "service.py", "from tools import template"),
    (TOOLS, "testing/plugin.py", "from tools.dev import engine"),
    (TOOLS, "keys/ring.py", "def late():\n    from tests.baton import world"),
    (KIT, "__init__.py", "from chalicelib.baton import testing"),
]
"""Each contract, a file of Baton, and the forbidden import that is added at its end."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the files that import-linter reads."""
    folder = tmp_path_factory.mktemp("contracts")
    for part in ("chalicelib", "tools"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / CONFIG, folder)
    return folder


@pytest.fixture
def planted(copy: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Add an import to the copy, and remove it afterwards."""
    name, text = request.param
    file = copy / "chalicelib" / "baton" / name
    before = file.read_text("utf-8") if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    package = file.parent / "__init__.py"
    new = not package.exists()
    package.touch()
    file.write_text(f"{before or ''}\n{text}\n", "utf-8")
    yield
    if new:
        shutil.rmtree(file.parent)
    elif before is None:
        file.unlink()
    else:
        file.write_text(before, "utf-8")


def broken(folder: Path) -> list[str]:
    """Run import-linter in a folder, and return the names of the broken contracts."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--config", CONFIG, "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    found = re.findall(r"^(.*) (KEPT|BROKEN)(?: \(.*\))?$", done.stdout, re.MULTILINE)
    assert [name for name, _ in found] == NAMES, done.stdout + done.stderr
    assert done.returncode == any(verdict == "BROKEN" for _, verdict in found)
    return [name for name, verdict in found if verdict == "BROKEN"]


def test_the_code_follows_every_contract(copy: Path) -> None:
    """`make check` runs the same comparison."""
    assert broken(copy) == []


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize(
    ("contract", "planted"),
    [pytest.param(contract, (name, text), id=f"{name}: {text}") for contract, name, text in PLANTED],
    indirect=["planted"],
)
@pytest.mark.usefixtures("planted")
def test_a_forbidden_import_is_detected(copy: Path, contract: str) -> None:
    """Exactly the contract that forbids it is broken."""
    assert contract in broken(copy)


def test_each_contract_has_a_forbidden_import() -> None:
    """If a contract is added, an import that breaks it must be added here."""
    assert {contract for contract, _, _ in PLANTED} == set(NAMES)
