"""Values that are computed without a request: tokens, derived ids and secrets, the key ring, signature bases."""

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from baton_client import DeviceKey
from chalicelib.baton.access_key import AccessKey
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.factors.rate_limits import login_limits
from chalicelib.baton.http.request import read_request
from chalicelib.baton.ids import AccountId, LineageId, Secret
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.ring_format import ring_to_bytes
from chalicelib.baton.keys.rotation import (
    make_ring,
    raise_not_before,
    retire_keys,
    rotate_due,
    rotate_root,
    rotate_signing,
)
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    NO_RIGHTS,
    AccountState,
    Assurance,
    Binding,
    Ended,
    EndReason,
    KeyBinding,
    Lineage,
    NoBinding,
    SecretBinding,
    Status,
)
from chalicelib.baton.lineages.rules import attempt_digest
from chalicelib.baton.policy import DAY_S, MECHANISMS, MechanismName
from chalicelib.baton.proof.signature import content_digest, signature_base
from chalicelib.baton.proof.signature_input import read_signature
from chalicelib.baton.routing import source_network
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.aws.small_client import SMALL_CLIENTS, Endpoint
from chalicelib.baton.storage.dynamodb.items import state_item
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from chalicelib.baton.storage.dynamodb.one_time import key_of
from chalicelib.baton.tokens.issue import Issue, mint_token, with_secret
from chalicelib.baton.tokens.jwt import jwks
from chalicelib.baton.tokens.presented import read_token
from chalicelib.baton.tokens.token import Kind, KnownTokens, Names, Token
from tests.baton.golden.fixed import START, Entropy, ed25519_key, p256, written

Entry = tuple[str, list[str]]
"""The name of a golden value, and its lines."""

EMAIL, ATTEMPT = "ada@example.com", "the-attempt-of-a-registration"
NAMES = Names("https://api.example.com/api", "https://api.example.com/api")
PASSWORD_ONLY = Assurance(acr="aal1", amr=("pwd",))
FORMS = ("jwt", "opaque")


def public(key: DeviceKey) -> PublicKey:
    """Return the public key of a device."""
    return PublicKey.from_jwk(key.jwk())


DEVICES: dict[str, PublicKey | Binding] = {
    "unbound": NoBinding(),
    "hmac": SecretBinding(),
    "P-256": public(p256("token")),
    "Ed25519": public(ed25519_key("token")),
}


def fixed_ring() -> Ring:
    """Make the key ring for all values of this module: three signing keys, two roots, a not-before time."""
    ring = make_ring(Entropy("ring"), now=START - 400 * DAY_S)
    ring = rotate_root(ring, Entropy("second root"), now=START - 2 * DAY_S)
    ring = rotate_signing(ring, Entropy("third key"), now=START - DAY_S)
    return raise_not_before(ring, now=START - 3 * DAY_S)


def fixed_clients() -> Clients:
    """Register a client for each mechanism and token format."""
    combined = enumerate(itertools.product(MechanismName, FORMS), start=1)
    rows = [
        Client(
            id=f"{name}-{form}",
            code=code,
            mechanism=MECHANISMS[name],
            form=cast("Any", form),
            binding="optional",
            scope=frozenset({"account", "transfers"}),
        )
        for code, (name, form) in combined
    ]
    return Clients({row.id: row for row in rows})


def values() -> Iterator[Entry]:
    """Return every value of this module."""
    ring, clients = fixed_ring(), fixed_clients()
    yield from _tokens(ring, clients)
    yield from _rings()
    yield from _derived(ring)
    yield from _stored()
    yield from _lean()
    yield from _bases()


# --- Tokens ------------------------------------------------------------------------------------------------------


