"""An import of 2,400 people (10,000 in ``make prove``) with six kinds of hashes, killed and resumed, on dynoxide.

Then each kind logs in.
"""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import argon2.low_level
import bcrypt
import pytest

from chalicelib.baton.factors.hashes import firebase_hash, scrypt_hash
from chalicelib.baton.factors.hashes.reading import b64
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.fixture import load_environment
from tests.baton.repository import ROOT
from tests.baton.wire.conversation import PASSWORD, Device, through
from tools.dev.gateway import DevelopmentClock, Gateway
from tools.operate import Operator

RATE = 5_000
WITHIN_S = 300
OPERATE = [sys.executable, "-m", "tools.operate"]


def hashes() -> dict[str, str]:
    """Return a hash of the password of each kind, by its name."""
    secret, salt, key = PASSWORD.encode(), b"sixteen bytes...", bytes(range(64))
    i = argon2.low_level.hash_secret(secret, salt, 1, 64, 1, 32, argon2.low_level.Type.I).decode()
    other = argon2.low_level.hash_secret(secret, salt, 1, 128, 1, 32, argon2.low_level.Type.ID).decode()
    cost = (10, 8, 1)
    pbkdf2 = hashlib.pbkdf2_hmac("sha256", secret, salt, 1000)
    return {
        "argon2i-m64-t1-p1": i,
        "argon2id-m128-t1-p1": other,
        "bcrypt4": bcrypt.hashpw(secret, bcrypt.gensalt(4)).decode(),
        "scrypt-n10-r8-p1": scrypt_hash.write(salt, scrypt_hash.derive(secret, salt, cost, 32), ln=10, r=8, p=1),
        "fbscrypt-n10-r8-p1": firebase_hash.write(
            salt, firebase_hash.derive(secret, salt, key, cost), signer_key=key, separator=b"", n=10, r=8
        ),
        "pbkdf2-sha256-1000": f"$pbkdf2-sha256$i=1000${b64(salt)}${b64(pbkdf2)}",
    }


def address(number: int) -> str:
    """Return the address of a person."""
    return f"person{number}@example.com"


def command(file: Path) -> list[str]:
    """Return the arguments of the import."""
    return ["import", str(file), "--from", "baton", "--rate", str(RATE)]


def operate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the operator in a process of its own."""
    return subprocess.run(
        [*OPERATE, *arguments], check=False, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S
    )


@pytest.mark.parametrize(
    ("people", "killed_after"),
    [
        pytest.param(2_400, 1_000, marks=pytest.mark.prove(ci=True)),
        pytest.param(10_000, 3_000, marks=pytest.mark.prove),
    ],
)
@pytest.mark.guarantee(8, 10)
def test_people_arrive_once_although_the_import_is_killed(
    shared_tables: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
    people: int,
    killed_after: int,
) -> None:
    """The test prints the counts and the rate of the resumed import. Each kind of hash logs in, and is replaced."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", shared_tables.prefix)
    load_environment(DevelopmentClock()).baton.key_ring.current(now=int(time.time()))  # makes the key ring
    kinds = hashes()
    file = tmp_path / "people.jsonl"
    with file.open("w") as out:
        for number in range(people):
            text = list(kinds.values())[number % len(kinds)]
            line = {"v": 1, "source_id": f"old|{number}", "email": address(number), "password": {"hash": text}}
            out.write(json.dumps(line) + "\n")
    progress = tmp_path / "people.jsonl.progress"

    def done() -> int:
        return int(json.loads(progress.read_text())["done"]) if progress.is_file() else 0

    first = subprocess.Popen([*OPERATE, *command(file)], cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + WITHIN_S
    while done() < killed_after:
        assert first.poll() is None, "the import ended before it was killed"
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.3)  # into the middle of a batch
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = done()
    begun = time.monotonic()
    second = operate(*command(file))
    seconds, rest = time.monotonic() - begun, people - before
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"resumed after {before:,} records" in second.stdout
    rows: list[dict[str, Any]] = [json.loads(line) for line in Path(f"{file}.result").read_text().splitlines()]
    outcomes = Counter(row["outcome"] for row in rows)
    assert [row["source_id"] for row in rows] == [f"old|{number}" for number in range(people)]
    assert len({row["account_id"] for row in rows}) == people
    assert set(outcomes) <= {"created", "unchanged"}
    assert 0 < outcomes["unchanged"] <= 1000  # one batch at most is repeated
    with capsys.disabled():
        sys.stderr.write(
            f"  import: {people:,} people, six kinds of hashes; killed after {before:,}; then {rest:,} in "
            f"{seconds:.1f} s, {rest / seconds:,.0f}/s; {outcomes['unchanged']:,} found again\n"
        )
    record_property("cases", people)
    log_in(kinds, [row["account_id"] for row in rows])
    counted = operate("hashes", "--read-units", "100000")
    assert counted.stdout.startswith(f"{people:,} accounts"), counted.stdout + counted.stderr
    for number, name in enumerate(kinds):
        here = len(range(number, people, len(kinds))) - 1
        assert f"{name} {here:,}" in " ".join(counted.stdout.split())


def log_in(kinds: Mapping[str, str], accounts: Sequence[str]) -> None:
    """Log in a person of each kind, twice: the second time with the new hash."""
    clock = DevelopmentClock()
    gateway = Gateway([load_environment(clock).app])
    place = Operator().place()
    users = Users(place.database)
    for number, name in enumerate(kinds):
        for _ in range(2):  # the second login compares with the new hash
            phone = Device(through(gateway), lambda: int(clock.time()))
            assert phone.login(address(number)).status == 200, name
        account = users.find(place.ring.email_index(address(number)))
        assert account == accounts[number]
        user = users.get(account)
        assert user is not None
        assert user.password_hash is not None
        assert place.ring.decrypt_for(user.password_hash, account=account).startswith(b"$argon2id$v=19$"), name
        assert user.credentials_version == 1
