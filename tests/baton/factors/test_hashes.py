"""Password hashes of other systems: known vectors of each kind, bounds, decoys, and passwords that are not in NFKC."""

import json
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.decoys import DecoyProblem, read_decoys, write_decoys
from chalicelib.baton.factors.hashes.kinds import HASH_CHARACTERS_MAX, HashRefused, decoy_of, read_hash
from chalicelib.baton.factors.password_hash import Verified, hash_password, verify_password
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import encode_base64url

pytestmark = pytest.mark.guarantee(10, 11)

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "password_hashes.json").read_text())
SALT_AND_HASH = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
BCRYPT_BASE64 = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
BCRYPT = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
FIREBASE = next(row["hash"] for row in VECTORS if row["kind"] == "fbscrypt")


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"{row['kind']}: {row['password'][:12]}")
def test_a_known_hash_verifies_its_password_alone(row: dict[str, Any]) -> None:
    """The vectors are those of the standards and of the projects that made the kinds.

    Each hash is replaced after a login, unless it covers only a part of the password.
    """
    password = row["password"].encode()
    assert read_hash(row["hash"]).name == row["kind"]
    whole = not row["kind"].startswith("bcrypt") or len(password) <= 72
    assert verify_password(password, password_hash=row["hash"]) == Verified(rehash=whole)
    for wrong in (b"", password[1:], password.swapcase(), b"x" + password):
        with pytest.raises(InvalidCredentials):
            verify_password(wrong, password_hash=row["hash"])


def test_bcrypt_reads_72_bytes_and_the_library_is_never_given_more() -> None:
    """The library raises above 72 bytes. The systems whose hashes are imported cut the password at 72 bytes.

    Bug: a login with another end of such a password replaced the hash, and the right password was then refused.
    """
    password = "ä".encode() * 36 + b"and more"
    stored = bcrypt.hashpw(password[:72], bcrypt.gensalt(4)).decode()
    assert verify_password(password, password_hash=stored) == Verified(rehash=False)
    assert verify_password(password[:72], password_hash=stored) == Verified(rehash=True)
    typed = "ä".encode() * 36 + b"x"
    assert verify_password(typed, password_hash=stored, as_sent=password) == Verified(rehash=False)
    with pytest.raises(ValueError, match="72"):
        bcrypt.checkpw(password, stored.encode())


