"""Tickets: each is valid only for its purpose, its time and the values that it is bound to."""

import functools
import hmac
import secrets
from typing import Any, ClassVar, Final

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, Secret
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import Root
from chalicelib.baton.keys.rotation import KEY_KEPT_AFTER_USE_S, make_ring, raise_not_before, rotate_root
from chalicelib.baton.keys.tickets import Ticket, TicketInvalid, UnknownRoot, open_ticket, seal_ticket
from chalicelib.baton.policy import (
    ISSUED_AFTER_KEY_MAX_S,
    ISSUED_AHEAD_MAX_S,
    SIGNING_KEY_PUBLISHED_BEFORE_USE_S,
    TICKET_BYTES_MAX,
)
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES, TicketPurpose
from tests.baton.keys.test_key_ring import counted_entropy
from tests.vectors import load

pytestmark = pytest.mark.guarantee(10)

NOW: Final = 1_700_000_000
RING: Final = make_ring(counted_entropy(), now=NOW - 1)
VECTORS: Final = load("tickets")


class Session(Ticket, frozen=True):
    """A ticket with one member of each type that Baton's tickets have."""

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["auth_session"]

    account: AccountId
    key: bytes | None
    version: int
    label: str = ""


class Enrolment(Session, frozen=True):
    """The same members, for another purpose."""

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["enrolment"]


class Challenge(Session, frozen=True):
    """A ticket whose purpose has no prefix."""

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["challenge"]


class Short(Session, frozen=True):
    """A ticket that expires earlier than its purpose allows."""

    lives_s: int = 60

    @property
    def expires_at(self) -> int:
        """Return the ticket's own expiry."""
        return self.issued_at + self.lives_s


SESSION: Final = Session(bytes(range(16)), NOW, AccountId("AQAAAAAAAAAAAAAA"), b"k" * 33, 2, "Ada's phone")
TEXT: Final = seal_ticket(SESSION, RING, now=NOW)
LIFE_S: Final = Session.purpose.life_s


def opened(text: str, **given: Any) -> Session:
    """Open a text as an unbound session ticket at the present time, by default."""
    kind: type[Session] = given.get("kind", Session)
    ring, now = given.get("ring", RING), given.get("now", NOW)
    return open_ticket(kind, text, ring, now=now, bound_to=given.get("bound_to", {}))


def of(kind: type[Session]) -> Session:
    """Make the session a ticket of another type."""
    return kind(SESSION.id, SESSION.issued_at, SESSION.account, SESSION.key, SESSION.version, SESSION.label)


@pytest.mark.parametrize("kind", [Session, Enrolment, Challenge, Short])
def test_a_ticket_can_be_opened(kind: type[Session]) -> None:
    """Each member is the same, and the text begins with the prefix of its purpose."""
    text = seal_ticket(of(kind), RING, now=NOW)
    assert text.startswith(kind.purpose.prefix)
    assert opened(text, kind=kind) == of(kind)


def test_a_ticket_does_not_reveal_its_members() -> None:
    """Neither the text of a ticket nor its `repr` contains its members."""
    assert b"Ada" not in decode_base64url(TEXT.removeprefix("as."))
    assert repr(SESSION) == str(SESSION) == "Session('**********')"


@pytest.mark.parametrize("position", range(len(decode_base64url(TEXT.removeprefix("as.")))))
def test_a_change_of_one_byte_of_a_ticket_is_detected(position: int) -> None:
    """Each byte is tested, including the root version: each of its bits, and all bits together."""
    value = bytearray(decode_base64url(TEXT.removeprefix("as.")))
    for flipped in (*(1 << bit for bit in range(8)), 0xFF):
        value[position] ^= flipped
        with pytest.raises(TicketInvalid):
            opened("as." + encode_base64url(bytes(value)))
        value[position] ^= flipped


