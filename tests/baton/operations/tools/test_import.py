"""`operate import`: the account of each line, refused lines, repetitions, a crash, and the report."""

import base64
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.hashes import argon2_hash, pbkdf2_hash
from chalicelib.baton.factors.hashes.reading import b64
from chalicelib.baton.factors.totp import code_at, step_at
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import PASSWORD, Device, through
from tools.dev.gateway import DevelopmentClock, Gateway
from tools.moving import run as running
from tools.moving.pace import Pace
from tools.operate import Operator, main

EMAIL = "ada@example.com"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def bring(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Write a file of lines, and import it."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)

    def bring(*lines: object, name: str = "people.jsonl", options: tuple[str, ...] = ()) -> int:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / name).write_text("".join(f"{text}\n" for text in texts))
        return again(name, options)

    def again(name: str = "people.jsonl", options: tuple[str, ...] = ()) -> int:
        return main(["import", str(tmp_path / name), "--from", "baton", "--rate", "100000", *options])

    bring.again = again  # type: ignore[attr-defined] # the same file once more
    return bring


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Read the result of the import."""

    def read(name: str = "people.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (tmp_path / f"{name}.result").read_text().splitlines()]

    return read


def line(email: str = EMAIL, **members: object) -> dict[str, object]:
    """Return a line."""
    return {"v": 1, "source_id": f"old|{email}", "email": email, **members}


def stored_hash(email: str) -> str:
    """Return the password hash of an account, decrypted."""
    place = Operator().place()
    users = Users(place.database)
    account = users.find(place.ring.email_index(email))
    assert account is not None
    user = users.get(account)
    assert user is not None
    assert user.password_hash is not None
    return place.ring.decrypt_for(user.password_hash, account=account).decode()


def test_an_imported_person_logs_in_with_the_old_password_and_the_hash_is_replaced(
    bring: Callable[..., int], make_device: Callable[..., Device], results: Callable[..., list[dict[str, Any]]]
) -> None:
    """The account is as in the file. The second login compares with Baton's own hash."""
    assert bring(line(password={"hash": HASH}, email_verified=True, created_at=1_500_000_000)) == 0
    (result,) = results()
    assert (result["source_id"], result["outcome"]) == (f"old|{EMAIL}", "created")
    assert stored_hash(EMAIL) == HASH
    assert make_device().login(EMAIL, password="another password entirely").code == "invalid_credentials"
    phone = make_device()
    assert phone.login(EMAIL).status == 200
    shown = phone.get("/me").members
    assert shown["account_id"] == result["account_id"]
    assert shown["email_verified"] is True
    assert stored_hash(EMAIL).startswith("$argon2id$")
    assert make_device().login(EMAIL).status == 200


def test_a_disabled_person_stays_disabled(bring: Callable[..., int], make_device: Callable[..., Device]) -> None:
    """The right password is refused like a wrong password, until an operator enables the account."""
    assert bring(line(password={"hash": HASH}, disabled=True)) == 0
    assert make_device().login(EMAIL).code == "invalid_credentials"
    assert main(["enable", EMAIL]) == 0
    assert make_device().login(EMAIL).status == 200


