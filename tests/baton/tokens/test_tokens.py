"""Tokens: a minted token is read, and any other text is refused."""

import hmac
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk as jose_jwk
from joserfc import jwt as jose_jwt
from msgspec.structs import replace

from chalicelib.baton.errors import FieldTooLarge, Unavailable
from chalicelib.baton.ids import AccountId, LineageId, Secret
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.rotation import make_ring, raise_not_before, retire_keys, rotate_root, rotate_signing
from chalicelib.baton.lineages.clients import Clients, Form
from chalicelib.baton.lineages.model import Assurance, Binding, KeyBinding, NoBinding, SecretBinding
from chalicelib.baton.policy import DAY_S, ISSUED_AFTER_KEY_MAX_S, SIGNING_KEY_PUBLISHED_BEFORE_USE_S, TOKEN_BYTES_MAX
from chalicelib.baton.tokens import jwt as jwt_form
from chalicelib.baton.tokens import opaque as opaque_module
from chalicelib.baton.tokens import presented
from chalicelib.baton.tokens.issue import mint_token
from chalicelib.baton.tokens.jwt import jwks
from chalicelib.baton.tokens.presented import read_token
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.token import ConfigurationMismatch, Kind, Names, Token, UnknownKey
from tests.baton.keys.test_key_ring import counted_entropy

pytestmark = pytest.mark.guarantee(4)


def vectors(name: str) -> dict[str, Any]:
    """Read a file of `tests/vectors/`."""
    read: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / f"{name}.json").read_text("utf-8"))
    return read


NOW = 1_700_000_000
ENTROPY = counted_entropy()
RING = make_ring(ENTROPY, now=NOW)
NAMES = Names(
    issuer="https://login.example.com/api",
    audience="https://api.example.com",
    earlier_issuers=frozenset({"https://old.example.com/api"}),
)
CLIENTS = Clients.from_toml(
    """
[client.mobile]
code = 1
mechanism = "exchange"
form = "jwt"
binding = "required"
scope = "account"

[client.other]
code = 255
mechanism = "exchange"
form = "opaque"
binding = "optional"
scope = "account"
"""
)
ASSURANCE = Assurance(acr="aal1", amr=("pwd",))
P256 = PublicKey.from_raw(
    ec.derive_private_key(7, ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
)
ED25519 = PublicKey.from_jwk(
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}  # RFC 8037 A.2
)
TOKEN = Token(
    kind=Kind.BOTH,
    account=RING.account_ids("ada@example.com", "0123456789abcdef", now=NOW)[0],
    lineage=RING.lineage_ids("ada@example.com", "0123456789abcdef", now=NOW)[0],
    generation=7,
    issued_at=NOW,
    expires_at=NOW + 900,
    client=1,
    binding=KeyBinding(P256.thumbprint),
    key=P256,
)
BINDINGS: tuple[tuple[Binding, PublicKey | None], ...] = (
    (NoBinding(), None),
    (SecretBinding(), None),
    (KeyBinding(P256.thumbprint), P256),
    (KeyBinding(ED25519.thumbprint), ED25519),
)
FORMS: tuple[Form, ...] = ("jwt", "opaque")


def minted(token: Token = TOKEN, form: Form = "jwt", *, ring: Ring = RING, now: int = NOW, names: Names = NAMES) -> str:
    """Mint with this module's ring, names and login."""
    client = CLIENTS.of(token.client)
    assert client is not None
    return mint_token(
        token, form=form, ring=ring, now=now, names=names, client=client, auth_time=NOW - 5, assurance=ASSURANCE
    )


def read_here(text: str) -> Token:
    """Read with this module's ring and names."""
    return read_token(text, ring=RING, names=NAMES, clients=CLIENTS)


def claims_of(text: str) -> dict[str, Any]:
    """Read the claims of a JWT without verifying it."""
    claims: dict[str, Any] = json.loads(decode_base64url(text.split(".")[1]))
    return claims


def forged(payload: bytes | dict[str, Any], header: bytes | dict[str, Any] | None = None) -> str:
    """Sign any content with the ring's own key. Only a defect of Baton could issue such a token."""
    head = header if header is not None else {"typ": "at+jwt", "alg": "ES256", "kid": RING.signing[0].kid}
    parts = [
        part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
        for part in (head, payload)
    ]
    signing_input = ".".join(encode_base64url(part) for part in parts)
    return f"{signing_input}.{encode_base64url(RING.signing[0].sign(signing_input.encode()))}"