def test_a_change_of_one_character_of_a_ticket_is_detected() -> None:
    """The text has one spelling, without padding and spaces."""
    for position, character in enumerate(TEXT):
        for other in ("A", "B", "-", "=", " ", "\0", "é"):
            if other != character:
                with pytest.raises(TicketInvalid):
                    opened(TEXT[:position] + other + TEXT[position + 1 :])


@pytest.mark.parametrize("length", range(len(TEXT)))
def test_a_shortened_ticket_is_refused(length: int) -> None:
    """Characters are removed at the start or at the end."""
    for text in (TEXT[:length], TEXT[len(TEXT) - length :]):
        with pytest.raises(TicketInvalid):
            opened(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "as.",
        "as.A",
        "as.AQ",
        "AS." + TEXT[3:],
        "as." + TEXT,
        TEXT[3:],
        f" {TEXT}",
        f"{TEXT} ",
        f"{TEXT}=",
        f"{TEXT}\n",
        TEXT + TEXT,
        "as." + "A" * 10_000_000,
        "en." + TEXT[3:],
    ],
    ids=lambda text: text[:12],
)
def test_any_other_value_instead_of_a_ticket_is_refused(text: str) -> None:
    """A client can send any text."""
    with pytest.raises(TicketInvalid):
        opened(text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: "as." + encode_base64url(raw)))
def test_any_other_text_is_refused(text: str) -> None:
    """Each text that was not encrypted here raises ``TicketInvalid``, and no other exception."""
    with pytest.raises(TicketInvalid):
        opened(text)


@pytest.mark.parametrize("other", [Enrolment, Challenge])
def test_a_ticket_of_another_purpose_is_refused(other: type[Session]) -> None:
    """With equal members and an exchanged prefix it does not open, because the key differs."""
    text = seal_ticket(of(other), RING, now=NOW).removeprefix(other.purpose.prefix)
    with pytest.raises(TicketInvalid, match="not encrypted by this deployment for this purpose"):
        opened("as." + text)