@pytest.mark.parametrize("place", [28, 59])
def test_a_bcrypt_string_with_other_unused_bits_is_the_same_hash(place: int) -> None:
    """Bug: the library raises `ValueError` for other unused bits in the salt, so every login was a 500.

    The last character of the salt has 4 unused bits, and the last of the hash has 2. Some old libraries set them.
    """
    stored = bcrypt.hashpw(b"the password", bcrypt.gensalt(4)).decode()
    value = BCRYPT_BASE64.index(stored[place])
    for bits in range(1, 16 if place == 28 else 4):
        other = stored[:place] + BCRYPT_BASE64[value | bits] + stored[place + 1 :]
        assert verify_password(b"the password", password_hash=other) == Verified(rehash=True)
        with pytest.raises(InvalidCredentials):
            verify_password(b"another password", password_hash=other)


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("hash_unknown", "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQxx$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
        ("hash_unknown", "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHR$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
        ("hash_unknown", "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPd"),
        ("hash_too_costly", f"$2b$14${BCRYPT}"),
        ("hash_too_weak", f"$2b$03${BCRYPT}"),
        ("hash_unknown", f"$2x$05${BCRYPT}"),
        ("hash_unknown", f"$2b$05${BCRYPT[:-1]}"),
        ("hash_unknown", f"$2b$05${BCRYPT}\n"),
        ("hash_too_costly", f"$argon2id$v=19$m=131073,t=1,p=1{SALT_AND_HASH}"),
        ("hash_too_costly", f"$argon2id$v=19$m=131072,t=3,p=1{SALT_AND_HASH}"),
        ("hash_too_costly", f"$argon2id$v=19$m=1024,t=17,p=1{SALT_AND_HASH}"),
        ("hash_too_costly", f"$argon2id$v=19$m=1024,t=1,p=9{SALT_AND_HASH}"),
        ("hash_too_weak", f"$argon2id$v=19$m=15,t=1,p=2{SALT_AND_HASH}"),
        ("hash_unknown", f"$argon2id$v=16$m=1024,t=1,p=1{SALT_AND_HASH}"),
        ("hash_unknown", f"$argon2id$v=19$m=1024,t=1,p=1,keyid=YQ{SALT_AND_HASH}"),
        ("hash_unknown", f"$argon2id$v=19$m=1024,t=1,p=1,data=YQ{SALT_AND_HASH}"),
        ("hash_too_costly", f"$scrypt$ln=18,r=1,p=1{SALT_AND_HASH}"),
        ("hash_too_costly", f"$scrypt$ln=10,r=17,p=1{SALT_AND_HASH}"),
        ("hash_too_costly", f"$scrypt$ln=17,r=8,p=2{SALT_AND_HASH}"),
        ("hash_too_weak", f"$scrypt$ln=9,r=8,p=1{SALT_AND_HASH}"),
        ("hash_unknown", f"$scrypt$ln=16,r=1,p=1{SALT_AND_HASH}"),
        ("hash_unknown", "$scrypt$ln=14,r=8,p=1$c29tZXNhbHQ$c2hvcnQ"),
        ("hash_too_costly", FIREBASE.replace("n=14", "n=15")),
        ("hash_too_costly", FIREBASE.replace("r=8", "r=9")),
        ("hash_too_weak", FIREBASE.replace("n=14", "n=9")),
        ("hash_unknown", FIREBASE.replace("v=1", "v=2")),
        ("hash_unknown", FIREBASE.replace("sk=jxsp", "sk=")),
        ("hash_too_costly", f"$pbkdf2-sha1$i=2000001{SALT_AND_HASH}"),
        ("hash_too_costly", f"$pbkdf2-sha256$i=2000001{SALT_AND_HASH}"),
        ("hash_too_costly", f"$pbkdf2-sha512$i=1200001{SALT_AND_HASH}"),
        ("hash_too_costly", f"$pbkdf2-sha1$i=1100000{SALT_AND_HASH}"),
        ("hash_too_weak", f"$pbkdf2-sha256$i=999{SALT_AND_HASH}"),
        ("hash_unknown", f"$pbkdf2-sha256$i=1000,l=31{SALT_AND_HASH}"),
        ("hash_unknown", f"$pbkdf2-md5$i=1000{SALT_AND_HASH}"),
        ("hash_unknown", "5f4dcc3b5aa765d61d8327deb882cf99"),
        ("hash_unknown", "{SSHA}3a9c0e"),
        ("hash_unknown", "password"),
        ("hash_unknown", ""),
        ("hash_unknown", "$2b$05$" + "C" * HASH_CHARACTERS_MAX),
    ],
)
def test_a_hash_out_of_bounds_is_refused_at_import_and_is_a_server_error_at_a_login(why: str, text: str) -> None:
    """The cost is read from the string, so it is checked before each computation. The refusal shows no hash."""
    with pytest.raises(HashRefused) as refused:
        read_hash(text)
    assert refused.value.why == why
    assert not text or text not in str(refused.value)
    with pytest.raises(Unavailable):
        verify_password(b"password", password_hash=text)


