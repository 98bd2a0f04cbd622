"""Compare the test authority and Baton's verifier with pyattest, which is used for development only.

The check of assertions in pyattest compares neither the app nor the counter, so these two are not compared.
"""

import asyncio
import time
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pyattest.attestation import Attestation
from pyattest.configs.apple import AppleConfig
from pyattest.exceptions import PyAttestException

from chalicelib.baton.attestation.rules import client_data
from chalicelib.baton.testing.attesters.apple import Apple, AppleKey
from chalicelib.baton.testing.attesters.certificates import new_key
from tests.baton.attestation.test_app_attest import APP, HASH, IOS_27, refusal, verify
from tests.baton.attestation.test_app_attest import APPLE as FAKE_TIME

# Of the library under pyattest.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TEXT: Final = client_data("mobile", "a challenge", "a thumbprint")


def opinion(authority: Apple, made: AppleKey) -> bool:
    """Return whether pyattest accepts an attestation. It reads the real clock."""
    root = authority.root.public_bytes(Encoding.PEM)
    config = AppleConfig(key_id=made.key_id, app_id=APP, production=True, root_ca=root)
    try:
        asyncio.run(Attestation(made.attestation, TEXT, config).verify())
    except PyAttestException:
        return False
    return True


@pytest.fixture(scope="module")
def authority() -> Apple:
    """Make an authority whose certificates are valid at the real time."""
    return Apple(now=int(time.time()))


@pytest.mark.parametrize("extras", [None, IOS_27])
def test_both_accept_both_layouts(authority: Apple, extras: Any) -> None:
    """A widely used verifier accepts the objects of the test authority, so they have the real form."""
    assert opinion(authority, authority.attest(APP, HASH, extras=extras))
    assert verify(FAKE_TIME.attest(APP, HASH, extras=extras))


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"nonce": bytes(32)}, "challenge"),
        ({"key_id": bytes(32)}, "key"),
        ({"credential_id": bytes(32)}, "key"),
        ({"environment": "development"}, "environment"),
        ({"counter": 1}, "counter"),
        ({"signed_by": new_key()}, "chain"),
    ],
)
def test_both_refuse_the_same_defects(authority: Apple, knobs: dict[str, Any], reason: str) -> None:
    """Baton's refusal also names the check."""
    assert not opinion(authority, authority.attest(APP, HASH, **knobs))
    assert refusal(lambda: verify(FAKE_TIME.attest(APP, HASH, **knobs))) == reason