def test_the_purpose_is_associated_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with equal keys, a ticket of another purpose would not open."""
    from chalicelib.baton.keys import tickets

    one_key = tickets._siv(Secret(bytes(32)), "any")
    monkeypatch.setattr(tickets, "_siv", lambda *_: one_key)
    text = seal_ticket(of(Enrolment), RING, now=NOW)
    assert opened(text, kind=Enrolment) == of(Enrolment)
    with pytest.raises(TicketInvalid):
        opened("as." + text.removeprefix("en."))


def test_a_ticket_of_another_deployment_is_refused() -> None:
    """The other root has the same version but another secret."""
    with pytest.raises(TicketInvalid, match="not encrypted by this deployment"):
        opened(TEXT, ring=make_ring(secrets.token_bytes, now=NOW))


def test_the_root_version_is_associated_data() -> None:
    """Even if two roots had the same secret, a ticket opens only under its own version."""
    twin = Root(version=2, secret=RING.roots[0].secret, made_at=NOW, used_from=NOW + 1)
    value = b"\2" + decode_base64url(TEXT.removeprefix("as."))[1:]
    with pytest.raises(TicketInvalid):
        opened("as." + encode_base64url(value), ring=replace(RING, roots=(*RING.roots, twin)))


def test_a_ticket_opens_after_a_rotation_of_the_root() -> None:
    """A ticket opens before, during and after the change. New tickets use the new root."""
    rotated = rotate_root(RING, secrets.token_bytes, now=NOW)
    used = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    assert seal_ticket(SESSION, rotated, now=NOW) == TEXT
    assert opened(TEXT, ring=rotated, now=NOW + LIFE_S - 1) == SESSION
    later = replace(SESSION, issued_at=used)
    under_the_new = seal_ticket(later, rotated, now=used)
    assert decode_base64url(under_the_new.removeprefix("as."))[0] == 2
    assert opened(under_the_new, ring=rotated, now=used) == later


def test_an_earlier_root_makes_no_new_ticket() -> None:
    """Bug: after a rotation, a thief with the earlier root could make tickets, such as the link of a reset."""
    rotated = rotate_root(RING, secrets.token_bytes, now=NOW)
    ends = rotated.roots[1].used_from
    for issued_at in (ends - 1, ends + ISSUED_AFTER_KEY_MAX_S):
        late = seal_ticket(replace(SESSION, issued_at=issued_at), RING, now=NOW)
        assert opened(late, ring=rotated, now=issued_at).issued_at == issued_at
    forged = seal_ticket(replace(SESSION, issued_at=issued_at + 1), RING, now=NOW)
    with pytest.raises(TicketInvalid, match="after the period of its root"):
        opened(forged, ring=rotated, now=issued_at + 1)


def test_a_ticket_with_an_unknown_root_has_its_own_error() -> None:
    """A cached ring may be older than the ticket, so the ring is read again before the ticket is refused."""
    with pytest.raises(UnknownRoot):
        opened("as." + encode_base64url(b"\7" + decode_base64url(TEXT.removeprefix("as."))[1:]))
    rotated = rotate_root(RING, secrets.token_bytes, now=NOW)
    gone = rotate_root(rotated, secrets.token_bytes, now=NOW + 2 * KEY_KEPT_AFTER_USE_S)
    assert gone.root(1) is None
    with pytest.raises(UnknownRoot):
        opened(TEXT, ring=gone)


@pytest.mark.parametrize("kind", [Session, Enrolment, Challenge])
def test_a_ticket_expires(kind: type[Session]) -> None:
    """A ticket is valid in its last second, and not in the next second."""
    text, life_s = seal_ticket(of(kind), RING, now=NOW), kind.purpose.life_s
    assert opened(text, kind=kind, now=NOW + life_s - 1) == of(kind)
    with pytest.raises(TicketInvalid, match="expired"):
        opened(text, kind=kind, now=NOW + life_s)


def test_a_ticket_may_expire_earlier_than_its_purpose_allows_but_not_later() -> None:
    """A longer lifetime is cut."""
    text = seal_ticket(of(Short), RING, now=NOW)
    assert opened(text, kind=Short, now=NOW + 59) == of(Short)
    with pytest.raises(TicketInvalid, match="expired"):
        opened(text, kind=Short, now=NOW + 60)
    for_ever = Short(SESSION.id, NOW, SESSION.account, None, 2, lives_s=10**9)
    text = seal_ticket(for_ever, RING, now=NOW)
    assert opened(text, kind=Short, now=NOW + LIFE_S - 1) == for_ever
    with pytest.raises(TicketInvalid, match="expired"):
        opened(text, kind=Short, now=NOW + LIFE_S)


@pytest.mark.guarantee(9)
def test_a_ticket_from_the_future_is_a_server_error() -> None:
    """The ticket is genuine, so two clocks of the deployment differ. The answer is a server error, not a refusal."""
    assert opened(TEXT, now=NOW - ISSUED_AHEAD_MAX_S) == SESSION
    with pytest.raises(Unavailable):
        opened(TEXT, now=NOW - ISSUED_AHEAD_MAX_S - 1)


@pytest.mark.guarantee(7)
def test_raising_the_not_before_time_invalidates_every_ticket() -> None:
    """Tickets of the same second are invalid too. Tickets of the next second are valid."""
    raised = raise_not_before(RING, now=NOW)
    with pytest.raises(TicketInvalid, match="not-before"):
        opened(TEXT, ring=raised, now=NOW + 1)
    later = replace(SESSION, issued_at=NOW + 1)
    assert opened(seal_ticket(later, raised, now=NOW + 1), ring=raised, now=NOW + 1) == later


BOUND: Final = {"account": SESSION.account, "key": SESSION.key, "version": SESSION.version}


def test_a_ticket_opens_for_the_values_it_is_bound_to() -> None:
    """The request has the same account, device key and credentials version."""
    assert opened(TEXT, bound_to=BOUND) == SESSION


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("account", AccountId("AQAAAAAAAAAAAAAB")),
        ("key", b"o" * 33),
        ("key", None),
        ("version", 3),
        ("version", 1),
    ],
)
def test_a_ticket_that_is_bound_to_another_value_is_refused(name: str, other: object) -> None:
    """Another account, another or no key and another version get the same answer. The reason contains no value."""
    with pytest.raises(TicketInvalid, match=f"bound to another {name}$"):
        opened(TEXT, bound_to={**BOUND, name: other})


def test_an_unknown_member_in_a_binding_is_a_defect() -> None:
    """A check with a misspelt name must not succeed."""
    with pytest.raises(AttributeError):
        opened(TEXT, bound_to={"acount": SESSION.account})


def test_a_ticket_with_other_members_is_refused() -> None:
    """Another release may use the same name with one member less, one more, or one of another type."""

    class Fewer(Ticket, frozen=True):
        purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["auth_session"]

    class More(Session, frozen=True):
        more: int = 1

    class Other(Ticket, frozen=True):
        purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["auth_session"]
        account: int
        key: bytes
        version: int

    made: list[Ticket] = [
        Fewer(SESSION.id, NOW),
        More(SESSION.id, NOW, SESSION.account, None, 2),
        Other(SESSION.id, NOW, 1, b"", 2),
    ]
    for ticket in made:
        with pytest.raises(TicketInvalid, match="other members"):
            opened(seal_ticket(ticket, RING, now=NOW))


@pytest.mark.parametrize("size", [0, 15, 17])
def test_an_id_of_another_length_is_a_defect(size: int) -> None:
    """The caller draws 16 bytes for it."""
    with pytest.raises(ValueError, match="16 bytes"):
        seal_ticket(replace(SESSION, id=bytes(size)), RING, now=NOW)


def test_a_ticket_has_a_maximum_length() -> None:
    """The longest ticket opens. A longer ticket is not made, and a longer text is not decoded."""
    room = TICKET_BYTES_MAX - len(decode_base64url(seal_ticket(replace(SESSION, label="x" * 300), RING, now=NOW)[3:]))
    longest = replace(SESSION, label="x" * (300 + room))
    text = seal_ticket(longest, RING, now=NOW)
    assert len(decode_base64url(text[3:])) == TICKET_BYTES_MAX
    assert opened(text) == longest
    with pytest.raises(ValueError, match="longer"):
        seal_ticket(replace(longest, label=longest.label + "x"), RING, now=NOW)
    with pytest.raises(TicketInvalid, match="too long"):
        opened(text + "A")


def test_every_purpose_has_its_own_prefix_name_and_key() -> None:
    """The table has name, prefix and longest lifetime in seconds. Two purposes never have the same key."""
    assert {name: (row.name, row.prefix, row.life_s) for name, row in TICKET_PURPOSES.items()} == {
        "auth_session": ("auth_session", "as.", 600),
        "challenge": ("challenge", "", 300),
        "enrolment": ("enrolment", "en.", 900),
        "mail_session": ("mail_session", "ms.", 3600),
        "mail_link": ("mail_link", "ml.", 604_800),
        "handover": ("handover", "ho.", 60),
        "browser_offer": ("browser_offer", "bd.", 300),
        "browser_bound": ("browser_bound", "bc.", 660),
        "browser_challenge": ("browser_challenge", "dc.", 900),
        "attestation": ("attestation", "at.", 86_400),
        "switches": ("switches", "sw.", 608_400),
    }


def test_a_challenge_has_a_length_that_platforms_accept() -> None:
    """A challenge has 76 to 130 raw bytes.

    Its members are kind, client, key thumbprint, account, operation digest and version.
    """

    class Ceremony(Ticket, frozen=True):
        purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["challenge"]
        kind: int
        client: int
        thumbprint: bytes
        account: bytes | None
        operation: bytes | None
        version: int

    for client, account, operation in ((1, None, None), (255, bytes(12), bytes(32))):
        ticket = Ceremony(bytes(16), NOW, 1, client, bytes(32), account, operation, 1)
        assert 76 <= len(decode_base64url(seal_ticket(ticket, RING, now=NOW))) <= 130


def xor(one: bytes, other: bytes) -> bytes:
    """Combine two strings of bytes by XOR."""
    return bytes(left ^ right for left, right in zip(one, other, strict=True))


def aes_siv(key: bytes, plaintext: bytes, associated: list[bytes]) -> bytes:
    """Encrypt by RFC 5297 section 2.6, from CMAC and AES-CTR, independently of Baton."""
    half = len(key) // 2

    def cmac(value: bytes) -> bytes:
        mac = CMAC(algorithms.AES(key[:half]))
        mac.update(value)
        return mac.finalize()

    def doubled(block: bytes) -> bytes:
        number = int.from_bytes(block, "big") << 1
        return (number & (1 << 128) - 1 ^ (0x87 if number >> 128 else 0)).to_bytes(16, "big")

    s2v = functools.reduce(lambda so_far, one: xor(doubled(so_far), cmac(one)), associated, cmac(bytes(16)))
    if len(plaintext) >= 16:
        tag = cmac(plaintext[:-16] + xor(plaintext[-16:], s2v))
    else:
        tag = cmac(xor(doubled(s2v), plaintext + b"\x80" + bytes(15 - len(plaintext))))
    counter = int.from_bytes(tag, "big") & ~(1 << 63 | 1 << 31)
    encryptor = Cipher(algorithms.AES(key[half:]), modes.CTR(counter.to_bytes(16, "big"))).encryptor()
    return tag + encryptor.update(plaintext) + encryptor.finalize()


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Derive 64 bytes by RFC 5869 with SHA-256 and without salt."""
    key = hmac.digest(bytes(32), secret, "sha256")
    first = hmac.digest(key, info + b"\1", "sha256")
    return first + hmac.digest(key, first + info + b"\2", "sha256")


