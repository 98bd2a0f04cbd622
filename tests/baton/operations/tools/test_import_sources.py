"""The files of other systems, as the lines of an import.

The files have the form that the tools of these systems write.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.factors.hashes.kinds import read_hash
from chalicelib.baton.federation.providers import Providers, read_providers
from tests.baton.fixture import FOLDER
from tools.moving.hash_forms import BadParameters, read_parameters
from tools.moving.line import Refused, judge, read_line
from tools.moving.sources import BadFile, Record, read_records

NOW = 1_800_000_000
BCRYPT = "$2b$10$VGOzA784oUp/Z0DY336zxu7pLYAy0lwKabcdefghijklmnopqrstu"

FIREBASE_PARAMETERS = """hash_config {
  algorithm: SCRYPT,
  base64_signer_key: jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==,
  base64_salt_separator: Bw==,
  rounds: 8,
  mem_cost: 14,
}
"""
FIREBASE_HASH = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="


PROVIDERS = read_providers((FOLDER / "identity-providers.toml").read_text(), clients=["mobile"], development=True)


def linked_of(record: Record) -> Mapping[int, tuple[str, str]]:
    """Return the identities of a record that is imported: code of the provider, issuer and subject."""
    assert record.body is not None
    line = read_line(record.body)
    assert not isinstance(line, Refused), line
    arrival = judge(line, providers=PROVIDERS, now=NOW)
    assert not isinstance(arrival, Refused), arrival
    return {code: (one.issuer, one.sub) for code, one in arrival.identities.items()}


def members(record: Record) -> Mapping[str, Any]:
    """Return the members of a record, without its password."""
    assert isinstance(record.body, Mapping)
    return {name: value for name, value in record.body.items() if name != "password" and value not in (None, [], False)}


def password(record: Record) -> str:
    """Return the hash of a record that is imported."""
    assert record.body is not None
    line = read_line(record.body)
    assert not isinstance(line, Refused), line
    arrival = judge(line, providers=PROVIDERS, now=NOW)
    assert not isinstance(arrival, Refused), arrival
    assert arrival.password_hash is not None
    return arrival.password_hash


def reason(record: Record) -> str:
    """Return why a record is refused."""
    if record.body is None:
        return record.refused
    line = read_line(record.body)
    judged = line if isinstance(line, Refused) else judge(line, providers=Providers(), now=NOW)
    assert isinstance(judged, Refused)
    return judged.reason


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Record]]:
    """Write a file and its companion files, and read its records."""

    def read(source: str, name: str, text: str, parameters: str = "", **beside: str) -> list[Record]:
        (tmp_path / name).write_text(text, "utf-8")
        for other, content in beside.items():
            (tmp_path / f"{other}.csv").write_text(content, "utf-8")
        known = None
        if parameters:
            (tmp_path / "parameters").write_text(parameters)
            known = read_parameters(tmp_path / "parameters")
        return list(read_records(tmp_path / name, source, known))

    return read


class TestAuth0:
    """The hash export from Auth0's support, the format of bulk imports, and users.csv."""

    def test_the_hash_export(self, read: Callable[..., list[Record]]) -> None:
        """The file has one object on each line."""
        row = {
            "_id": {"$oid": "60425dc43519d90068f82973"},
            "email_verified": False,
            "email": "test2@example.com",
            "passwordHash": BCRYPT,
            "password_set_date": {"$date": "2021-03-05T16:32:04.814Z"},
            "tenant": "t",
            "connection": "Username-Password-Authentication",
            "_tmp_is_unique": True,
        }
        (record,) = read("auth0", "users.json", json.dumps(row) + "\n")
        assert members(record) == {
            "v": 1,
            "source_id": "auth0|60425dc43519d90068f82973",
            "email": "test2@example.com",
        }
        assert password(record) == BCRYPT

    def test_the_format_of_bulk_imports(self, read: Callable[..., list[Record]]) -> None:
        """The file is an array. `custom_password_hash` names its algorithm."""
        salt, tag = b"\x01" * 16, hashlib.scrypt(b"pw", salt=b"\x01" * 16, n=1024, r=8, p=1, dklen=32)
        rows = [
            {"user_id": "a", "email": "a@example.com", "email_verified": True,
             "password_hash": BCRYPT, "blocked": True},
            {"user_id": "b", "email": "b@example.com", "custom_password_hash": {
                "algorithm": "pbkdf2",
                "hash": {"value": "$pbkdf2-sha512$i=100000,l=64$c2FsdA$" + "A" * 86, "encoding": "utf8"}}},
            {"user_id": "c", "email": "c@example.com", "custom_password_hash": {
                "algorithm": "scrypt", "hash": {"value": tag.hex(), "encoding": "hex"},
                "salt": {"value": base64.b64encode(salt).decode(), "encoding": "base64"},
                "keylen": 32, "cost": 1024, "blockSize": 8, "parallelization": 1}},
            {"user_id": "d", "email": "d@example.com", "custom_password_hash": {
                "algorithm": "md5", "hash": {"value": "5f4dcc3b5aa765d61d8327deb882cf99", "encoding": "hex"}}},
        ]  # fmt: skip
        blocked, pbkdf2, scrypt, md5 = read("auth0", "users.json", json.dumps(rows))
        assert members(blocked)["disabled"] is True
        assert members(blocked)["email_verified"] is True
        assert read_hash(password(pbkdf2)).name == "pbkdf2-sha512-100000"
        assert read_hash(password(scrypt)).matches(b"pw")
        assert reason(md5) == "hash_unknown"

    def test_users_csv_has_no_hash(self, read: Callable[..., list[Record]]) -> None:
        """The app's hook checks the passwords of these people at their first login."""
        (record,) = read("auth0", "users.csv", "Id,Email,Email Verified\nauth0|1,ada@example.com,true\n")
        assert members(record) == {
            "v": 1,
            "source_id": "auth0|1",
            "email": "ada@example.com",
            "email_verified": True,
            "migrate": True,
        }