class TestMinting:
    """`mint`, and `read` of its result."""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("kind", Kind)
    @pytest.mark.parametrize(("binding", "key"), BINDINGS)
    def test_a_minted_token_is_read(self, form: Form, kind: Kind, binding: Binding, key: PublicKey | None) -> None:
        """Each kind, form and binding is tested, with the limits of each number."""
        for generation, issued_at, client in ((0, 0, 1), (7, NOW, 255), (2**32 - 1, 2**32 - 1, 1)):
            token = replace(
                TOKEN,
                kind=kind,
                binding=binding,
                key=key,
                generation=generation,
                issued_at=issued_at,
                expires_at=issued_at,
                client=client,
            )
            assert read_here(minted(token, form)) == token

    @pytest.mark.parametrize("form", FORMS)
    def test_the_same_token_has_the_same_text(self, form: Form) -> None:
        """A repeated exchange returns the same child, byte for byte."""
        assert minted(TOKEN, form) == minted(TOKEN, form)

    def test_every_value_changes_the_opaque_text(self) -> None:
        """Another kind, generation, time, client or holder changes the text from its first bytes on."""
        others = [
            replace(TOKEN, kind=Kind.ACCESS),
            replace(TOKEN, generation=8),
            replace(TOKEN, issued_at=NOW + 1),
            replace(TOKEN, expires_at=NOW),
            replace(TOKEN, client=255),
            replace(TOKEN, binding=NoBinding(), key=None),
            replace(TOKEN, account=AccountId(TOKEN.lineage)),
            replace(TOKEN, lineage=LineageId(encode_base64url(b"\1" + bytes(11)))),
        ]
        strings = [minted(token, "opaque") for token in (TOKEN, *others)]
        assert len({string[:24] for string in strings}) == len(strings)

    def test_the_opaque_form_is_short_and_reveals_nothing(self) -> None:
        """A token has 125 characters and a prefix. Ids, key and times cannot be found in its bytes."""
        text = minted(TOKEN, "opaque")
        assert text.startswith("baton_")
        assert len(text) == 125
        sealed = decode_base64url(text.removeprefix("baton_"))
        assert sealed[0] == 1
        for fact in (
            decode_base64url(TOKEN.account),
            decode_base64url(TOKEN.lineage),
            P256.raw,
            NOW.to_bytes(4, "big"),
        ):
            assert fact not in sealed

    def test_the_opaque_form_does_not_change(self) -> None:
        """One token is written out here: another layout or derivation would log all users out."""
        ring = make_ring(lambda size: bytes([1]) * size, now=NOW)
        token = Token(
            kind=Kind.REFRESH,
            account=AccountId("AQAAAAAAAAAAAAAA"),
            lineage=LineageId("AQEBAQEBAQEBAQEB"),
            generation=3,
            issued_at=NOW,
            expires_at=NOW + 60,
            client=1,
            binding=SecretBinding(),
        )
        assert minted(token, "opaque", ring=ring) == (
            "baton_AZ_xCsQ1UC3G2jyCAauFAJkdeomv4ed4uDcN-uz7Ov3--09UQQmVOGtsbT4mMGMO-Zx8OkZD13w"
        )

    def test_the_claims_are_the_documented_ones(self) -> None:
        """The claims follow RFC 9068, with no further member."""
        text = minted()
        assert json.loads(decode_base64url(text.split(".")[0])) == {
            "typ": "at+jwt",
            "alg": "ES256",
            "kid": RING.signing[0].kid,
        }
        assert claims_of(text) == {
            "iss": NAMES.issuer,
            "aud": NAMES.audience,
            "sub": TOKEN.account,
            "client_id": "mobile",
            "jti": f"{TOKEN.lineage}.7.both.{NOW}",
            "iat": NOW,
            "exp": NOW + 900,
            "auth_time": NOW - 5,
            "acr": "aal1",
            "amr": ["pwd"],
            "sid": TOKEN.lineage,
            "gen": 7,
            "token_use": "both",
            "scope": "account",
            "cnf": {"jkt": P256.keyid, "jwk": P256.to_jwk()},
        }
        assert claims_of(minted(replace(TOKEN, binding=SecretBinding(), key=None)))["cnf"] == {"kid": TOKEN.lineage}
        assert "cnf" not in claims_of(minted(replace(TOKEN, binding=NoBinding(), key=None)))

    def test_other_libraries_read_a_token_with_the_published_keys(self) -> None:
        """PyJWT and joserfc need only the JWKS."""
        text = minted()
        published = jwks(RING)
        key = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(text)["kid"]]
        read_by_pyjwt = jwt.decode(
            text,
            key,
            algorithms=["ES256"],
            audience=NAMES.audience,
            issuer=NAMES.issuer,
            options={"verify_exp": False, "verify_iat": False, "strict_aud": True},
        )
        keys = jose_jwk.KeySet([jose_jwk.ECKey.import_key(dict(key)) for key in published["keys"]])
        read_by_joserfc = jose_jwt.decode(text, keys, algorithms=["ES256"])
        assert read_by_pyjwt == read_by_joserfc.claims == claims_of(text)
        assert read_by_joserfc.header["typ"] == "at+jwt"

    def test_the_published_keys_have_only_public_members(self) -> None:
        """Each key that verifies is published, also the next keys."""
        ring = rotate_signing(RING, ENTROPY, now=NOW)
        keys = jwks(ring)["keys"]
        assert [key["kid"] for key in keys] == [key.kid for key in ring.signing]
        assert all(key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in keys)

    def test_a_token_is_valid_after_a_rotation(self) -> None:
        """Tokens from before and after the rotation are read."""
        ring = rotate_root(rotate_signing(RING, ENTROPY, now=NOW), ENTROPY, now=NOW)
        later = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        before, after = minted(), minted(ring=ring, now=later)
        assert claims_of(before) == claims_of(after)
        assert before.split(".")[0] != after.split(".")[0]
        assert read_token(before, ring=ring, names=NAMES, clients=CLIENTS) == TOKEN
        assert read_token(after, ring=ring, names=NAMES, clients=CLIENTS) == TOKEN
        newborn = replace(TOKEN, lineage=ring.lineage_ids("ada@example.com", "0123456789abcdef", now=later)[0])
        assert decode_base64url(minted(newborn, "opaque", ring=ring).removeprefix("baton_"))[0] == 2
        for token in (TOKEN, newborn):
            assert read_token(minted(token, "opaque", ring=ring), ring=ring, names=NAMES, clients=CLIENTS) == token

    def test_without_the_root_of_the_lineage_no_token_is_minted(self) -> None:
        """The result is a server error."""
        with pytest.raises(Unavailable):
            minted(replace(TOKEN, lineage=LineageId(encode_base64url(b"\2" + bytes(11)))), "opaque")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"account": AccountId("short")},
            {"account": AccountId(TOKEN.account + "=")},
            {"lineage": LineageId("")},
            {"lineage": LineageId(TOKEN.lineage[:-1])},
            {"generation": -1},
            {"generation": 2**32},
            {"generation": True},
            {"issued_at": -1},
            {"issued_at": 1.0},
            {"expires_at": 2**32},
            {"client": 0},
            {"client": 256},
            {"key": None},
            {"key": ED25519},
            {"binding": NoBinding()},
            {"binding": SecretBinding()},
            {"binding": KeyBinding(bytes(32))},
        ],
        ids=repr,
    )
    def test_a_token_with_an_invalid_value_cannot_be_made(self, wrong: dict[str, Any]) -> None:
        """Ids are canonical, numbers have limits, and the key is that of the binding."""
        with pytest.raises(ValueError):  # noqa: PT011 - the case says which one
            replace(TOKEN, **wrong)