def test_the_independent_implementation_computes_the_example_of_the_rfc() -> None:
    """RFC 5297 appendix A.1."""
    key, associated, plaintext, output = (
        bytes.fromhex(VECTORS["rfc5297_a1"][name]) for name in ("key", "associated", "plaintext", "output")
    )
    assert aes_siv(key, plaintext, [associated]) == output


@pytest.mark.parametrize("row", VECTORS["tickets"], ids=lambda row: row["purpose"])
def test_a_ticket_has_the_form_of_the_vectors(row: dict[str, Any]) -> None:
    """The test computes it independently: HKDF from HMAC, AES-SIV from CMAC and CTR.

    Releases can read each other's tickets.
    """
    purpose = TICKET_PURPOSES[row["purpose"]]
    key = hkdf(bytes.fromhex(row["root"]), b"baton ticket " + purpose.name.encode())
    assert key.hex() == row["key"]
    version = bytes([row["version"]])
    sealed = aes_siv(key, bytes.fromhex(row["contents"]), [b"baton ticket 1", purpose.name.encode(), version])
    assert purpose.prefix + encode_base64url(version + sealed) == row["text"]

    class Vector(Session, frozen=True):
        purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES[row["purpose"]]

    root = Root(version=row["version"], secret=Secret(bytes.fromhex(row["root"])), made_at=0, used_from=0)
    ring = replace(RING, roots=(root,))
    held = row["holds"]
    ticket = Vector(
        bytes.fromhex(held["id"]),
        held["issued_at"],
        AccountId(held["account"]),
        bytes.fromhex(held["key"]) if held["key"] else None,
        held["version"],
        held["label"],
    )
    assert msgspec.msgpack.encode(ticket).hex() == row["contents"]
    assert seal_ticket(ticket, ring, now=held["issued_at"]) == row["text"]
    assert open_ticket(Vector, row["text"], ring, now=held["issued_at"], bound_to={}) == ticket


def test_there_is_a_vector_for_every_purpose() -> None:
    """Two root versions are covered."""
    assert {row["purpose"] for row in VECTORS["tickets"]} == TICKET_PURPOSES.keys()
    assert len({row["version"] for row in VECTORS["tickets"]}) > 1
