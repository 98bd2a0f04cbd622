"""Values that an authenticator signed, right and false.

Each false value is refused, and the refusal names the check.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import cbor2
import pytest

from chalicelib.baton.factors.refusals import InvalidPasskey
from chalicelib.baton.factors.verify_passkey import (
    CREDENTIAL_ID_BYTES_MAX,
    Asserted,
    read_assertion,
    read_registration,
    verify_assertion,
    verify_registration,
)
from chalicelib.baton.keys.base64url import encode_base64url
from tests.baton.factors.authenticator import AT, BE, BS, ED, ORIGIN, RP_ID, UP, UV, Authenticator, cose, make_key

pytestmark = pytest.mark.guarantee(14)

CHALLENGE: Final = encode_base64url(bytes(range(80)))
CREATE: Final = {"challenge": CHALLENGE, "user": {"id": encode_base64url(b"twelve bytes")}}
GET: Final = {"challenge": CHALLENGE}


def registered(credential: dict[str, Any], *, present: bool = True, origins: tuple[str, ...] = (ORIGIN,)) -> Any:
    """Verify a registration."""
    return verify_registration(read_registration(credential), rp_id=RP_ID, origins=origins, user_present=present)


def asserted(
    credential: dict[str, Any],
    authenticator: Authenticator,
    *,
    verified: bool = False,
    origins: tuple[str, ...] = (ORIGIN,),
) -> Asserted:
    """Verify an assertion with the key of this authenticator."""
    key = cbor2.dumps(cose(authenticator.key))
    assertion = read_assertion(credential)
    return verify_assertion(assertion, rp_id=RP_ID, origins=origins, public_key=key, user_verified=verified)


def hint_of(act: Callable[[], object]) -> str:
    """Return the hint of the refusal."""
    with pytest.raises(InvalidPasskey) as refused:
        act()
    return str(refused.value.members["hint"])


@pytest.mark.parametrize("algorithm", [-7, -8, -257])
def test_a_passkey_of_each_algorithm_is_registered_and_proved(algorithm: int) -> None:
    """The stored passkey has the values of the authenticator."""
    mine = Authenticator(key=make_key(algorithm), counter=7, flags=UP | UV | BE | BS, aaguid=b"a" * 16)
    new = registered(mine.create(CREATE))
    assert (new.credential_id, new.counter, new.aaguid) == (mine.credential_id, 7, b"a" * 16)
    assert (new.backup_eligible, new.backed_up) == (True, True)
    assert new.transports == ("hybrid", "internal")
    assert cbor2.loads(new.public_key) == cose(mine.key)
    assert asserted(mine.get(GET, counter=8), mine, verified=True) == Asserted(8, True, True)  # noqa: FBT003 - its two flags


LIES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "foreign origin": ({"origin": "https://example.com.evil.example"}, "origin"),
    "http": ({"origin": "http://example.com"}, "origin"),
    "another port": ({"origin": "https://example.com:8443"}, "origin"),
    "in a frame of another origin": ({"client": {"crossOrigin": True}}, "crossOrigin"),
    "in a frame that is named": ({"client": {"topOrigin": ORIGIN}}, "topOrigin"),
    "crossOrigin is no boolean": ({"client": {"crossOrigin": 0}}, "crossOrigin"),
    "another RP ID": ({"rp_id": "evil.example"}, "RP ID"),
    "without presence": ({"flags": UV}, "present"),
    "backed up but not eligible": ({"flags": UP | UV | BS}, "backed up"),
    "bytes follow": ({"after": b"\x00"}, "authenticatorData|attestationObject"),
    "extensions with tag 35": ({"flags": UP | UV | ED, "after": bytes.fromhex("a16161d8236128")}, "CBOR"),
    "extensions that are no map": ({"flags": UP | UV | ED, "after": b"\x01"}, "map"),
    "not JSON": ({"raw_client_data": b"{"}, "clientDataJSON"),
    "an array": ({"raw_client_data": b"[]"}, "clientDataJSON"),
    "nested deeply": ({"raw_client_data": b"[" * 2000}, "clientDataJSON"),
    "not UTF-8": ({"raw_client_data": b'{"a":"\xff"}'}, "clientDataJSON"),
    "half a character": ({"client": {"more": "\ud800"}}, "UTF-8"),
    "half a character as a name": ({"client": {"\udc00": 1}}, "UTF-8"),
    "too long": ({"client": {"more": "x" * 3000}}, "clientDataJSON"),
    "NaN": ({"client": {"more": float("nan")}}, "clientDataJSON"),
    "without a challenge": ({"client": {"challenge": None}}, "clientDataJSON"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("ceremony", ["create", "get"])
def test_a_lie_is_refused_in_both_ceremonies(lie: str, ceremony: str) -> None:
    """The false values are origin, RP ID, presence and backup flags, and bytes that the library reads loosely."""
    lies, named = LIES[lie]
    mine = Authenticator()
    if ceremony == "create":
        hint = hint_of(lambda: registered(mine.create(CREATE, **lies)))
    else:
        hint = hint_of(lambda: asserted(mine.get(GET, **lies), mine))
    assert any(word in hint for word in named.split("|")), hint


def test_a_member_given_twice_is_refused() -> None:
    """The library would use the last value, and another program the first value."""
    mine = Authenticator()
    twice = f'{{"type":"webauthn.get","challenge":"{CHALLENGE}","origin":"https://evil.example","origin":"{ORIGIN}"}}'
    hint = hint_of(lambda: asserted(mine.get(GET, raw_client_data=twice.encode()), mine))
    assert "twice" in hint


def test_a_ceremony_is_not_the_other_one() -> None:
    """The signed type is ``webauthn.get`` in an assertion, and ``webauthn.create`` in a registration."""
    mine = Authenticator()
    assert "type" in hint_of(lambda: asserted(mine.get(GET, client={"type": "webauthn.create"}), mine))
    assert "type" in hint_of(lambda: registered(mine.create(CREATE, client={"type": "webauthn.get"})))


def test_the_person_is_verified_where_that_is_required() -> None:
    """The flag UV is required for a login with only a passkey, and for a step-up."""
    mine = Authenticator(flags=UP)
    assert asserted(mine.get(GET), mine) == Asserted(0, backup_eligible=False, backed_up=False)
    assert "verif" in hint_of(lambda: asserted(mine.get(GET), mine, verified=True))


def test_presence_is_not_required_of_a_conditional_create() -> None:
    """The platform adds the passkey without a gesture. Every other ceremony requires a gesture."""
    assert registered(Authenticator(flags=0).create(CREATE), present=False).counter == 0


def test_a_signature_by_another_key_is_refused() -> None:
    """A signature over other authenticator data is refused too."""
    mine, other = Authenticator(), Authenticator()
    assert "signature" in hint_of(lambda: asserted(mine.get(GET), other))
    credential = mine.get(GET)
    credential["response"]["authenticatorData"] = other.get(GET, counter=1)["response"]["authenticatorData"]
    assert "signature" in hint_of(lambda: asserted(credential, mine))


KEYS: Final[dict[str, Callable[[dict[int, Any]], bytes]]] = {
    "no alg": lambda key: cbor2.dumps({name: value for name, value in key.items() if name != 3}),
    "alg none of ours": lambda key: cbor2.dumps(key | {3: -65535}),
    "no curve": lambda key: cbor2.dumps({name: value for name, value in key.items() if name != -1}),
    "a point that is not on the curve": lambda key: cbor2.dumps(key | {-2: b"\x01" * 32}),
    "a text": lambda _: cbor2.dumps("key"),
    "a member twice": lambda key: b"\xa6" + cbor2.dumps(key)[1:] + b"\x03\x26",
    "with tag 35": lambda key: b"\xa6" + cbor2.dumps(key)[1:] + bytes.fromhex("04d8236128"),
    "an RSA key of 16,384 bits": lambda _: cbor2.dumps({1: 3, 3: -257, -1: b"\xff" * 2048, -2: b"\x01\x00\x01"}),
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_cannot_verify_is_not_stored(kind: str) -> None:
    """For some of these keys the library raises ``KeyError``. Baton answers ``invalid_passkey``."""
    mine = Authenticator()
    assert hint_of(lambda: registered(mine.create(CREATE, public=KEYS[kind](cose(mine.key)))))


@pytest.mark.parametrize(
    "attested",
    [
        pytest.param(bytes.fromhex("d8236128"), id="tag 35"),
        pytest.param(b"\x01", id="a number"),
        pytest.param(cbor2.dumps({"fmt": "none", "attStmt": {}}), id="without authData"),
        pytest.param(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": "text"}), id="authData is a text"),
        pytest.param(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": b"short"}), id="authData is short"),
        pytest.param(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": bytes(100), "x": 1}), id="one more"),
        pytest.param(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": bytes(100)}) + b"\0", id="a byte follows"),
    ],
)
def test_a_malformed_attestation_object_is_refused(attested: bytes) -> None:
    """Baton refuses it before the library reads it."""
    assert "attestationObject" in hint_of(lambda: registered(Authenticator().create(CREATE, attested=attested)))


@pytest.mark.parametrize("fmt", ["packed", "tpm", "android-key", "android-safetynet", "apple", "fido-u2f", "new"])
def test_an_attestation_is_never_parsed(fmt: str) -> None:
    """It is replaced by ``none``: Baton trusts no vendor, and the parsers are attack surface."""
    statement = {"alg": -7, "sig": b"nonsense", "x5c": [b"nonsense"], "ver": "2.0", "certInfo": b"", "pubArea": b""}
    assert registered(Authenticator().create(CREATE, attestation={"fmt": fmt, "attStmt": statement})).counter == 0


def test_a_registration_is_for_the_credential_id_that_it_names() -> None:
    """``id`` must equal the credential id in the signed data."""
    mine = Authenticator()
    credential = mine.create(CREATE)
    credential["id"] = credential["rawId"] = encode_base64url(b"another credential")
    assert "another credential id" in hint_of(lambda: registered(credential))


def test_a_credential_id_has_1023_bytes_at_most() -> None:
    """The limit is that of the standard. The longest id is accepted."""
    longest = Authenticator(credential_id=b"x" * CREDENTIAL_ID_BYTES_MAX)
    assert registered(longest.create(CREATE)).credential_id == longest.credential_id
    assert hint_of(lambda: registered(Authenticator(credential_id=b"x" * 1024).create(CREATE)))
    assert hint_of(lambda: registered(Authenticator(credential_id=b"").create(CREATE)))


def test_an_assertion_has_no_key() -> None:
    """Nothing in a registration is signed by the passkey, so it cannot replace an assertion."""
    mine = Authenticator()
    assert "no" in hint_of(lambda: asserted(mine.get(GET, flags=UP | UV | AT), mine))


@pytest.mark.parametrize("padded", ["", "="])
def test_the_origin_of_an_android_app_may_be_padded(padded: str) -> None:
    """Some phones pad the hash of the certificate. No other origin may end with ``=``."""
    android = "android:apk-key-hash:" + encode_base64url(b"c" * 32)
    mine = Authenticator(origin=android + padded)
    assert asserted(mine.get(GET), mine, origins=(ORIGIN, android)).counter == 0
    assert "origin" in hint_of(lambda: asserted(mine.get(GET), mine))
    assert "origin" in hint_of(lambda: asserted(mine.get(GET, origin=ORIGIN + "="), mine))


MALFORMED: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "id and rawId differ": lambda it: it.update(rawId="AAAA"),
    "padded id": lambda it: it.update(id=it["id"] + "==", rawId=it["rawId"] + "=="),
    "type": lambda it: it.update(type="password"),
    "no id": lambda it: (it.pop("id"), it.pop("rawId")),
    "no response": lambda it: it.pop("response"),
    "response is a text": lambda it: it.update(response="text"),
    "no signature": lambda it: it["response"].pop("signature"),
    "signature is a number": lambda it: it["response"].update(signature=7),
    "client data are not base64url": lambda it: it["response"].update(clientDataJSON="*"),
    "user handle is a number": lambda it: it["response"].update(userHandle=7),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_credential_is_refused(kind: str) -> None:
    """The hint names the member."""
    mine = Authenticator()
    credential = json.loads(json.dumps(mine.get(GET)))
    MALFORMED[kind](credential)
    assert hint_of(lambda: asserted(credential, mine))


def test_unknown_members_and_transports_are_ignored() -> None:
    """Browsers add members over time."""
    mine = Authenticator()
    credential = mine.create(CREATE) | {"newMember": {}}
    credential["response"] |= {"transports": ["internal", "telepathy", 7], "newMember": 1}
    assert registered(credential).transports == ("internal",)
    credential["response"]["transports"] = "internal"
    assert registered(credential).transports == ()
