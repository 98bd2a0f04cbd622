"""The comparison with other products: its computations, and its measurement of their stores and CPU times."""

import os
import re
import sqlite3
import sys
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any

import jwt
import pytest

from baton_client import DeviceKey
from bench.peers.doors import Door, Login, Said
from bench.peers.measure import LOGINS, RACES, THEFTS, Cost, Race, Result
from bench.peers.report import ALIKE, LIMITS, alive, markdown, noticed, printed, promises, times, winners
from bench.peers.stores import Kept, Sqlite
from bench.programs import DidNotStart, Processes, Program, free_port, spent

BUSY = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def result(name: str, store: str, *whole_us: float, rested_us: float | None = None) -> Result:
    """Make a result with these costs of busy rounds, 100 of them for HTTP, and the same or other rested costs."""
    busy = [Cost(whole, 100.0, 10.0) for whole in whole_us]
    rested = busy if rested_us is None else [Cost(rested_us, 100.0, 10.0) for _ in whole_us]
    races = [Race(1, 1, 0, 0)]
    retries = [Race(16, 1, 1, 0)] if store == "DynamoDB" else []
    return Result(name, store, rested, busy, Kept(3, 4096), races, retries, [True] * THEFTS)


ALL_OURS = [result(name, "DynamoDB", 600, 600, 1100) for name in dict.fromkeys(ALIKE.values())]
OURS = ALL_OURS[0]
PEERS = [result(name, store, 1100, 2100, 2100) for name, store in LIMITS]


def test_ratios_are_computed_for_each_round() -> None:
    """The result is the median of three ratios, not the ratio of medians. The cost of HTTP is subtracted from both."""
    theirs = result("simplejwt", "PostgreSQL", 1200, 2400, 1100)
    assert times(theirs.busy, OURS.busy) == pytest.approx(2.2)


@pytest.mark.parametrize(
    ("busy_us", "rested_us", "verdict"),
    [(1080, 1080, "reached"), (1070, 1080, "reached after a pause"), (1070, 1070, "not reached")],
)
def test_an_aim_is_judged_in_busy_rounds_without_http(busy_us: float, rested_us: float, verdict: str) -> None:
    """(1080 - 100) to (600 - 100) is shown as 2.0 and meets an aim of 2.

    If only rested rounds meet it, the page says so.
    """
    ours = result("Baton, oauth (rotating)", "DynamoDB", 600, 600, 600)
    [row] = promises([ours, result("oidc-provider", "SQLite", busy_us, busy_us, busy_us, rested_us=rested_us)])
    assert row[:2] == ("oidc-provider, SQLite", "Baton, oauth (rotating)")
    assert (row.busy, row.rested) == pytest.approx(((busy_us - 100) / 500, (rested_us - 100) / 500))
    assert (row.limit, row.verdict) == (2, verdict)


def test_the_first_rounds_of_a_turn_are_rested_and_the_last_are_busy() -> None:
    """The next turn is split in the same way."""
    one = Result("peer", "SQLite")
    for turn in (0, 100):
        one.add_turn([Cost(turn + number, 0, 0) for number in range(20)])
    assert [cost.whole_us for cost in one.rested] == [0, 1, 2, 100, 101, 102]
    assert [cost.whole_us for cost in one.busy] == [*range(15, 20), *range(115, 120)]


def test_results_of_races_are_shown_as_a_range() -> None:
    """If all races had the same result, one number is shown."""
    assert winners([Race(1, 1, 0, 0)] * 3) == "1"
    assert winners([Race(9, 9, 2, 0), Race(2, 2, 0, 1)]) == "2 to 9"
    assert alive([Race(9, 9, 2, 0), Race(2, 2, 0, 1)]) == "0 to 2"


@pytest.mark.parametrize(("seen", "told"), [([True] * 3, "yes"), ([False] * 3, "no"), ([True, False], "1 of 2")])
def test_a_theft_is_noticed_always_never_or_sometimes(seen: list[bool], told: str) -> None:
    """The text says which of the three is true."""
    assert noticed(Result("peer", "SQLite", thefts_noticed=seen)) == told


def test_there_is_a_login_for_each_measurement() -> None:
    """One login is rotated. Each race of rivals, each race of retries and each theft uses another login."""
    assert LOGINS == 1 + RACES + RACES + THEFTS


def test_the_page_and_the_lines_list_every_product() -> None:
    """They list every product, both kinds of race of Baton, every aim, and the limits of the comparison."""
    results = [*PEERS, *ALL_OURS]
    page, lines = markdown(results, {"Python": "3.11.7"}, "a day, a machine"), printed(results)
    for one in results:
        assert f"| {one.name} | {one.store_name} |" in page
        assert f"{one.name}, {one.store_name}" in lines
    assert page.count("one app repeating itself (16 answers") == len(ALL_OURS)
    assert page.count("| aim |") == 1
    assert len(re.findall(r"\| (?:not )?reached(?: after a pause)? \|", page)) == len(LIMITS)
    assert "Python 3.11.7" in page
    assert "## Limits of the comparison" in page


def test_a_missing_product_does_not_change_the_lines_of_others() -> None:
    """Without PostgreSQL, or without a database for Baton, the other lines are printed."""
    on_sqlite = [one for one in PEERS if one.store_name == "SQLite"]
    assert printed([*on_sqlite, *ALL_OURS]).count(" aim ") == len(on_sqlite)
    assert " aim " not in printed(PEERS)