def read_back(text: str) -> list[str]:
    """Read a token with the fixed key ring, and describe its content."""
    token = read_token(text, ring=fixed_ring(), names=NAMES, clients=fixed_clients())
    match token.binding:
        case KeyBinding(thumbprint):
            binding = f"key {thumbprint.hex()}"
        case SecretBinding():
            binding = "secret"
        case NoBinding():
            binding = "none"
    return [
        f"may {token.kind.value}, account {token.account}, login {token.lineage}, generation {token.generation}",
        f"from {token.issued_at} until {token.expires_at}, client {token.client}, jti {token.jti}",
        f"bound to {binding}, key {token.key.raw.hex() if token.key else 'none'}",
    ]


FACTS = (
    "expires_in",
    "scope",
    "device_id",
    "authorization_expires_in",
    "refresh_token_timeout",
    "key_id",
    "secret",
)
"""The recorded members of a token response, except for its tokens."""


def _tokens(ring: Ring, clients: Clients) -> Iterator[Entry]:
    for client, (device, bound_to) in itertools.product(clients, DEVICES.items()):
        lineage = _lineage(ring, client, bound_to)
        key = bound_to if isinstance(bound_to, PublicKey) else None
        account = ring.account_ids(EMAIL, ATTEMPT, now=START)[0]
        issue = Issue(NAMES, clients, KnownTokens())
        issued = issue(lineage, account=account, client=client, key=key, ring=ring, now=START + 60, rights=NO_RIGHTS)
        issued = with_secret(issued, lineage, ring)
        texts = dict.fromkeys(text for text in (issued.access_token, issued.refresh_token) if text)
        facts = {name: getattr(issued, name) for name in FACTS}
        told = [f"{name}: {None if value is UNSET else value}" for name, value in facts.items()]
        yield f"token: {client.id}, {device}", told + [line for text in texts for line in (text, *read_back(text))]
    yield from _other_tokens(ring, clients)


def _other_tokens(ring: Ring, clients: Clients) -> Iterator[Entry]:
    """Make tokens with extreme values: each kind in each format, the largest numbers, a lineage of the older root."""
    client = clients.get("exchange-jwt")
    assert client is not None
    first, older = ring.lineage_ids(EMAIL, ATTEMPT, now=START)
    largest = Token(
        kind=Kind.BOTH,
        account=AccountId("_" * 16),
        lineage=first,
        generation=2**32 - 1,
        issued_at=START,
        expires_at=2**32 - 1,
        client=1,
        binding=NoBinding(),
    )
    tokens = {f"kind {kind.value}": replace(largest, kind=kind, generation=7, expires_at=START + 9) for kind in Kind}
    tokens |= {"largest numbers": largest, "older root": replace(largest, lineage=older, generation=0)}
    for (name, token), form in itertools.product(tokens.items(), FORMS):
        text = mint_token(
            token,
            form=cast("Any", form),
            ring=ring,
            now=START,
            names=NAMES,
            client=client,
            auth_time=START - 5,
            assurance=PASSWORD_ONLY,
        )
        yield f"token: {name}, {form}", [text, *read_back(text)]


def _lineage(ring: Ring, client: Client, bound_to: PublicKey | Binding) -> Lineage:
    return Lineage(
        id=ring.lineage_ids(EMAIL, ATTEMPT, now=START)[0],
        epoch=3,
        generation=5,
        attempts=(b"attempt4", b"attempt1", b"attempt2", b"attempt3"),
        issued_at=START,
        expires_at=START + client.mechanism.absolute_s - 1000,
        binding=KeyBinding(bound_to.thumbprint) if isinstance(bound_to, PublicKey) else bound_to,
        client=client.code,
        auth_time=START - 1000,
        assurance=PASSWORD_ONLY,
        label="phone",
    )


# --- The key ring, and the values derived from it ----------------------------------------------------------------