class TestFirebase:
    """The export `firebase auth:export --format=json`, with the parameters of the console."""

    USERS = {  # noqa: RUF012 - never changed
        "users": [
            {"localId": "f1", "email": "ada@example.com", "emailVerified": True, "passwordHash": FIREBASE_HASH,
             "salt": "42xEC+ixf3L2lw==", "createdAt": "1500000000000",
             "providerUserInfo": [{"providerId": "password", "rawId": "ada@example.com"}]},
            {"localId": "f2", "email": "bob@example.com", "disabled": True,
             "passwordHash": FIREBASE_HASH.replace("+", "-").replace("/", "_"), "salt": "42xEC-ixf3L2lw==",
             "providerUserInfo": []},
            {"localId": "f3", "email": "eve@example.com",
             "providerUserInfo": [{"providerId": "google.com", "rawId": "1"}]},
            {"localId": "f4", "passwordHash": "%", "salt": "", "email": "x@example.com"},
        ]
    }  # fmt: skip

    def test_accounts(self, read: Callable[..., list[Record]]) -> None:
        """The hashes are in base64 or base64url. A person is not imported without the identity at a provider."""
        ada, bob, eve, broken = read("firebase", "users.json", json.dumps(self.USERS), FIREBASE_PARAMETERS)
        assert members(ada) == {
            "v": 1,
            "source_id": "f1",
            "email": "ada@example.com",
            "email_verified": True,
            "created_at": 1_500_000_000,
        }
        assert members(bob)["disabled"] is True
        assert password(ada) == password(bob)
        assert read_hash(password(ada)).matches(b"user1password")
        assert linked_of(eve) == {2: ("https://accounts.google.com", "1")}
        assert reason(eve) == "identity_provider_unknown", "where the deployment has no such row"
        assert reason(broken) == "hash_unknown"

    def test_without_parameters_no_hash_can_be_read(self, read: Callable[..., list[Record]]) -> None:
        """The error says where to find the parameters."""
        with pytest.raises(BadFile, match="--hash-parameters"):
            read("firebase", "users.json", json.dumps(self.USERS))
        with pytest.raises(BadFile, match="auth:export"):
            read("firebase", "users.json", "[]", FIREBASE_PARAMETERS)
        with pytest.raises(BadFile, match="not a JSON object"):
            read("firebase", "users.json", '{"users": ["a@example.com"]}', FIREBASE_PARAMETERS)
        damaged: tuple[dict[str, object], ...] = (
            {"createdAt": "soon"},
            {"providerUserInfo": [{}]},
            {"providerUserInfo": 1},
        )
        for members in damaged:
            users = json.dumps({"users": [{"localId": "1"}, {"localId": "2", **members}]})
            with pytest.raises(BadFile, match="account 2 is not as firebase exports it"):
                read("firebase", "users.json", users, FIREBASE_PARAMETERS)
        with pytest.raises(BadFile, match="account 1 is not as firebase exports it"):
            read("firebase", "users.json", '{"users": null}', FIREBASE_PARAMETERS)

    @pytest.mark.parametrize(
        "text", ["", "algorithm: HMAC_SHA256", FIREBASE_PARAMETERS.replace("rounds: 8", "rounds: x")]
    )
    def test_other_parameters_are_refused(self, read: Callable[..., list[Record]], text: str) -> None:
        """Only the scrypt of Firebase is read."""
        with pytest.raises(BadParameters):
            read("firebase", "users.json", json.dumps(self.USERS), text or "nothing")


