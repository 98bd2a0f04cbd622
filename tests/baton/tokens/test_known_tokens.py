"""An environment verifies the signature of a JWT once, while its key ring is the same.

Every other check of the token happens at each call.
"""

import pytest
from msgspec.structs import replace

from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.rotation import retire_keys
from chalicelib.baton.lineages.model import Binding
from chalicelib.baton.policy import DAY_S, ISSUED_AFTER_KEY_MAX_S
from chalicelib.baton.tokens.presented import Mismatches, RequestVerifier, read_token
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.token import KnownTokens, Token
from tests.baton.memory import GivenKeyRing, MemoryLog
from tests.baton.tokens.test_tokens import BINDINGS, CLIENTS, ENTROPY, NAMES, NOW, RING, TOKEN, minted
from tests.baton.world import World

pytestmark = pytest.mark.guarantee(4)

SPENT: list[bytes] = []
"""The signatures that were verified in a test."""


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    SPENT.clear()
    verifies = PublicKey.verifies

    def counting(key: PublicKey, signature: bytes, message: bytes) -> bool:
        SPENT.append(signature)
        return verifies(key, signature, message)

    monkeypatch.setattr(PublicKey, "verifies", counting)


def environment(known: KnownTokens | None = None, ring: Ring = RING) -> RequestVerifier:
    """Make the verifier of an environment."""
    return RequestVerifier(
        key_ring=GivenKeyRing(ring),
        clients=CLIENTS,
        names=NAMES,
        authorities=frozenset(),
        mismatches=Mismatches(MemoryLog()),
        known=known or KnownTokens(),
    )


@pytest.mark.parametrize(("binding", "key"), BINDINGS)
def test_a_jwt_is_verified_once(binding: Binding, key: PublicKey | None) -> None:
    """The second reading gives the same token. If the ring is read again and is the same, nothing changes."""
    token = replace(TOKEN, binding=binding, key=key)
    text, verifier = minted(token), environment()
    for ring in (RING, RING, replace(RING)):
        assert verifier._read(text, ring) == token
    assert len(SPENT) == 1
    environment()._read(text, RING)
    assert len(SPENT) == 2, "another environment verifies it itself"


def test_every_other_text_is_verified_itself() -> None:
    """One character more or less, or another signature, is another text."""
    text, verifier = minted(), environment()
    verifier._read(text, RING)
    head, payload, signature = text.split(".")
    for other in (
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{head}.{payload[:-4]}AAAA.{signature}",
        f"{text} ",
        text[:-1],
    ):
        for _ in range(2):
            with pytest.raises(TokenInvalid):
                verifier._read(other, RING)
    assert verifier._read(text, RING) == TOKEN


def test_a_token_is_known_for_one_ring() -> None:
    """A key that was retired since then verifies no token, although this environment verified the token before."""
    retired_at = NOW + DAY_S
    token = replace(TOKEN, issued_at=retired_at + ISSUED_AFTER_KEY_MAX_S + 1, expires_at=retired_at + DAY_S)
    text, verifier = minted(token), environment()
    assert verifier._read(text, RING) == token
    retired = retire_keys(RING, ENTROPY, now=retired_at)
    for _ in range(2):
        with pytest.raises(TokenInvalid):
            verifier._read(text, retired)


def test_the_oldest_token_is_dropped_first() -> None:
    """An environment remembers a limited number of tokens."""
    known = KnownTokens(2)
    tokens: list[Token] = [replace(TOKEN, generation=generation) for generation in range(3)]
    for token in tokens:
        known.add(minted(token), token, RING)
    assert [known.find(minted(token), RING) for token in tokens] == [None, *tokens[1:]]


@pytest.mark.parametrize("surrogate", ["\ud800", "é", "eyJ" + "\udfff"])
def test_a_text_that_is_not_ascii_is_refused(surrogate: str) -> None:
    """The text is refused as an invalid token, not as a server error."""
    with pytest.raises(TokenInvalid):
        environment()._read(surrogate, RING)


@pytest.mark.parametrize(
    ("kind", "client_id"),
    [("P-256", "mobile"), ("hmac", "mobile"), ("none", "simple"), ("none", "oauth")],
)
def test_an_issued_token_is_known_as_it_would_be_read(world: World, kind: str, client_id: str) -> None:
    """An environment does not verify the signature of a token that it issued.

    The test sends the token on a call and exchanges it. The child is not verified either.
    """
    phone = world.phone(kind)
    issued = world.register(phone, client_id=client_id)
    for _ in range(2):
        ring = world.key_ring.ring
        text = issued.access_token
        known = world.issue.known.find(text, ring)
        SPENT.clear()
        assert world.use(phone, text)
        assert decode_base64url(text.split(".")[2]) not in SPENT
        assert known == read_token(text, ring=ring, names=world.names, clients=world.clients)
        world.clock.skip(60)
        issued = world.exchange(phone, str(issued.refresh_token), attempt=world.attempt())