def _rings() -> Iterator[Entry]:
    made = make_ring(Entropy("ring"), now=START)
    rings = {
        "made": made,
        "signing keys rotated": rotate_signing(made, Entropy("a signing key"), now=START + DAY_S),
        "root rotated": rotate_root(made, Entropy("a root"), now=START + DAY_S),
        "keys retired": retire_keys(made, Entropy("retired"), now=START + DAY_S),
        "not-before time raised": raise_not_before(made, now=START + DAY_S),
        "all that is due rotated": rotate_due(made, Entropy("due"), now=START + 400 * DAY_S),
        "of these values": fixed_ring(),
    }
    for name, ring in rings.items():
        yield f"ring: {name}", [ring_to_bytes(ring).decode()]
        yield f"jwks: {name}", [written(jwks(ring))]
    yield "ring: wrapped by KMS", _wrapped(made)


def _wrapped(ring: Ring) -> list[str]:
    """Encrypt and decrypt a key ring with a KMS that answers with fixed keys."""
    lines: list[str] = []

    class Kms:
        """A KMS client with fixed answers."""

        def call(self, operation: str, **request: object) -> dict[str, bytes]:
            """Record the call."""
            lines.append(f"{operation} {written(request)}")
            return {"Plaintext": bytes(range(32)), "CiphertextBlob": b"the data key as KMS wraps it"}

    wrapper = KmsWrapper("alias/baton", cast("AwsClient", Kms()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", Entropy("urandom"))
        item = wrapper.wrap(ring_to_bytes(ring))
    assert wrapper.unwrap(item) == ring_to_bytes(ring)
    return [*lines, written(item)]


def _derived(ring: Ring) -> Iterator[Entry]:
    account, account_of_older_root = ring.account_ids(EMAIL, ATTEMPT, now=START)
    lineage, lineage_of_older_root = ring.lineage_ids(EMAIL, ATTEMPT, now=START)
    yield "derived: account ids of an attempt, newest root first", [account, account_of_older_root]
    yield "derived: lineage ids of an attempt, newest root first", [lineage, lineage_of_older_root]
    yield (
        "derived: index of an e-mail address",
        [ring.email_index(EMAIL), ring.email_index("bücher@xn--bcher-kva.example")],
    )
    yield "derived: account of an unknown address", [ring.decoy_account(EMAIL)]
    secrets = [ring.lineage_secret(one) for one in (lineage, lineage_of_older_root)]
    yield "derived: HMAC secrets of the lineages", [secret.reveal().hex() for secret in secrets if secret]
    yield "derived: attempt digests", [attempt_digest(text).hex() for text in (ATTEMPT, "~" * 128)]
    sealed = ring.encrypt_for(b"a verifier", account=account, nonce=bytes(range(12)))
    assert ring.decrypt_for(sealed, account=account) == b"a verifier"
    yield "derived: sealed verifier", [sealed.hex()]
    yield "derived: password verifier (Argon2id, salt fixed)", [hash_password(b"a password", salt=bytes(range(16)))]
    typed = ("Stra\u00dfe \u212b\ufb01", "e\u0301tude \uff21\u2460", "\U0001f600 \u00a0x")
    yield "derived: passwords as they are hashed", [normalise(text).hex() for text in typed]
    addresses = ("Ada@Example.COM", "ada+news@b\u00fccher.example", "\u00dcnal@example.com")
    yield "derived: addresses as they are stored", [canonical_email(text) for text in addresses]
    sources = ("192.0.2.7", "2001:db8:1:2:3:4:5:6", "::ffff:192.0.2.7", "a gateway's own word")
    yield "derived: networks of rate limits", [source_network(text) for text in sources]
    yield "derived: rate limits of a login", _limits(ring, account)
    yield (
        "derived: keys of nonces and grants",
        [written(key_of("N", "a keyid", "a nonce")), written(key_of("G", "a grant"))],
    )
    yield "derived: content digests", [content_digest(body) for body in (b"", b'{"amount":1}', bytes(range(256)))]
    for name, key in DEVICES.items():
        if isinstance(key, PublicKey):
            yield f"thumbprint: {name}", [written(key.to_jwk()), key.thumbprint.hex(), key.keyid, key.raw.hex()]
    for number, signing in enumerate(ring.signing):
        yield f"thumbprint: signing key {number}", [signing.kid, written(signing.public_jwk())]
        yield f"signature: signing key {number}", [signing.sign(b"a message").hex()]


def _limits(ring: Ring, account: AccountId) -> list[str]:
    clients = fixed_clients()
    client = clients.get("exchange-jwt")
    assert client is not None
    lineages = [_lineage(ring, client, device) for device in DEVICES.values()]
    named = [replace(one, id=LineageId(f"lineage---------{n}"[:15] + str(n))) for n, one in enumerate(lineages)]
    account_state = AccountState(account, Status.ACTIVE, 3, 1, {one.id: one for one in named})
    return [
        f"{bucket.name} at most {bucket.limit}"
        for one in named
        for bucket in login_limits(account, account_state, one.binding, proved=one.id, source="192.0.2.7")
    ]


# --- Stored items ------------------------------------------------------------------------------------------------


def _stored() -> Iterator[Entry]:
    """Write account states with every binding, end reason and status. The scenario has only some of them."""
    ring = fixed_ring()
    account = ring.account_ids(EMAIL, ATTEMPT, now=START)[0]
    for client in fixed_clients():
        lineages = {}
        for number, bound_to in enumerate(DEVICES.values()):
            lineage = replace(_lineage(ring, client, bound_to), id=LineageId(f"lineage--------{number}"))
            if client.mechanism.slides:
                lineage = replace(lineage, in_use_since=START - 10, last_used_day=START // DAY_S)
            lineages[lineage.id] = lineage
        yield (
            f"item: logins by {client.id}",
            [written(state_item(AccountState(account, Status.ACTIVE, 3, 1, lineages)))],
        )
    client = next(iter(fixed_clients()))
    begun = replace(_lineage(ring, client, NoBinding()), attempts=(NO_ATTEMPT,) * 4, generation=0)
    for reason in EndReason:
        ended = Ended(START + 9, reason)
        account_state = AccountState(
            account, Status.ACTIVE, 4, 2, {begun.id: replace(begun, ended=ended)}, raised=ended
        )
        yield f"item: ended by {reason.value}", [written(state_item(account_state))]
    for status in Status:
        account_state = AccountState(
            account, status, 4, 2, {}, Ended(START, EndReason.ENDED_EVERYWHERE), deleted_by=begun.id
        )
        yield f"item: account {status.name.lower()}", [written(state_item(account_state))]


def _lean() -> Iterator[Entry]:
    """Sign requests to AWS as the small AWS client does, at a fixed time and with a fixed access key."""
    for service, (operation, body) in {
        "dynamodb": ("GetItem", b'{"TableName":"golden-users","Key":{"pk":{"S":"K#ring"}}}'),
        "kms": ("Decrypt", b'{"KeyId":"alias/baton"}'),
    }.items():
        access = Endpoint(
            f"https://{service}.us-east-1.amazonaws.com",
            "us-east-1",
            lambda: AccessKey("AKID", Secret(b"secret"), Secret(b"a token")),
        )
        client = SMALL_CLIENTS[service](
            access, connect_timeout_s=1, read_timeout_s=1, attempts=1, within_s=1, clock=lambda: START
        )
        yield f"lean transport: {service}", client._signed(operation, body).decode().split("\r\n")


# --- Signature bases ---------------------------------------------------------------------------------------------

_ALWAYS = '"@method" "@authority" "@path"'


@dataclasses.dataclass(frozen=True)
class Signed:
    """A request with a signature: its target, its fields in order, and the covered components."""

    method: str
    path: str
    covered: str
    fields: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""
    parameters: str = f'created={START};keyid="a-key-id";nonce="a-nonce";tag="baton"'
    host: str = "api.example.com"
    inputs: tuple[str, ...] = ()
    """Other members of Signature-Input, before Baton's."""


SIGNED = {
    "the least": Signed("GET", "/api/me", _ALWAYS),
    "token": Signed("GET", "/api/me", f'{_ALWAYS} "authorization"', (("Authorization", "Bearer a.b.c"),)),
    "all fields": Signed(
        "POST",
        "/api/transfers",
        f'{_ALWAYS} "content-type" "content-digest" "authorization" "idempotency-key" "baton-grant"',
        (
            ("Content-Type", "application/json"),
            ("Content-Digest", content_digest(b"{}")),
            ("authorization", "Bearer a.b.c"),
            ("Idempotency-Key", '"an attempt of a call"'),
            ("Baton-Grant", "a-grant"),
        ),
        body="{}",
    ),
    "another order": Signed(
        "DELETE", "/api/me", '"@path" "authorization" "@authority" "@method"', (("authorization", "x"),)
    ),
    "a field in several lines": Signed(
        "GET", "/api/me", f'{_ALWAYS} "x-list"', (("X-List", "one"), ("x-list", " two "), ("X-LIST", "three\t"))
    ),
    "an empty field": Signed("GET", "/api/me", f'"x-empty" {_ALWAYS}', (("X-Empty", ""),)),
    "an empty line among several": Signed("GET", "/api/me", f'{_ALWAYS} "x-list"', (("x-list", "a"), ("x-list", ""))),
    "query": Signed(
        "GET",
        "/api/me",
        f'{_ALWAYS} "@query-param";name="page" "@query-param";name="sort"',
        query=(("page", "2"), ("sort", "name")),
    ),
    "an empty query value": Signed("GET", "/api/me", f'{_ALWAYS} "@query-param";name="q"', query=(("q", ""),)),
    "query to be encoded": Signed(
        "GET",
        "/api/me",
        f'{_ALWAYS} "@query-param";name="a%20b" "@query-param";name="%C3%BC" "@query-param";name="c"',
        query=(("a b", "x y+z"), ("\u00fc", "100% \u00e9~*-._"), ("c", "a=b&c/d?e\n")),
    ),
    "path with escapes": Signed("GET", "/api/a%2Fb/%C3%BC;x=1/", _ALWAYS),
    "host in capitals with the default port": Signed("GET", "/api/me", _ALWAYS, host="API.Example.COM:443"),
    "host with a port": Signed("GET", "/api/me", _ALWAYS, host="localhost:8000"),
    "every parameter in another order": Signed(
        "POST",
        "/api/me",
        _ALWAYS,
        parameters=f'tag="baton";alg="ed25519";nonce="n\\"\\\\";keyid="k";expires={START + 60};created={START}',
    ),
    "beside another signature": Signed("GET", "/api/me", _ALWAYS, inputs=('proxy=("@method");created=1;tag="proxy"',)),
    "nothing covered": Signed("GET", "/api/me", ""),
}


def _bases() -> Iterator[Entry]:
    for name, signed in SIGNED.items():
        message = read_request(_event(signed))
        signature = read_signature(message)
        assert signature is not None
        base = signature_base(message, signature).decode().split("\n")
        shown = signature_base(message, signature, redacted=True).decode().split("\n")
        yield (
            f"signature base: {name}",
            [f"signed by {signature.value.hex()}", *base, *(line for line in shown if line not in base)],
        )


def _event(signed: Signed) -> dict[str, Any]:
    """Write the request as the event that API Gateway sends."""
    ours = (("Signature-Input", f"baton=({signed.covered});{signed.parameters}"), ("Signature", "baton=:c2lnbmVk:"))
    others = tuple(("signature-input", line) for line in signed.inputs)
    fields: dict[str, list[str]] = {}
    for name, value in (("Host", signed.host), *signed.fields, *others, *ours):
        fields.setdefault(name, []).append(value)
    query: dict[str, list[str]] = {}
    for name, value in signed.query:
        query.setdefault(name, []).append(value)
    return {
        "multiValueHeaders": fields,
        "multiValueQueryStringParameters": query or None,
        "requestContext": {
            "httpMethod": signed.method,
            "path": signed.path,
            "identity": {"sourceIp": "192.0.2.7"},
        },
        "body": signed.body or None,
        "isBase64Encoded": False,
    }
