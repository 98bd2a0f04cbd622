"""Passwords: normal form, strength, and a hash of constant cost."""

import json
from pathlib import Path
from typing import Any

import argon2.low_level
import pytest
from _argon2_cffi_bindings import ffi, lib  # type: ignore[import-untyped]

from chalicelib.baton.errors import Malformed, Unavailable
from chalicelib.baton.factors import normal_form, password_hash
from chalicelib.baton.factors.hashes import argon2_hash
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import Verified, hash_password, verify_password
from chalicelib.baton.factors.refusals import InvalidCredentials, PasswordTooLarge

pytestmark = [pytest.mark.guarantee(10, 11), pytest.mark.usefixtures("dear_passwords")]

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9106_argon2.json").read_text())
SALT = bytes(range(16))


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
        ["m=4194304,t=2,p=1", "m=131073,t=1,p=1", "m=4096,t=17,p=1", "m=19456,t=2,p=9", "m=99999999,t=999,p=999"],
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

    def test_an_error_of_argon2_is_a_server_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Argon2 refuses a cost that Baton's bounds accept. The error is not a wrong password."""
        monkeypatch.setattr(argon2_hash, "MEMORY_KIB_PER_LANE", 1)
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
        """The library computes the RFC's tags. Baton verifies all three, and replaces Argon2i and Argon2d."""
        assert _tag(row).hex() == row["tag_hex"]
        password_hash = hash_password(bytes.fromhex(row["password_hex"]), salt=bytes.fromhex(row["salt_hex"]))
        stored = password_hash.replace("$argon2id$", f"${row['type']}$")
        password = bytes.fromhex(row["password_hex"])
        if row["type"] == "argon2id":
            assert verify_password(password, password_hash=stored) == Verified(rehash=False)
        else:
            with pytest.raises(InvalidCredentials):
                verify_password(password, password_hash=stored)
            kind = argon2.low_level.Type.I if row["type"] == "argon2i" else argon2.low_level.Type.D
            theirs = argon2.low_level.hash_secret(password, SALT, 3, 32, 4, 32, kind).decode()
            assert verify_password(password, password_hash=theirs) == Verified(rehash=True)


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
