"""Compare Baton with python-fido2 (by Yubico): Baton accepts no passkey data that fido2 refuses."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import cbor2
import pytest
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    PublicKeyCredentialCreationOptions,
    PublicKeyCredentialRequestOptions,
    PublicKeyCredentialRpEntity,
    UserVerificationRequirement,
)

from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.passkey_challenge import creation_options, request_options
from chalicelib.baton.factors.refusals import InvalidPasskey
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.lineages.relying_party import RelyingParty
from tests.baton.factors.authenticator import ORIGIN, RP_ID, Authenticator, make_key
from tests.baton.factors.test_verify_passkey import CHALLENGE, CREATE, GET, LIES, asserted, registered

pytestmark = pytest.mark.guarantee(14)

FLIPS: Final = 400
OTHER: Final = Fido2Server(PublicKeyCredentialRpEntity(name="Example", id=RP_ID), verify_origin=lambda it: it == ORIGIN)
STATE: Final = {"challenge": CHALLENGE, "user_verification": UserVerificationRequirement.PREFERRED}


def known(mine: Authenticator) -> AttestedCredentialData:
    """Register with fido2."""
    data = OTHER.register_complete(STATE, mine.create(CREATE)).credential_data
    assert data is not None
    return data


def accepts(act: Callable[[], object]) -> bool:
    """Check whether fido2 accepts. It raises many kinds of exceptions."""
    try:
        act()
    except Exception:  # noqa: BLE001 - a refusal of fido2 can be of any kind
        return False
    return True


def is_refused(act: Callable[[], object]) -> bool:
    """Check whether Baton refuses the passkey data that ``act`` gives it."""
    try:
        act()
    except InvalidPasskey:
        return True
    return False


@pytest.mark.parametrize("algorithm", [-7, -8, -257])
def test_both_accept_an_honest_passkey(algorithm: int) -> None:
    """The test runs each algorithm. It also shows that the software authenticator follows the standard."""
    mine = Authenticator(key=make_key(algorithm))
    assert OTHER.authenticate_complete(STATE, [known(mine)], mine.get(GET)).credential_id == mine.credential_id
    assert cbor2.loads(registered(mine.create(CREATE)).public_key) == dict(known(mine).public_key)
    assert asserted(mine.get(GET), mine).counter == 0


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_that_fido2_refuses_is_refused(lie: str) -> None:
    """The test runs both ceremonies with each false value."""
    mine, (lies, _) = Authenticator(), LIES[lie]
    credential = known(mine)
    if not accepts(lambda: OTHER.register_complete(STATE, mine.create(CREATE, **lies))):
        assert is_refused(lambda: registered(mine.create(CREATE, **lies)))
    if not accepts(lambda: OTHER.authenticate_complete(STATE, [credential], mine.get(GET, **lies))):
        assert is_refused(lambda: asserted(mine.get(GET, **lies), mine))


def test_a_changed_bit_that_fido2_refuses_is_refused(record_property: Callable[[str, object], None]) -> None:
    """Any bit of the values from the authenticator is changed at a login. Baton refuses every change."""
    mine, draw = Authenticator(), random.Random("which bits")
    credential = known(mine)
    for _ in range(FLIPS):
        changed: dict[str, Any] = mine.get(GET)
        member = draw.choice(["clientDataJSON", "authenticatorData", "signature"])
        content = bytearray(decode_base64url(changed["response"][member]))
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        changed["response"][member] = encode_base64url(bytes(content))
        assert not accepts(partial(OTHER.authenticate_complete, STATE, [credential], changed))
        assert is_refused(partial(asserted, changed, mine))
    record_property("cases", FLIPS)


def test_fido2_reads_our_options() -> None:
    """fido2 reads Baton's options as a client does, and finds no unknown member."""
    party = RelyingParty(rp_id=RP_ID, rp_name="Example", origins=(ORIGIN,))
    user = User(AccountId("AAAAAAAAAAAAAAAA"), "ada@example.com", EmailIndex("index"), b"", 1, 0)
    made = creation_options(CHALLENGE, user, party).options
    read = PublicKeyCredentialCreationOptions.from_dict(made)
    assert (read.rp.id, read.user.id, encode_base64url(read.challenge)) == (RP_ID, bytes(12), CHALLENGE)
    assert [one.alg for one in read.pub_key_cred_params] == [-7, -8, -257]
    asked = request_options(CHALLENGE, party, allowed=(), user_verification="required").options
    assert PublicKeyCredentialRequestOptions.from_dict(asked).user_verification == "required"