def test_the_size_of_a_sqlite_database_is_measured(tmp_path: Path) -> None:
    """The result has the rows of all tables and the pages in use. Deleted rows free their pages."""
    store = Sqlite(tmp_path / "peer.db")
    with sqlite3.connect(store.file) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE tokens (token TEXT)")
        database.execute("CREATE TABLE grants (token TEXT)")
    before = store.kept()
    with sqlite3.connect(store.file) as database:
        database.executemany("INSERT INTO tokens VALUES (?)", [("x" * 1000,) for _ in range(100)])
        database.execute("INSERT INTO grants VALUES ('y')")
    grown = store.kept() - before
    assert grown.rows == 101
    assert 100_000 < grown.size_bytes < 150_000
    with sqlite3.connect(store.file) as database:
        database.execute("DELETE FROM tokens")
    assert (store.kept() - before).size_bytes < 10_000


class Bytes:
    """A replacement for a socket that has received all bytes."""

    def __init__(self, sent: bytes) -> None:
        """Store the bytes."""
        self.sent = sent

    def makefile(self, _: str) -> BytesIO:
        """Return the bytes as a file."""
        return BytesIO(self.sent)


@pytest.mark.parametrize("key", [None, DeviceKey.generate("p256")], ids=["bearer", "key-bound"])
def test_a_refresh_request_is_well_formed(key: DeviceKey | None) -> None:
    """The length is that of the form. Only a login with a key has a signature, which covers the attempt."""
    door = Door(8000, "/token", "app", parameter="refresh")
    head, body = door.refresh(Login("the token", key), attempt="a" * 16).split(b"\r\n\r\n")
    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert body == b"grant_type=refresh_token&refresh=the+token&client_id=app"
    assert (b"signature-input:" in head) == (key is not None)
    assert b"idempotency-key: aaaaaaaaaaaaaaaa" in head
    if key is not None:
        assert b'"idempotency-key")' in head


def test_a_key_is_proved_by_dpop_where_the_product_supports_it() -> None:
    """The proof is a JWT for this method and URL, signed by the key that it contains.

    Each proof is new (RFC 9449 section 4.2).
    """
    key = DeviceKey.generate("p256")
    door = Door(8000, "/token", "app", knows_dpop=True)
    heads = [door.refresh(Login("the token", key)).split(b"\r\n\r\n")[0].decode() for _ in range(2)]
    proofs = [re.search(r"^dpop: (.+)\r$", head, re.MULTILINE) for head in heads]
    said = []
    for proof in proofs:
        assert proof is not None
        header = jwt.get_unverified_header(proof[1])
        assert (header["typ"], header["alg"], header["jwk"]) == ("dpop+jwt", "ES256", key.jwk())
        said.append(jwt.decode(proof[1], jwt.PyJWK(header["jwk"], "ES256"), algorithms=["ES256"]))
    assert [(claims["htm"], claims["htu"]) for claims in said] == [("POST", "http://127.0.0.1:8000/token")] * 2
    assert said[0]["jti"] != said[1]["jti"]
    assert "signature" not in heads[0]


@pytest.mark.parametrize(
    ("status", "body", "child"),
    [
        (200, b'{"refresh_token": "next"}', "next"),
        (200, b'{"refresh": "next"}', "next"),
        (200, b'{"access_token": "only"}', None),
        (400, b'{"refresh_token": "next"}', None),
        (500, b"<html>", None),
        (200, b"[]", None),
    ],
)
def test_a_child_is_a_refresh_token_in_a_response_with_status_200(status: int, body: bytes, child: str | None) -> None:
    """The child may be in any member that a product uses. Any other answer does not count as a success."""
    assert Door(8000, "/token", "app").child(Said(status, body)) == child


def test_an_answer_is_read_with_a_length_and_with_chunks() -> None:
    """Django answers in chunks, and the other products send the length."""
    for framing in (b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"):
        socket: Any = Bytes(b"HTTP/1.1 200 OK\r\n" + framing)
        response = HTTPResponse(socket, method="POST")
        response.begin()
        assert response.read() == b"{}"


def test_the_cpu_time_of_a_program_includes_its_children() -> None:
    """The time of a running child counts. The time of the caller does not."""
    child = BUSY.format(seconds=0.1) + "print('{}', flush=True)\nsys.stdin.read()"
    # The child ends when the parent ends: its standard input is a pipe of the parent.
    child = f"import sys\n{child}"
    parent = (
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE).wait()"
    )
    with Program([sys.executable, "-c", parent]) as program:
        assert program.announced() == {}
        assert program.cpu_s() >= 0.1
        assert spent(program, _work) < 0.1
    assert spent(Processes([]), _work) == 0
    assert spent(Processes([os.getpid()]), _work) >= 0.1


def _work() -> None:
    exec(BUSY.format(seconds=0.1))  # noqa: S102 - a constant of the benchmark


def test_a_program_that_does_not_start_reports_its_last_line() -> None:
    """The last line usually has the remedy."""
    with (
        Program([sys.executable, "-c", "raise SystemExit('no room here')"]) as program,
        pytest.raises(DidNotStart, match="no room here"),
    ):
        program.announced()


def test_a_free_port_has_no_listener() -> None:
    """No program listens on the port."""
    assert 1024 < free_port() < 65536