class TestForms:
    """Other systems hashed the password as the person typed it. Baton hashes the NFKC form."""

    TYPED = "ﬁve cafe\u0301"
    NORMAL = "five café"

    @pytest.mark.parametrize("hashed", [TYPED, NORMAL])
    def test_the_password_as_typed_and_its_normal_form_are_tried(self, hashed: str) -> None:
        """The other system may have hashed either form. After the login, the hash is replaced."""
        stored = bcrypt.hashpw(hashed.encode(), bcrypt.gensalt(4)).decode()
        for typed in (self.TYPED, hashed):
            verified = verify_password(self.NORMAL.encode(), as_sent=typed.encode(), password_hash=stored)
            assert verified == Verified(rehash=True)
        with pytest.raises(InvalidCredentials):
            verify_password(b"other", as_sent="ﬁ other".encode(), password_hash=stored)
        own = hash_password(self.TYPED.encode(), salt=bytes(16))
        verified = verify_password(self.NORMAL.encode(), as_sent=self.TYPED.encode(), password_hash=own)
        assert verified == Verified(rehash=True)

    def test_each_form_is_computed_once_also_for_an_unknown_account(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The work depends only on the typed password."""
        seen: list[bytes] = []

        def noticed(password: bytes, _: bytes) -> bool:
            seen.append(password)
            return False

        monkeypatch.setattr(bcrypt, "checkpw", noticed)
        stored = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
        for password_hash in (stored, None):
            for typed in (self.TYPED, self.NORMAL):
                with pytest.raises(InvalidCredentials):
                    verify_password(
                        self.NORMAL.encode(),
                        as_sent=typed.encode(),
                        password_hash=password_hash,
                        decoy=decoy_of("bcrypt4"),
                    )
        once = [self.NORMAL.encode()]
        assert seen == [*once, self.TYPED.encode(), *once] * 2


class TestDecoys:
    """The setting ``BATON_DECOYS``."""

    @pytest.mark.parametrize(
        "name",
        [
            *("bcrypt4", "bcrypt13", "fbscrypt", "fbscrypt-n12-r8-p1", "scrypt-n10-r8-p1", "pbkdf2-sha1-1000"),
            *("pbkdf2-sha256-1000", "pbkdf2-sha512-1000", "argon2id-m1024-t1-p1", "argon2i-m8-t1-p1"),
            "argon2d-m8-t1-p1",
        ],
    )
    def test_a_decoy_has_the_cost_of_its_name_and_no_password(self, name: str) -> None:
        """A decoy is a hash of its kind, so the comparison takes as long as with a real account."""
        assert read_hash(decoy_of(name)).name == name
        with pytest.raises(InvalidCredentials):
            verify_password(b"password", password_hash=None, decoy=decoy_of(name))

    @pytest.mark.parametrize(
        "row",
        [
            *("bcrypt12", "bcrypt12=x", "bcrypt99=5", "md5=5", "bcrypt12=60,bcrypt12=5", "bcrypt12=60,fbscrypt=50"),
            *("bcrypt12=5/4", "bcrypt012=5", "fbscrypt-n14-r8-p1=5", "pbkdf2-sha256-900=5", "bcrypt12=101"),
            "scrypt-n16-r1-p1=5",
        ],
    )
    def test_a_wrong_row_is_a_problem(self, row: str) -> None:
        """The test has unknown names, costs out of bounds, and invalid shares."""
        with pytest.raises(DecoyProblem):
            read_decoys(tuple(row.split(",")))

    def test_as_shares_fall_a_decoy_changes_once_towards_argon2id(self) -> None:
        """An unknown address behaves like a person who logs in: its hash changes once, and never back."""
        accounts = [AccountId(encode_base64url(b"\x00" + secrets.token_bytes(11))) for _ in range(20_000)]
        settings = [
            "bcrypt12=60,fbscrypt=5,scrypt-n14-r16-p1=20",
            "bcrypt12=41/60,fbscrypt=5/5,scrypt-n14-r16-p1=19.5/20",
            "bcrypt12=7.25/60,fbscrypt=4/5,scrypt-n14-r16-p1=1/20",
            "bcrypt12=0/60,fbscrypt=0.5/5,scrypt-n14-r16-p1=1/20",
            "bcrypt12=0/60,fbscrypt=0/5,scrypt-n14-r16-p1=0/20",
        ]
        seen = [[read_decoys(tuple(one.split(","))).of(account) for account in accounts] for one in settings]
        for history in zip(*seen, strict=True):
            first, *later = history
            changes = sum(before != after for before, after in zip(history, later, strict=False))
            assert changes <= 1
            assert set(history) <= {first, None}
        shares = Counter(seen[1])
        assert shares[decoy_of("bcrypt12")] / 200 == pytest.approx(41, abs=2)
        assert shares[decoy_of("fbscrypt")] / 200 == pytest.approx(5, abs=1)
        assert set(seen[-1]) == {None}

    def test_the_printed_setting_keeps_the_shares_after_the_import(self) -> None:
        """The ranges do not move, even if no account has a kind any more."""
        first = write_decoys({"fbscrypt": 5.0, "bcrypt12": 60.0}, read_decoys(()))
        assert first == "bcrypt12=60/60,fbscrypt=5/5"
        before = read_decoys(tuple(first.split(",")))
        assert write_decoys({"bcrypt12": 12.5}, before) == "bcrypt12=12.5/60,fbscrypt=0/5"

    @pytest.mark.parametrize("now", [{"bcrypt12": 25.0, "fbscrypt": 50.0}, {"bcrypt12": 25.0, "fbscrypt": 75.0}])
    def test_the_printed_setting_fits_after_a_second_import(self, now: dict[str, float]) -> None:
        """Bug: the shares after the imports were more than 100 percent in all, and Baton refused to start with them."""
        printed = write_decoys(now, read_decoys(("bcrypt12=25/60",)))
        assert [(one.name, one.begin, one.share) for one in read_decoys(tuple(printed.split(","))).ranges] == [
            ("bcrypt12", 0, 25),
            ("fbscrypt", 25, now["fbscrypt"]),
        ]

    def test_the_printed_shares_are_at_most_100_percent(self) -> None:
        """Bug: three shares were rounded up, so Baton refused to start with the printed setting."""
        printed = write_decoys({"bcrypt12": 100 / 6, "fbscrypt": 100 / 6, "bcrypt10": 400 / 6}, read_decoys(()))
        assert len(read_decoys(tuple(printed.split(","))).ranges) == 3