def test_supabase(read: Callable[..., list[Record]]) -> None:
    """The files are `auth.users` and `auth.identities` as CSV. Deleted and anonymous users are skipped."""
    header = "id,email,email_confirmed_at,encrypted_password,banned_until,created_at,deleted_at,is_anonymous\n"
    rows = (
        f"1,ada@example.com,2023-01-02 03:04:05.678+00,{BCRYPT},,2017-07-14 02:40:00+00,,f\n"
        f"2,bob@example.com,,{BCRYPT},2999-01-01 00:00:00+00,,,f\n"
        "3,gone@example.com,,,,,2024-01-01 00:00:00+00,f\n"
        "4,,,,,,,t\n"
        "5,eve@example.com,,,,,,f\n"
    )
    identities = 'provider_id,user_id,identity_data,provider\n1,1,"{}",email\n99,5,"{}",google\n'
    ada, bob, gone, anonymous, eve = read("supabase", "users.csv", header + rows, identities=identities)
    assert members(ada) == {
        "v": 1,
        "source_id": "1",
        "email": "ada@example.com",
        "email_verified": True,
        "created_at": 1_500_000_000,
    }
    assert password(ada) == BCRYPT
    assert members(bob)["disabled"] is True
    assert (gone.skipped, anonymous.skipped) == ("deleted", "anonymous")
    assert linked_of(eve) == {2: ("https://accounts.google.com", "99")}
    assert reason(eve) == "identity_provider_unknown"


def test_cognito(read: Callable[..., list[Record]]) -> None:
    """Cognito exports no hash. A line break in a quoted cell does not end a record."""
    text = (
        "sub,cognito:username,email,email_verified,enabled,name\n"
        's1,ada,ada@example.com,true,true,"Ada\nLovelace"\n'
        "s2,bob,bob@example.com,false,false,Bob\n"
        "s3,eve,,false,true,Eve\n"
    )
    ada, bob, eve = read("cognito", "users.csv", text)
    assert members(ada) == {
        "v": 1,
        "source_id": "s1",
        "email": "ada@example.com",
        "email_verified": True,
        "migrate": True,
    }
    assert members(bob)["disabled"] is True
    assert reason(eve) == "email_missing"


def test_better_auth(read: Callable[..., list[Record]]) -> None:
    """The tables are `user` and `account`, in either spelling of the columns. scrypt takes the hex text of the salt."""
    salt = "00112233445566778899aabbccddeeff"
    key = hashlib.scrypt(b"pw", salt=salt.encode(), n=16384, r=16, p=1, dklen=64, maxmem=2**26).hex()
    users = (
        "id,email,emailVerified,createdAt\nu1,ada@example.com,true,2017-07-14T02:40:00.000Z\nu2,eve@example.com,0,\n"
    )
    accounts = f"id,accountId,providerId,userId,password\n1,u1,credential,u1,{salt}:{key}\n2,g99,google,u2,\n"
    ada, eve = read("better-auth", "user.csv", users, account=accounts)
    assert members(ada)["created_at"] == 1_500_000_000
    assert members(ada)["email_verified"] is True
    assert read_hash(password(ada)).name == "scrypt-n14-r16-p1"
    assert read_hash(password(ada)).matches(b"pw")
    assert linked_of(eve) == {2: ("https://accounts.google.com", "g99")}
    assert reason(eve) == "identity_provider_unknown"
    snake = accounts.replace("accountId,providerId,userId", "account_id,provider_id,user_id")
    assert password(read("better-auth", "user.csv", users, account=snake)[0]) == password(ada)


@pytest.mark.parametrize(
    ("source", "text", "wrong"),
    [
        ("auth0", "[1]", "an account is not a JSON object"),
        ("auth0", '{"email": ', "not JSON, line 1"),
        ("auth0", '{"email": "a@example.com"}\n\n{"email": \n', "not JSON, line 3"),
        ("auth0", '[\n{"email": \n', "not JSON, line 3"),
        ("supabase", "mail\nx\n", "no column id"),
        ("better-auth", "id\n1\n", "account.csv is missing"),
    ],
)
def test_another_file_is_told(read: Callable[..., list[Record]], source: str, text: str, wrong: str) -> None:
    """The error names the first part that does not fit, and shows no value."""
    with pytest.raises(BadFile, match=wrong):
        read(source, "user.csv" if source == "better-auth" else "users.json", text)


def test_a_line_that_is_too_long_does_not_hide_the_next_one(read: Callable[..., list[Record]]) -> None:
    """The rest of the long line is skipped."""
    long = '{"v":1,"email":"a@example.com","source_id":"' + "x" * 100_000 + '"}'
    records = read("baton", "people.jsonl", f'{long}\n\n{{"v":1,"email":"b@example.com"}}')
    assert reason(records[0]) == "line_too_long"
    assert records[1].body == b'{"v":1,"email":"b@example.com"}'
    assert len(records) == 2