class TestInvalidTokens:
    """Any text that is not a token is refused."""

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            "baton_",
            "baton_=",
            "baton_A",
            "baton_AQ",
            "baton_" + "A" * 119,
            "baton_AQ" + "A" * 117,
            "Bearer x",
            "\0",
            "\ud800",
            "\u732b" * 100,
            "eyJhbGciOiJub25lIn0.e30.",
            "." * 8000,
            "A" * 8192,
            "[" * 8000,
            encode_base64url(b"[" * 5000) + ".e30." + "A" * 86,
            encode_base64url(b'{"alg":"ES256","kid":' + b"9" * 5000 + b"}") + ".e30." + "A" * 86,
            encode_base64url(b"\xff\xfe") + ".e30." + "A" * 86,
            encode_base64url(b"null") + ".e30." + "A" * 86,
        ],
        ids=lambda text: repr(text[:20]),
    )
    def test_an_invalid_text_is_refused(self, text: str) -> None:
        """Each gets the same refusal."""
        with pytest.raises(TokenInvalid):
            read_here(text)

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.one_of(st.text(), st.text().map("baton_".__add__), st.binary().map(encode_base64url)))
    def test_any_text_is_refused(self, text: str) -> None:
        """The texts are random samples."""
        for sent in (text, f"baton_{text}", f"{text}.{text}.{'A' * 86}"):
            with pytest.raises(TokenInvalid):
                read_here(sent)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize(("binding", "key"), BINDINGS)
    def test_a_change_of_one_character_is_refused(self, form: Form, binding: Binding, key: PublicKey | None) -> None:
        """At each position a character is changed, doubled or omitted, in both forms."""
        text = minted(replace(TOKEN, binding=binding, key=key), form)
        for place, character in enumerate(text):
            other = "A" if character != "A" else "B"
            for altered in (text[:place] + other + text[place + 1 :], text[:place] + character + text[place:]):
                with pytest.raises(TokenInvalid):
                    read_here(altered)
            with pytest.raises(TokenInvalid):
                read_here(text[:place] + text[place + 1 :])

    @pytest.mark.parametrize("form", FORMS)
    def test_a_token_has_one_spelling(self, form: Form) -> None:
        """Padding, white space and stray bits at the end of a part are refused."""
        text = minted(TOKEN, form)
        for suffix in ("=", "==", " ", "\n", "\r\n", "\0", ".", ".AA"):
            with pytest.raises(TokenInvalid):
                read_here(text + suffix)
        for prefix in (" ", "\n", "baton_", "BATON_", "."):
            with pytest.raises(TokenInvalid):
                read_here(prefix + text)
        parts = text.removeprefix("baton_").split(".")
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for index, part in enumerate(parts):
            twins = [part[:-1] + character for character in alphabet if character != part[-1]]
            padded = [part + "=" * (-len(part) % 4)] if len(part) % 4 else [part + "===="]
            for twin in twins + padded:
                spelled = ".".join([*parts[:index], twin, *parts[index + 1 :]])
                with pytest.raises(TokenInvalid):
                    read_here(spelled if form == "jwt" else f"baton_{spelled}")

    @pytest.mark.parametrize("start", ["", "baton_", "eyJ"])
    def test_over_8_kb_is_refused_before_parsing(self, monkeypatch: pytest.MonkeyPatch, start: str) -> None:
        """PyJWT takes two seconds for a header of 8 MB."""
        for name in ("read_jwt", "read_opaque"):
            monkeypatch.setattr(presented, name, lambda *_, **__: pytest.fail("parsed"))
        for size in (TOKEN_BYTES_MAX + 1, 8_000_000):
            with pytest.raises(FieldTooLarge):
                read_here(start.ljust(size, "A"))

    def test_a_token_of_another_deployment_is_refused(self) -> None:
        """The keys differ: the kid of a JWT is unknown, and an opaque token does not decrypt."""
        other = make_ring(ENTROPY, now=NOW)
        with pytest.raises(UnknownKey):
            read_here(minted(ring=other))
        with pytest.raises(TokenInvalid) as refusal:
            read_here(minted(TOKEN, "opaque", ring=other))
        assert not isinstance(refusal.value, UnknownKey)

    def test_a_token_with_a_new_key_is_reported_as_unknown_key(self) -> None:
        """Another environment rotated the keys. The token is read again with a fresh ring."""
        ring = rotate_root(retire_keys(RING, ENTROPY, now=NOW), ENTROPY, now=NOW)
        later = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        newborn = replace(TOKEN, lineage=ring.lineage_ids("ada@example.com", "0123456789abcdef", now=later)[0])
        for text in (minted(ring=ring, now=later), minted(newborn, "opaque", ring=ring)):
            with pytest.raises(UnknownKey):
                read_here(text)

    def test_an_invalid_token_does_not_cause_a_read_of_the_key_ring(self) -> None:
        """Only a kid in the form of Baton's kids can be an unknown key. Any other text is refused."""
        kid = RING.signing[0].kid
        kids: tuple[object, ...] = ("", "another", 5, None, [], {}, "A" * 42, "A" * 44, "A" * 42 + "B", kid + "=")
        headers = [{"typ": "at+jwt", "alg": "ES256", "kid": kid} for kid in kids]
        sealed = [b"", bytes([9]), bytes([9]) * 40, bytes([9]) * 200]
        for text in [forged({}, header) for header in headers] + [f"baton_{encode_base64url(s)}" for s in sealed]:
            with pytest.raises(TokenInvalid) as refusal:
                read_here(text)
            assert not isinstance(refusal.value, UnknownKey), text


