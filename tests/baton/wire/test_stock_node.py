"""AppAuth-JS and oauth4webapi read Baton's documents and answers. Node runs them; the packages are pinned.

`make clients` installs the packages of ``tests/baton/stock_clients``.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.baton.conftest import ENVIRONMENT
from tests.baton.wire.conversation import HOST, Device
from tests.baton.wire.test_narrowed import ACCESS_TOKEN, GRANT, narrow

FOLDER = Path(__file__).parents[1] / "stock_clients"
ISSUER = ENVIRONMENT["BATON_ISSUER"]


def missing() -> str:
    """Return the missing program or packages. It is empty if nothing is missing."""
    if not shutil.which("node"):
        return "node is not installed"
    if not (FOLDER / "node_modules" / "oauth4webapi").is_dir():
        return "the stock clients are not installed (make clients installs them)"
    return ""


@pytest.fixture
def read(make_device: Callable[..., Device]) -> dict[str, Any]:
    """Give both libraries the documents, the answer to an exchange, and a narrowed token.

    Return the values that they read.
    """
    if why := missing():
        pytest.skip(why)
    phone = make_device()
    phone.register("ada@example.com")

    def document(name: str) -> dict[str, Any]:
        return phone.send("GET", f"/api/.well-known/{name}", [("host", HOST)], b"").members

    given = {
        "issuer": ISSUER,
        "client": phone.client_id,
        "openid": document("openid-configuration"),
        "resource": document("oauth-protected-resource"),
        "narrowed": narrow(phone).members,
        "refreshed": phone.exchange().members,
    }
    command = [shutil.which("node") or "node", "read.js"]
    sent = json.dumps(given)
    ran = subprocess.run(command, check=False, cwd=FOLDER, input=sent, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return {**found, "given": given}


def test_appauth_js_finds_the_endpoints_and_reads_an_exchange(read: dict[str, Any]) -> None:
    """It reads `{issuer}/.well-known/openid-configuration`."""
    assert read["appauth"] == {
        "asked": [f"{ISSUER}/.well-known/openid-configuration"],
        "token": f"{ISSUER}/oauth/token",
        "revocation": f"{ISSUER}/oauth/revoke",
        "valid": True,
        "refresh": read["given"]["refreshed"]["refresh_token"],
    }


def test_oauth4webapi_accepts_the_documents_the_exchange_and_a_narrowed_token(read: dict[str, Any]) -> None:
    """It compares the issuer, and checks each answer as RFC 6749, 8693 and 9728 say."""
    assert read["oauth4webapi"] == {
        "asked": [f"{ISSUER}/.well-known/openid-configuration"],
        "token": f"{ISSUER}/oauth/token",
        "grants": ["refresh_token", GRANT],
        "refreshed": "bearer",
        "narrowed": ACCESS_TOKEN,
        "servers": [ISSUER],
    }
