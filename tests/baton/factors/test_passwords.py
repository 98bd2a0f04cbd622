"""Passwords: normal form, strength, and a hash of constant cost."""

import json
from pathlib import Path
from typing import Any

import argon2.low_level
import pytest
from _argon2_cffi_bindings import ffi, lib  # type: ignore[import-untyped]

from chalicelib.baton import policy
from chalicelib.baton.errors import Malformed, Unavailable
from chalicelib.baton.factors import normal_form, password_hash
from chalicelib.baton.factors import strength as passwords
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import Verified, hash_password, verify_password
from chalicelib.baton.factors.refusals import (
    ContainsContext,
    InvalidCredentials,
    PasswordTooLarge,
    TooCommon,
    TooShort,
)
from chalicelib.baton.factors.strength import check_strength

pytestmark = pytest.mark.guarantee(10, 11)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9106_argon2.json").read_text())
EMAIL = "ada.lovelace@analytical.example"
SALT = bytes(range(16))
JAPANESE = "\u732b\u306f\u6bce\u65e5\u5e8a\u3067\u9577\u304f\u7720\u308b\u304b\u3082\u3057\u308c\u306d"
"""Fifteen characters: a cat that sleeps in bed all day."""


class TestReading:
    """`normalise`."""

    def test_spellings_of_one_password_have_one_normal_form(self) -> None:
        """Phones compose characters and keyboards do not. NFKC makes them equal."""
        assert normalise("cafe\u0301") == normalise("caf\u00e9") == "caf\u00e9".encode()
        assert normalise("\N{LATIN SMALL LIGATURE FI}") == b"fi"

    def test_case_and_spaces_are_kept(self) -> None:
        """A password is neither trimmed nor lower-cased."""
        assert normalise(" Aa ") == b" Aa "

    def test_over_1024_bytes_is_refused_before_normalisation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The limit counts the bytes as sent, so NFKC never gets more."""
        assert len(normalise("a" * 1024)) == 1024
        assert len(normalise("\u00e9" * 512)) == 1024
        for password in ("a" * 1025, "\u00e9" * 512 + "a", "\u0300\u0316" * 100_000):
            with monkeypatch.context() as patch:
                patch.setattr(normal_form, "nfkc", lambda _: pytest.fail("normalised"))
                with pytest.raises(PasswordTooLarge):
                    normalise(password)

    @pytest.mark.parametrize("password", ["\0", "correct\0horse", "\ud800", "a\udfffb"])
    def test_a_password_that_is_not_text_is_malformed(self, password: str) -> None:
        """A NUL could end the password in a C library. An unpaired surrogate is not a character."""
        with pytest.raises(Malformed):
            normalise(password)


class TestStrength:
    """`check_strength`."""

    @pytest.mark.parametrize(
        "password",
        [
            "velvet anchor piano tundra",
            "831947502938475",
            "ja8dh2lskdj3kfm",
            "%^&~;:<>[]{}=?*",
            "my dog barks at night",
            JAPANESE,
            "Xk9 " * 4 + "and then something else",
            "aaaaaaaaaaaaaaa but then some words follow",
            "x" * 40 + "q7#mK2!v",
        ],
    )
    def test_an_unpredictable_password_of_fifteen_characters_is_accepted(self, password: str) -> None:
        """Baton has no rules about kinds of characters."""
        check_strength(password, email=EMAIL)

    def test_a_password_has_at_least_fifteen_code_points(self) -> None:
        """The rule counts characters, not bytes."""
        honest = "velvet anchor pi"
        check_strength(honest[:15], email=EMAIL)
        with pytest.raises(TooShort):
            check_strength(honest[:14], email=EMAIL)
        with pytest.raises(TooShort):
            check_strength(JAPANESE[:14], email=EMAIL)

    @pytest.mark.parametrize(
        "password",
        [
            "passwordpassword",
            "Password123456789!",
            "P@ssw0rdP@ssw0rd",
            "pa$$w0rd-pa$$w0rd",
            "correct horse battery staple",
            "CorrectHorseBatteryStaple",
            "maytheforcebewithyou",
            "thisismypassword123",
            "Summer2024Summer2024!",
            "welcome_welcome_1",
            "letme1nletme1n!!!",
        ],
    )
    def test_common_words_are_too_common(self, password: str) -> None:
        """Case, look-alike digits, separators and added characters do not help."""
        with pytest.raises(TooCommon):
            check_strength(password, email=EMAIL)

    @pytest.mark.parametrize(
        "password",
        [
            "aaaaaaaaaaaaaaa",
            "!!!!!!!!!!!!!!!",
            "---------------",
            "               ",
            "abcabcabcabcabc",
            "x9x9x9x9x9x9x9x9",
            "k3#k3#k3#k3#k3#k3#",
            "k3#" * 100,
        ],
    )
    def test_repetitions_are_too_common(self, password: str) -> None:
        """A repeated word counts once."""
        with pytest.raises(TooCommon):
            check_strength(password, email=EMAIL)

    @pytest.mark.parametrize(
        "password",
        [
            "123456789012345",
            "987654321098765",
            "abcdefghijklmnop",
            "zyxwvutsrqponmlk",
            "qwertyuiopasdfgh",
            "lkjhgfdsapoiuytrewq",
            "1qaz2wsx3edc4rfv",
            "1q2w3e4r5t6y7u8i",
            "!@#$%^&*()!@#$%",
        ],
    )
    def test_sequences_are_too_common(self, password: str) -> None:
        """A sequence of the alphabet or the keyboard counts as one guess, in both directions."""
        with pytest.raises(TooCommon):
            check_strength(password, email=EMAIL)

    @pytest.mark.parametrize(
        "password",
        [
            "the baton is handed over",
            "B4T0N relay of velvet",
            "ada.lovelace@analytical.example",
            "AdaLovelace was velvet tundra",
            "ada-lovelace was velvet tundra",
            "lovelace analytical",
            "Analytical12345!?",
        ],
    )
    def test_context_is_refused(self, password: str) -> None:
        """The service name and the whole local part may not occur.

        No password may consist mainly of parts of the address.
        """
        with pytest.raises(ContainsContext):
            check_strength(password, email=EMAIL)

    def test_every_part_of_an_address_is_context(self) -> None:
        """Context is each part of the local part, and each part of the domain except its last label."""
        for password in ("Brzeczyszczykiewicz1!", "chrzaszczyzewoszyce1!"):
            with pytest.raises(ContainsContext):
                check_strength(password, email="g.brzeczyszczykiewicz@chrzaszczyzewoszyce.example")

    def test_short_parts_of_an_address_are_not_context(self) -> None:
        """A good passphrase may contain "li" by chance."""
        check_strength("velvet linen tundra piano", email="li@io.example")

    def test_the_refusal_contains_the_minimum_length(self) -> None:
        """An app can show how many characters are required."""
        with pytest.raises(TooShort) as refusal:
            check_strength("short", email=EMAIL)
        assert refusal.value.members == {"characters_min": policy.PASSWORD_CHARACTERS_MIN}

    def test_the_list_contains_only_folded_words(self) -> None:
        """The list has lower-case letters and digits, only forms that folding can produce, and no comments."""
        words = passwords._common_words()
        assert len(words) > 500
        assert all(word.isalnum() and word == word.casefold() for word in words)

    def test_the_strength_check_of_a_hostile_password_has_bounded_cost(self) -> None:
        """The longest normal form (U+FDFA becomes 18 characters) costs as few steps as any other."""
        for password in ("\ufdfa" * 341, "a" * 1024, "ab" * 512, "abcdefghijkl" * 85):
            text = normalise(password).decode()
            assert passwords.guesses(text, frozenset()) <= passwords.GUESSES_MIN


class TestVerifiers:
    """`hash_password` and `verify_password`."""

    def test_a_password_hash_verifies_only_its_own_password(self) -> None:
        """A hash with the current parameters needs no rehash."""
        password_hash = hash_password(b"velvet anchor piano", salt=SALT)
        assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert verify_password(b"velvet anchor piano", password_hash=password_hash) == Verified(rehash=False)
        with pytest.raises(InvalidCredentials):
            verify_password(b"velvet anchor pianO", password_hash=password_hash)

    def test_another_salt_gives_another_password_hash(self) -> None:
        """The salt is an argument, and it is used."""
        assert hash_password(b"x", salt=SALT) != hash_password(b"x", salt=SALT[::-1])

    @pytest.mark.parametrize("known", [True, False])
    def test_argon2_runs_once_with_or_without_an_account(self, monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
        """The cost is the same."""
        password_hash = hash_password(b"right", salt=SALT)
        seen: list[str] = []
        genuine = argon2.low_level.verify_secret

        def counted(stored: bytes, secret: bytes, kind: argon2.low_level.Type) -> bool:
            seen.append(stored.decode().rpartition("p=")[0])
            return genuine(stored, secret, kind)

        monkeypatch.setattr(argon2.low_level, "verify_secret", counted)
        monkeypatch.setattr(argon2.low_level, "hash_secret", lambda *_: pytest.fail("hashed"))
        with pytest.raises(InvalidCredentials):
            verify_password(b"wrong", password_hash=password_hash if known else None)
        assert seen == ["$argon2id$v=19$m=19456,t=2,"]

    def test_a_password_without_an_account_is_always_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Even if Argon2 accepts the password, the result is false."""
        monkeypatch.setattr(argon2.low_level, "verify_secret", lambda *_: True)
        with pytest.raises(InvalidCredentials):
            verify_password(b"anything", password_hash=None)

    def test_the_password_hash_for_unknown_accounts_has_the_usual_form(self) -> None:
        """Parameters and lengths of salt and tag are those of any other hash, so the work is the same."""
        nobodys = password_hash._NOBODYS_PASSWORD_HASH
        anybodys = hash_password(b"x", salt=SALT)
        assert [len(part) for part in nobodys.split("$")] == [len(part) for part in anybodys.split("$")]
        assert nobodys.split("$")[:4] == anybodys.split("$")[:4]

    @pytest.mark.parametrize(
        "cost",
        ["m=4194304,t=2,p=1", "m=65537,t=2,p=1", "m=19456,t=9,p=1", "m=19456,t=2,p=5", "m=99999999,t=999,p=999"],
    )
    def test_a_stored_cost_out_of_bounds_is_a_server_error(self, monkeypatch: pytest.MonkeyPatch, cost: str) -> None:
        """Argon2 reads its cost from the string, so the string is checked first."""
        monkeypatch.setattr(argon2.low_level, "verify_secret", lambda *_: pytest.fail("verified"))
        with pytest.raises(Unavailable):
            verify_password(b"x", password_hash=_with_cost(cost))

    @pytest.mark.parametrize(
        "password_hash",
        [
            "",
            "plain",
            "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2d$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=16$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
            "$2b$12$KIXQJZ1Zx1Zx1Zx1Zx1ZxO1Zx1Zx1Zx1Zx1Zx1Zx1Zx1Zx1Zx1Zx",
        ],
    )
    def test_an_unreadable_password_hash_is_a_server_error(
        self, monkeypatch: pytest.MonkeyPatch, password_hash: str
    ) -> None:
        """The result is neither a wrong password nor a login. Argon2 does not run."""
        monkeypatch.setattr(argon2.low_level, "verify_secret", lambda *_: pytest.fail("verified"))
        with pytest.raises(Unavailable):
            verify_password(b"password", password_hash=password_hash)

    def test_an_error_of_argon2_is_a_server_error(self) -> None:
        """The memory parameter is below Argon2's minimum. The error is not a wrong password."""
        with pytest.raises(Unavailable):
            verify_password(b"password", password_hash=_with_cost("m=7,t=2,p=1"))

    @pytest.mark.parametrize("row", VECTORS["encoded"], ids=lambda row: row["encoded"][15:35])
    def test_reference_strings(self, row: dict[str, Any]) -> None:
        """The hashes of the reference implementation verify, and need a rehash to the current parameters."""
        if row["expect"]:
            assert verify_password(row["password"].encode(), password_hash=row["encoded"]) == Verified(rehash=True)
        else:
            with pytest.raises(InvalidCredentials):
                verify_password(row["password"].encode(), password_hash=row["encoded"])

    @pytest.mark.parametrize("row", VECTORS["low_level"], ids=lambda row: row["id"])
    def test_rfc9106_section_5(self, row: dict[str, Any]) -> None:
        """The library computes the RFC's tags. Baton accepts only Argon2id."""
        assert _tag(row).hex() == row["tag_hex"]
        password_hash = hash_password(bytes.fromhex(row["password_hex"]), salt=bytes.fromhex(row["salt_hex"]))
        stored = password_hash.replace("$argon2id$", f"${row['type']}$")
        if row["type"] == "argon2id":
            assert verify_password(bytes.fromhex(row["password_hex"]), password_hash=stored) == Verified(rehash=False)
        else:
            with pytest.raises(Unavailable):
                verify_password(bytes.fromhex(row["password_hex"]), password_hash=stored)