def test_a_person_without_a_password_has_none(
    bring: Callable[..., int], make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every password is wrong, also the empty password, and the address cannot be registered again."""
    assert bring(line()) == 0
    assert "people without a password set one by mail: POST /password/forgot" in capsys.readouterr().out
    assert make_device().login(EMAIL).code == "invalid_credentials"
    assert make_device().login(EMAIL, password="").status in {400, 401}
    assert make_device().register(EMAIL).code == "account_exists"


@pytest.mark.parametrize("length", [10, 20])
def test_an_authenticator_app_is_asked_for_and_its_codes_are_right(
    bring: Callable[..., int], make_device: Callable[..., Device], length: int
) -> None:
    """`totp` switches the second factor on. Secrets of 10 bytes, which some systems use, are accepted."""
    secret = secrets.token_bytes(length)
    totp = {"secret": base64.b32encode(secret).decode().rstrip("=").lower()}
    assert bring(line(password={"hash": HASH}, email_verified=True, totp=totp)) == 0
    phone = make_device()
    asked = phone.login(EMAIL)
    assert asked.code == "factor_required"
    assert asked.members["factors"] == ["totp"]
    session = asked.members["auth_session"]
    wrong = phone.post("/login/factor", {"auth_session": session, "totp": "000000"}, token=None)
    assert wrong.code == "invalid_factor"
    code = code_at(secret, step_at(int(time.time())))
    proved = phone.post("/login/factor", {"auth_session": session, "totp": code}, token=None)
    assert proved.status == 200


REFUSED = {
    "not json": "malformed",
    '{"v":2,"email":"a@example.com"}': "malformed",
    '{"v":1,"email":"a@example.com","phone":"+49"}': "malformed",
    '{"v":1,"email":"a@example.com","email_verified":"yes"}': "malformed",
    '{"v":1}': "email_missing",
    '{"v":1,"email":"a@b"}': "email_invalid",
    '{"v":1,"email":"a@example.com","identities":[{"provider":"google","sub":"1"}]}': "identity_provider_unknown",
    '{"v":1,"email":"a@example.com","created_at":99999999999}': "created_at_invalid",
    '{"v":1,"email":"a@example.com","created_at":-1}': "created_at_invalid",
    '{"v":1,"email":"a@example.com","password":{"hash":"$2b$14$' + HASH[7:] + '"}}': "hash_too_costly",
    '{"v":1,"email":"a@example.com","password":{"hash":"5f4dcc3b5aa765d61d8327deb882cf99"}}': "hash_unknown",
    '{"v":1,"email":"a@example.com","migrate":true,"password":{"hash":"' + HASH + '"}}': "password_and_migrate",
    '{"v":1,"email":"a@example.com","totp":{"secret":"GEZDGNBVGY3TQOJQ"}}': "totp_unverified",
    '{"v":1,"email":"a@example.com","email_verified":true,"totp":{"secret":"GEZDGNBVGY3TQOJQ","digits":8}}': (
        "totp_unsupported"
    ),
    '{"v":1,"email":"a@example.com","email_verified":true,"totp":{"secret":"GEZDGNBV"}}': "totp_invalid",
    '{"v":1,"email":"a@example.com","email_verified":true,"totp":{"secret":"1!"}}': "totp_invalid",
    '{"v":1,"email":"a@example.com","source_id":"' + "x" * 257 + '"}': "source_id_too_long",
    '{"v":1,"email":"a@example.com","source_id":"' + "x" * 20_000 + '"}': "line_too_long",
}


def test_each_refusal_has_its_reason_and_the_other_lines_are_imported(
    bring: Callable[..., int],
    results: Callable[..., list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
    make_device: Callable[..., Device],
) -> None:
    """The exit code is 3. Nothing of a refused line is stored, and no hash is printed."""
    assert bring(*REFUSED, line(password={"hash": HASH})) == 3
    assert [one.get("reason", "") for one in results()] == [*REFUSED.values(), ""]
    assert make_device().register("a@example.com").status == 201
    assert make_device().login(EMAIL).status == 200
    out = capsys.readouterr().out
    assert f"  refused          {len(REFUSED)}" in out
    assert "remedy: refused: identity_provider_unknown" in out
    assert 'next: read the lines of people.jsonl.result whose outcome is "refused" or "conflict"' in out
    assert HASH[7:] not in out
    assert all(HASH[7:] not in json.dumps(one) for one in results())


def test_a_repeated_line_is_unchanged_and_an_existing_account_is_never_changed(
    bring: Callable[..., int], results: Callable[..., list[dict[str, Any]]], make_device: Callable[..., Device]
) -> None:
    """Neither its password nor its status changes."""
    make_device().register("bob@example.com")
    lines = (line(password={"hash": HASH}), line("Bob@example.com", password={"hash": HASH}, disabled=True))
    assert bring(*lines) == 3
    first, conflict = results()
    assert (conflict["outcome"], conflict["reason"], "account_id" in conflict) == ("conflict", "address_taken", False)
    stored = stored_hash(EMAIL)
    changed = line(password={"hash": HASH.replace("$04$", "$05$")}, disabled=True)
    assert bring(changed, name="again.jsonl") == 0
    assert stored_hash(EMAIL) == stored
    assert make_device().login(EMAIL).status == 200
    assert make_device().login("bob@example.com").status == 200
    assert bring(*lines, name="third.jsonl") == 3
    assert first["account_id"]


def test_two_people_with_one_address_are_not_merged(
    bring: Callable[..., int], results: Callable[..., list[dict[str, Any]]]
) -> None:
    """Two accounts of the other system have spellings of one address. The second account is a conflict."""
    assert bring(line("ada@example.com"), line("ADA@example.com")) == 3
    assert sorted(one["outcome"] for one in results()) == ["conflict", "created"]


def test_a_deleted_account_does_not_come_back(
    bring: Callable[..., int], results: Callable[..., list[dict[str, Any]]], make_device: Callable[..., Device]
) -> None:
    """The person deleted the account after the first import."""
    assert bring(line(password={"hash": HASH})) == 0
    assert main(["delete", EMAIL]) == 0
    assert bring(line(password={"hash": HASH}), line("new@example.com"), name="again.jsonl") == 3
    assert [(one["outcome"], one.get("reason")) for one in results("again.jsonl")] == [
        ("refused", "account_deleted"),
        ("created", None),
    ]
    assert make_device().login(EMAIL).code == "invalid_credentials"


def test_a_dry_run_judges_everything_and_writes_nothing(
    bring: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], make_device: Callable[..., Device]
) -> None:
    """It prints the counts of each outcome and kind of hash."""
    make_device().register("bob@example.com")
    capsys.readouterr()
    lines = (line(password={"hash": HASH}), line("bob@example.com"), '{"v":1}')
    assert bring(*lines, options=("--dry-run",)) == 3
    out = capsys.readouterr().out
    assert "dry run: 3 records would be imported" in out
    assert [" ".join(row.split()) for row in out.splitlines() if row.startswith("  ")] == [
        "conflict 1",
        "created 1",
        "refused 1",
        "conflict: address_taken 1",
        "refused: email_missing 1",
        "bcrypt4 1",
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["people.jsonl"]
    assert make_device().login(EMAIL).code == "invalid_credentials"


class TestResuming:
    """The file ``FILE.progress``."""

    LINES = tuple(line(f"person{number}@example.com") for number in range(25))

    def test_a_crash_between_result_and_progress_repeats_one_batch(
        self,
        bring: Callable[..., int],
        results: Callable[..., list[dict[str, Any]]],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Each record has one line of the result, and the counts are those of the whole file."""
        monkeypatch.setattr(running, "BATCH", 10)
        replaced: list[Path] = []
        replace = Path.replace

        def crash(path: Path, target: Path) -> Path:
            replaced.append(path)
            if len(replaced) == 2:
                raise KeyboardInterrupt
            return replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", crash)
            with pytest.raises(KeyboardInterrupt):
                bring(*self.LINES)
        assert len(results()) == 20
        assert json.loads((tmp_path / "people.jsonl.progress").read_text())["done"] == 10
        capsys.readouterr()
        assert bring.again() == 0  # type: ignore[attr-defined] # above
        out = capsys.readouterr().out
        assert "resumed after 10 records" in out
        assert "25 records done, 15 of them in this run" in out
        ids = [one["source_id"] for one in results()]
        assert ids == [one["source_id"] for one in self.LINES]
        assert [one["outcome"] for one in results()] == ["created"] * 10 + ["unchanged"] * 10 + ["created"] * 5

    def test_a_finished_import_does_nothing_more(
        self,
        bring: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        results: Callable[..., list[dict[str, Any]]],
    ) -> None:
        """It prints the report again."""
        assert bring(*self.LINES) == 0
        before = results()
        capsys.readouterr()
        assert bring.again() == 0  # type: ignore[attr-defined] # above
        assert "25 records done, 0 of them in this run" in capsys.readouterr().out
        assert results() == before

    def test_the_progress_of_another_file_is_refused(
        self, bring: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Otherwise the records of this file would be skipped."""
        assert bring(*self.LINES) == 0
        assert bring(line("other@example.com")) == 1
        assert "is of another file or source" in capsys.readouterr().err


def test_the_rate_is_halved_while_dynamodb_refuses_writes(
    bring: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused write is repeated, and no account is lost."""
    transact, calls = DynamoDB.transact, [0]

    def refused(database: DynamoDB, *writes: Any) -> None:
        calls[0] += 1
        if calls[0] <= 3:
            raise Unavailable("dynamodb transact_write_items: ThrottlingException")
        transact(database, *writes)

    monkeypatch.setattr(DynamoDB, "transact", refused)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert bring(*(line(f"person{number}@example.com") for number in range(5))) == 0
    out = capsys.readouterr().out
    assert "the rate was halved" in out
    assert "  created           5" in out


def test_a_pace_is_halved_once_a_second_and_raised_slowly() -> None:
    """The pace is never higher than at the beginning, and never zero."""
    now = [0.0]
    pauses: list[float] = []
    pace = Pace(100.0, monotonic=lambda: now[0], pause=pauses.append)
    for _ in range(3):
        pace.wait()
    assert pauses == pytest.approx([0.01, 0.02])
    pace.throttled()
    pace.throttled()
    assert (pace.rate, pace.halved) == (50.0, 1)
    for _ in range(20):
        now[0] += 1.5
        pace.throttled()
    assert pace.rate == 1.0
    for _ in range(40):
        now[0] += 31
        pace.wait()
    assert pace.rate == 100.0


def test_the_hashes_of_a_deployment_are_counted_and_the_decoys_printed(
    bring: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    make_device: Callable[..., Device],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The printed setting keeps the shares after the import."""
    pbkdf2 = f"$pbkdf2-sha256$i=1000${b64(b'salt')}${b64(b'x' * 32)}"
    assert pbkdf2_hash.read(pbkdf2).rounds == 1000
    assert (
        bring(
            line(password={"hash": HASH}),
            line("eve@example.com", password={"hash": pbkdf2}),
            line("grace@example.com", migrate=True),
        )
        == 0
    )
    make_device().register("bob@example.com")
    capsys.readouterr()
    assert main(["hashes"]) == 0
    assert "next: set BATON_DECOYS=bcrypt4=25/25,pbkdf2-sha256-1000=25/25" in capsys.readouterr().out
    make_device().login(EMAIL)
    monkeypatch.setenv("BATON_DECOYS", "bcrypt4=25/25,pbkdf2-sha256-1000=25/25")
    assert main(["hashes"]) == 0
    out = capsys.readouterr().out
    assert "next: set BATON_DECOYS=bcrypt4=0/25,pbkdf2-sha256-1000=25/25" in out
    assert out.startswith("4 accounts\n")
    monkeypatch.setenv("BATON_DECOYS", "bcrypt4=0/25,pbkdf2-sha256-1000=25/25")
    assert main(["hashes"]) == 0
    out = capsys.readouterr().out
    assert "ok: BATON_DECOYS has the right value: bcrypt4=0/25,pbkdf2-sha256-1000=25/25" in out


def test_an_unknown_address_imitates_the_hashes_of_the_others(
    tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `BATON_DECOYS=bcrypt4=100`, bcrypt runs for an unknown address, and Argon2 does not."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    seen: list[bytes] = []
    checkpw = bcrypt.checkpw

    def noticed(password: bytes, stored: bytes) -> bool:
        seen.append(stored[:7])
        return checkpw(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", noticed)
    monkeypatch.setattr(argon2_hash.Argon2, "matches", lambda *_: pytest.fail("argon2"))
    monkeypatch.setenv("BATON_DECOYS", "bcrypt4=100")
    phone = Device(through(Gateway([load_environment(clock).app])), lambda: int(clock.time()))
    assert phone.login("nobody@example.com").code == "invalid_credentials"
    assert seen == [b"$2b$04$"]


def test_bad_arguments_and_files_are_told(bring: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 for an invalid file, and 2 for an invalid argument."""
    assert main(["import", "/nowhere/people.jsonl", "--from", "baton"]) == 1
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as usage:
        main(["import", "people.jsonl", "--from", "elsewhere"])
    assert usage.value.code == 2
    assert bring(options=("--rate", "1")) == 0