class TestHeaders:
    """The header of a JWT has three members with fixed or known values."""

    @pytest.mark.parametrize(
        "header",
        [
            {"typ": "JWT"},
            {"typ": "AT+JWT"},
            {"typ": "application/at+jwt"},
            {"typ": None},
            {"typ": ["at+jwt"]},
            {"alg": "none"},
            {"alg": "es256"},
            {"alg": "HS256"},
            {"alg": "ES384"},
            {"alg": "EdDSA"},
            {"alg": ["ES256"]},
            {"crit": ["exp"]},
            {"crit": []},
            {"b64": True},
            {"zip": "DEF"},
            {"cty": "JWT"},
            {"jwk": RING.signing[0].public_jwk()},
            {"jku": "https://evil.example/jwks.json"},
            {"x5u": "https://evil.example/cert.pem"},
            {"x5c": []},
        ],
        ids=repr,
    )
    def test_any_other_header_member_or_value_is_refused(self, header: dict[str, Any]) -> None:
        """A token with a genuine signature is refused too."""
        genuine = {"typ": "at+jwt", "alg": "ES256", "kid": RING.signing[0].kid}
        assert read_here(forged(claims_of(minted()), genuine)) == TOKEN
        with pytest.raises(TokenInvalid):
            read_here(forged(claims_of(minted()), {**genuine, **header}))

    @pytest.mark.parametrize("missing", ["typ", "alg", "kid"])
    def test_each_of_the_three_members_is_required(self, missing: str) -> None:
        """No default value is assumed."""
        genuine = {"typ": "at+jwt", "alg": "ES256", "kid": RING.signing[0].kid}
        del genuine[missing]
        with pytest.raises(TokenInvalid):
            read_here(forged(claims_of(minted()), genuine))

    def test_the_kid_selects_the_key_of_the_ring(self) -> None:
        """A token verifies only under the key of its kid."""
        ring = rotate_signing(RING, ENTROPY, now=NOW)
        old, new = sorted(ring.signing, key=lambda key: key.kid != RING.signing[0].kid)[:2]
        claims = claims_of(minted())
        own = forged(claims, {"typ": "at+jwt", "alg": "ES256", "kid": old.kid})
        assert read_token(own, ring=ring, names=NAMES, clients=CLIENTS) == TOKEN
        with pytest.raises(TokenInvalid):
            read_token(
                forged(claims, {"typ": "at+jwt", "alg": "ES256", "kid": new.kid}),
                ring=ring,
                names=NAMES,
                clients=CLIENTS,
            )

    def test_the_header_has_one_spelling(self) -> None:
        """Repeated, reordered, escaped or spaced members are refused: parsers could disagree about them."""
        claims, kid = claims_of(minted()), RING.signing[0].kid
        spellings = (
            f'{{"typ":"JWT","typ":"at+jwt","alg":"ES256","kid":"{kid}"}}',
            f'{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}',
            f'{{"typ":"at\\u002bjwt","alg":"ES256","kid":"{kid}"}}',
            f'{{"typ": "at+jwt","alg":"ES256","kid":"{kid}"}}',
            f'{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"}}\n',
        )
        for spelling in spellings:
            assert json.loads(spelling) == {"typ": "at+jwt", "alg": "ES256", "kid": kid}
            with pytest.raises(TokenInvalid) as refusal:
                read_here(forged(claims, spelling.encode()))
            assert not isinstance(refusal.value, UnknownKey)

    @pytest.mark.parametrize("words", ["hunter2", "\\ud800", "x" * 4000, "forged\\nline"])
    def test_the_text_of_a_refused_header_is_not_logged_or_cached(self, words: str) -> None:
        """The log has the reason of the refusal, but no text of an unknown client."""
        read_here(minted())  # the header of the ring's own key is cached from here on
        kept = jwt_form._header.cache_info().currsize
        for header in (f'{{"{words}":1}}', f'{{"typ":"at+jwt","alg":"ES256","kid":"{words}"}}'):
            with pytest.raises(TokenInvalid) as refusal:
                read_here(forged({}, header.encode()))
            assert refusal.value.reason == "not the header of a token"
        assert jwt_form._header.cache_info().currsize == kept

    @pytest.mark.parametrize("key", ["compressed", "pem", "jwk"])
    def test_a_public_key_cannot_be_used_as_an_hmac_secret(self, key: str) -> None:
        """The algorithm confusion of CVE-2022-29217, with each spelling of the key."""
        public = RING.signing[0].private_key().public_key()
        secret = {
            "compressed": RING.signing[0].public_key().raw,
            "pem": public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
            "jwk": json.dumps(RING.signing[0].public_jwk()).encode(),
        }[key]
        header = {"typ": "at+jwt", "alg": "HS256", "kid": RING.signing[0].kid}
        signing_input = f"{encode_base64url(json.dumps(header).encode())}.{minted().split('.')[1]}"
        mac = hmac.digest(secret, signing_input.encode(), "sha256")
        for signature in (mac, mac * 2):
            with pytest.raises(TokenInvalid):
                read_here(f"{signing_input}.{encode_base64url(signature)}")

    def test_another_signature_by_the_same_key_makes_the_same_token(self) -> None:
        """(r, n - s) verifies as (r, s) does, and so does a signature with another nonce.

        The token consists of its claims.
        """
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        signing_input, _, signature = minted().rpartition(".")
        raw = decode_base64url(signature)
        twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
        der = RING.signing[0].private_key().sign(signing_input.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        for other in (twin, r.to_bytes(32, "big") + s.to_bytes(32, "big")):
            assert other != raw
            assert read_here(f"{signing_input}.{encode_base64url(other)}") == TOKEN

    def test_claims_without_a_valid_signature_are_not_parsed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No JSON of an attacker reaches the parser, with any header."""
        monkeypatch.setattr(jwt_form, "_CLAIMS", SimpleNamespace(decode=lambda _: pytest.fail("parsed")))
        head, payload, signature = minted().split(".")
        another = minted(ring=make_ring(ENTROPY, now=NOW))
        for text in (f"{head}.{payload[:-4]}AAAA.{signature}", f"{head}.{payload}.{'A' * 86}", another):
            with pytest.raises(TokenInvalid):
                read_here(text)

    @pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64])
    def test_any_other_signature_is_refused(self, signature: bytes) -> None:
        """A DER signature is refused too."""
        signing_input = minted().rpartition(".")[0]
        der = RING.signing[0].private_key().sign(signing_input.encode(), ec.ECDSA(hashes.SHA256()))
        for wrong in (signature, der):
            with pytest.raises(TokenInvalid):
                read_here(f"{signing_input}.{encode_base64url(wrong)}")


class TestClaims:
    """The claims are checked exactly, even under a genuine signature."""

    @pytest.mark.parametrize("name", [name for name in claims_of(minted()) if name != "cnf"])
    def test_every_claim_is_required_and_has_one_type(self, name: str) -> None:
        """PyJWT would accept ``exp`` as a string, ``aud`` as a list, and a token without most claims."""
        claims = claims_of(minted())
        others: tuple[object, ...] = (None, True, "1", 1, 1.0, [], {}, [claims[name]], str(claims[name]))
        for wrong in others:
            if type(wrong) is not type(claims[name]):
                with pytest.raises(TokenInvalid):
                    read_here(forged({**claims, name: wrong}))
        del claims[name]
        with pytest.raises(TokenInvalid):
            read_here(forged(claims))

    @pytest.mark.parametrize(
        "changed",
        [
            {"sub": "short"},
            {"sub": TOKEN.account + "="},
            {"sid": TOKEN.account},
            {"gen": 8},
            {"gen": -1},
            {"gen": 2**32},
            {"iat": NOW + 1},
            {"iat": -1},
            {"exp": -1},
            {"exp": 2**32},
            {"token_use": "use"},
            {"token_use": "Both"},
            {"token_use": "id"},
            {"jti": f"{TOKEN.lineage}.7.both.{NOW + 1}"},
            {"jti": ""},
        ],
        ids=repr,
    )
    def test_every_claim_must_have_the_expected_value(self, changed: dict[str, Any]) -> None:
        """``jti`` repeats the four values that identify a token."""
        with pytest.raises(TokenInvalid):
            read_here(forged({**claims_of(minted()), **changed}))

    @pytest.mark.parametrize(
        "changed",
        [
            {"sub": "short", "token_use": "both"},
            {"gen": 2**32, "jti": f"{TOKEN.lineage}.{2**32}.both.{NOW}"},
            {"iat": -1, "jti": f"{TOKEN.lineage}.7.both.-1"},
            {"token_use": "id", "jti": f"{TOKEN.lineage}.7.id.{NOW}"},
            {"sid": "AQ", "jti": f"AQ.7.both.{NOW}"},
        ],
        ids=repr,
    )
    def test_a_consistent_but_invalid_claim_is_refused(self, changed: dict[str, Any]) -> None:
        """Examples are a number above its limit, an unknown kind and an invalid id."""
        with pytest.raises(TokenInvalid):
            read_here(forged({**claims_of(minted()), **changed}))

    @pytest.mark.parametrize(
        "confirmation",
        [
            None,
            {},
            [],
            "",
            {"kid": "another"},
            {"kid": TOKEN.account},
            {"kid": TOKEN.lineage, "jkt": P256.keyid},
            {"kid": TOKEN.lineage, "x5t#S256": P256.keyid},
            {"jkt": P256.keyid, "jwk": P256.to_jwk(), "x5t#S256": P256.keyid},
            {"jkt": P256.keyid},
            {"jwk": P256.to_jwk()},
            {"jkt": ED25519.keyid, "jwk": P256.to_jwk()},
            {"jkt": P256.keyid, "jwk": ED25519.to_jwk()},
            {"jkt": P256.keyid, "jwk": {**P256.to_jwk(), "d": "AQ"}},
            {"jkt": P256.keyid, "jwk": {**P256.to_jwk(), "use": "sig"}},
            {"jkt": P256.keyid, "jwk": {**P256.to_jwk(), "y": P256.to_jwk()["x"]}},
            {"jkt": P256.keyid, "jwk": None},
            {"jkt": None, "jwk": P256.to_jwk()},
            {"jkt": P256.keyid, "jwk": P256.to_jwk(), "kid": TOKEN.lineage},
            {"x5t#S256": P256.keyid},
        ],
        ids=repr,
    )
    def test_an_unknown_confirmation_claim_is_refused(self, confirmation: object) -> None:
        """The token must not count as unbound: an unknown ``cnf`` binds it to something that Baton cannot check."""
        with pytest.raises(TokenInvalid):
            read_here(forged({**claims_of(minted()), "cnf": confirmation}))

    @pytest.mark.parametrize("payload", [b"", b"null", b"[]", b'"text"', b"{", b"[" * 3000])
    def test_claims_must_be_one_json_object(self, payload: bytes) -> None:
        """The object must be complete."""
        with pytest.raises(TokenInvalid):
            read_here(forged(payload))

    def test_claims_must_be_utf8(self) -> None:
        """A byte order mark and other encodings are refused."""
        claims = json.dumps({**claims_of(minted()), "acr": "?"}).encode()
        assert read_here(forged(claims)) == TOKEN
        for wrong in (b"\xef\xbb\xbf" + claims, claims.decode().encode("utf-16"), claims.replace(b"?", b"\xff")):
            with pytest.raises(TokenInvalid):
                read_here(forged(wrong))

    def test_nan_and_infinity_are_refused(self) -> None:
        """NaN and Infinity are not JSON, at any position."""
        claims = json.dumps(claims_of(minted()))
        for constant in ("NaN", "Infinity", "-Infinity"):
            with pytest.raises(TokenInvalid):
                read_here(forged(f'{{"more":{constant},{claims[1:]}'.encode()))

    def test_an_unknown_claim_is_ignored(self) -> None:
        """A later version may add a claim (RFC 7519 section 4).

        After a return to this version, all users stay logged in.
        """
        assert read_here(forged({**claims_of(minted()), "scope": "account", "more": [1]})) == TOKEN

    def test_a_token_of_an_earlier_issuer_is_read(self) -> None:
        """A change of the host logs no user out."""
        moved = minted(names=Names(issuer="https://old.example.com/api", audience=NAMES.audience))
        assert read_here(moved) == TOKEN
        with pytest.raises(ConfigurationMismatch):
            read_token(moved, ring=RING, names=replace(NAMES, earlier_issuers=frozenset()), clients=CLIENTS)

    @pytest.mark.guarantee(9)
    @pytest.mark.parametrize(
        ("changed", "what"),
        [
            ({"iss": "https://evil.example"}, "issuer"),
            ({"iss": NAMES.issuer + "/"}, "issuer"),
            ({"aud": NAMES.audience + "/"}, "audience"),
            ({"aud": "https://other.example"}, "audience"),
            ({"client_id": "unknown"}, "client"),
            ({"client_id": ""}, "client"),
        ],
        ids=repr,
    )
    def test_a_genuine_token_with_an_unknown_name_is_a_server_error(self, changed: dict[str, Any], what: str) -> None:
        """Issuer, audience or client is missing in this configuration: the deployment is wrong and logs no user out."""
        with pytest.raises(ConfigurationMismatch) as trouble:
            read_here(forged({**claims_of(minted()), **changed}))
        assert isinstance(trouble.value, Unavailable)
        assert trouble.value.what == what
        with pytest.raises(TokenInvalid):  # a forged token is refused, with any names
            read_here(forged({**claims_of(minted()), **changed})[:-4] + "AAAA")

    def test_reading_a_token_does_not_check_expiry_and_kind(self) -> None:
        """`read` has no clock, because an expired token can still be exchanged."""
        expired = replace(TOKEN, issued_at=5, expires_at=6, kind=Kind.REFRESH)
        assert read_here(minted(expired)) == read_here(minted(expired, "opaque")) == expired


class TestKeyLifetime:
    """A leaked and retired key signs no token for a later login. No genuine token is refused."""

    def test_a_retired_key_signs_no_later_token(self) -> None:
        """A token is accepted up to ten minutes after the period of its key, for cached rings and different clocks."""
        now = NOW + DAY_S
        ring = retire_keys(RING, ENTROPY, now=now)
        for seconds, read_again in ((0, True), (ISSUED_AFTER_KEY_MAX_S, True), (ISSUED_AFTER_KEY_MAX_S + 1, False)):
            token = replace(TOKEN, issued_at=now + seconds, expires_at=now + 2 * DAY_S)
            by_the_leaked = minted(token)
            assert by_the_leaked.split(".")[0] == jwt_form._header(RING.signing[0].kid)
            assert read_here(by_the_leaked) == token
            if read_again:
                assert read_token(by_the_leaked, ring=ring, names=NAMES, clients=CLIENTS) == token
                continue
            with pytest.raises(TokenInvalid) as refusal:
                read_token(by_the_leaked, ring=ring, names=NAMES, clients=CLIENTS)
            assert not isinstance(refusal.value, UnknownKey), "no reason to read the ring again"

    def test_a_repeated_child_may_be_older_than_its_key(self) -> None:
        """The newest key signs the child, with the iat of its exchange (E6), which may be before the key was made."""
        now = NOW + DAY_S
        ring = retire_keys(RING, ENTROPY, now=now)
        again = minted(TOKEN, ring=ring, now=now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S)
        assert again.split(".")[0] == jwt_form._header(ring.signing[2].kid)
        assert read_token(again, ring=ring, names=NAMES, clients=CLIENTS) == TOKEN

    def test_a_token_issued_by_a_fast_clock_is_read_after_the_next_rotation(self) -> None:
        """The token is signed with the key that signs at its iat."""
        takes_over = RING.signing[1].signs_from
        ahead = replace(TOKEN, issued_at=takes_over + DAY_S, expires_at=takes_over + 2 * DAY_S)
        text = minted(ahead, now=NOW)
        assert text.split(".")[0] == jwt_form._header(RING.signing[1].kid)
        assert read_here(text) == ahead

    def test_a_root_encrypts_no_token_for_a_lineage_of_another_root(self) -> None:
        """A leaked root must not make a refresh token for a login that began under the next root."""
        ring = rotate_root(RING, ENTROPY, now=NOW)
        later = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        newborn = replace(TOKEN, lineage=ring.lineage_ids("ada@example.com", "0123456789abcdef", now=later)[0])
        for leaked, token in ((ring.roots[0], newborn), (ring.roots[1], TOKEN)):
            lead = bytes([leaked.version])
            facts = opaque_module._FACTS.pack(
                2,
                0,
                token.client,
                decode_base64url(token.account),
                decode_base64url(token.lineage),
                token.generation,
                token.issued_at,
                token.expires_at,
            )
            sealed = opaque_module._siv(leaked.secret).encrypt(facts + P256.raw, [opaque_module._DOMAIN, lead])
            with pytest.raises(TokenInvalid):
                read_token("baton_" + encode_base64url(lead + sealed), ring=ring, names=NAMES, clients=CLIENTS)
        assert read_token(minted(newborn, "opaque", ring=ring), ring=ring, names=NAMES, clients=CLIENTS) == newborn

    def test_the_not_before_time_does_not_change_reading(self) -> None:
        """The not-before time ends lineages. Their tokens stay genuine, so the client gets the end reason."""
        fenced = raise_not_before(retire_keys(RING, ENTROPY, now=NOW), now=NOW + DAY_S)
        assert read_token(minted(), ring=fenced, names=NAMES, clients=CLIENTS) == TOKEN


class TestOpaque:
    """The encrypted form."""

    def test_the_root_version_of_a_token_cannot_be_changed(self) -> None:
        """The version is associated data, so it cannot be changed even between two versions of the same secret."""
        twin = replace(RING, roots=(RING.roots[0], replace(RING.roots[0], version=2)))
        value = decode_base64url(minted(TOKEN, "opaque").removeprefix("baton_"))
        with pytest.raises(TokenInvalid):
            read_token(f"baton_{encode_base64url(bytes([2]) + value[1:])}", ring=twin, names=NAMES, clients=CLIENTS)

    def test_a_value_encrypted_for_another_purpose_is_refused(self) -> None:
        """Another purpose has other associated data under the same key."""
        facts = opaque_module._FACTS.pack(2, 1, 1, bytes(12), bytes(12), 0, 0, 0)
        for domain in ([b"\1"], [b"another", b"\1"], [opaque_module._DOMAIN], []):
            sealed = opaque_module._siv(RING.roots[0].secret).encrypt(facts, domain)
            with pytest.raises(TokenInvalid):
                read_here(f"baton_{encode_base64url(bytes([1]) + sealed)}")

    def test_rfc5297_a1(self) -> None:
        """The library encrypts as the RFC does."""
        key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
        ad = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
        plaintext = bytes.fromhex("112233445566778899aabbccddee")
        sealed = "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
        assert AESSIV(key).encrypt(plaintext, [ad]).hex() == sealed

    def test_the_encryption_key_is_derived_from_the_root(self) -> None:
        """The key is HKDF with 64 bytes for this purpose. The root itself encrypts nothing."""
        root: Secret = RING.roots[0].secret
        extracted = hmac.digest(bytes(32), root.reveal(), "sha256")
        first = hmac.digest(extracted, b"baton opaque token\1", "sha256")
        second = hmac.digest(extracted, first + b"baton opaque token\2", "sha256")
        value = decode_base64url(minted(TOKEN, "opaque").removeprefix("baton_"))
        facts = AESSIV(first + second).decrypt(value[1:], [b"baton opaque token 1", b"\1"])
        assert facts[-33:] == P256.raw


class TestVectors:
    """Published tokens of other systems, valid and invalid. Baton refuses each."""

    @pytest.mark.parametrize(
        "text",
        [
            *[row["jws"] for row in vectors("wycheproof_json_web_signature")["rows"]],
            *[case["jws"] for case in vectors("rfc7515_jws")["cases"] + vectors("rfc7515_jws")["negative"]],
            *[case["output"]["compact"] for case in vectors("rfc7520_jws")["cases"]],
            *[json.dumps(case["output"]["json"]) for case in vectors("rfc7520_jws")["cases"]],
            *[json.dumps(case["output"]["json_flat"]) for case in vectors("rfc7520_jws")["cases"]],
        ],
    )
    def test_a_token_of_another_system_is_refused(self, text: str) -> None:
        """The tokens are from Wycheproof, RFC 7515 and RFC 7520: each algorithm and serialisation, and `none`."""
        with pytest.raises(TokenInvalid):
            read_here(text)