def _with_cost(cost: str) -> str:
    return f"$argon2id$v=19${cost}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"


def _tag(row: dict[str, Any]) -> bytes:
    """Compute a tag with secret and associated data. Only the lowest level of argon2-cffi accepts them."""
    tag = ffi.new("uint8_t[]", row["tag_len"])
    inputs = {name: bytes.fromhex(row[f"{name}_hex"]) for name in ("password", "salt", "secret", "ad")}
    buffers = {name: ffi.new("uint8_t[]", value) for name, value in inputs.items()}
    context = ffi.new(
        "argon2_context *",
        {
            "version": row["version"],
            "out": tag,
            "outlen": row["tag_len"],
            "pwd": buffers["password"],
            "pwdlen": len(inputs["password"]),
            "salt": buffers["salt"],
            "saltlen": len(inputs["salt"]),
            "secret": buffers["secret"],
            "secretlen": len(inputs["secret"]),
            "ad": buffers["ad"],
            "adlen": len(inputs["ad"]),
            "t_cost": row["passes"],
            "m_cost": row["memory_kib"],
            "lanes": row["lanes"],
            "threads": 1,
            "allocate_cbk": ffi.NULL,
            "free_cbk": ffi.NULL,
            "flags": lib.ARGON2_DEFAULT_FLAGS,
        },
    )
    kind = {
        "argon2d": argon2.low_level.Type.D,
        "argon2i": argon2.low_level.Type.I,
        "argon2id": argon2.low_level.Type.ID,
    }[row["type"]]
    assert argon2.low_level.core(context, kind.value) == lib.ARGON2_OK
    return bytes(ffi.buffer(tag))
