"""Costs in dollars, computed by hand and by the formulas."""

import re
from datetime import date
from pathlib import Path

import pytest

from bench import cost
from bench.cost import EVERYTHING, LOGIN_ALONE, OPERATIONS, USERS, Peer, asked, month, months_table, peers, per_million
from tests.baton.proofs.engines.test_cost import GOLDEN
from tools.prices import MILLION, TABLE, monthly, table, work

PRICES = table()[2]
OTHERS = {peer.name: peer for peer in peers(TABLE.read_text("utf-8"))}

MEASURED = {
    "exchange": "exchange",
    "signed safe call": "a signed safe call",
    "signed state-changing call": "a signed state-changing call",
    "login, known device": "a known device",
    "registration": "a new account",
}
"""Each priced operation, and its row in the golden cost table, which was measured on an engine that counts capacity."""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_priced_units_are_the_measured_units(operation: str) -> None:
    """The write and read units of one operation are those of the golden table, with its audit entry.

    The second row, in which a login replaces an active login, is rare and has no price.
    """
    row = re.search(rf"\s{re.escape(MEASURED[operation])}\s+(\d+)\s+(\d+)\s+\d+\s+(\d+)\s", GOLDEN)
    assert row is not None
    done = work(1, OPERATIONS[operation])
    assert (done.write_units, done.read_units) == pytest.approx((int(row[1]) + min(int(row[3]), 1), int(row[2])))
    assert done.requests == pytest.approx(1)


def test_a_million_exchanges_have_the_cost_of_the_design() -> None:
    """$0.625 for DynamoDB writes, $0 for reads, and $3.50 for API Gateway."""
    lines = per_million(OPERATIONS["exchange"], PRICES)
    assert lines["DynamoDB, writing"] == pytest.approx(0.625)
    assert lines["DynamoDB, reading"] == pytest.approx(0, abs=1e-9)
    assert lines["API Gateway"] == pytest.approx(3.50)


@pytest.mark.parametrize("what", ["DynamoDB, kept", "Metrics", "Alarms, dashboard"])
def test_fixed_costs_are_not_part_of_an_operation(what: str) -> None:
    """Storage and monitoring are in the monthly bill, and in the cost of no operation."""
    assert monthly(MILLION, PRICES)[0].usd > 0
    assert all(per_million(habits, PRICES)[what] == pytest.approx(0) for habits in OPERATIONS.values())


def test_the_operations_add_up_to_the_monthly_cost() -> None:
    """The cost of a month is the cost of an idle month plus the cost of each operation."""
    done = work(MILLION, EVERYTHING)
    often = (done.exchanges, done.safe_calls, done.changing_calls, done.logins, done.registrations)
    added = sum(
        times / MILLION * sum(per_million(habits, PRICES).values())
        for times, habits in zip(often, OPERATIONS.values(), strict=True)
    )
    nothing = {line.what: line.usd for line in monthly(MILLION, PRICES, next(iter(OPERATIONS.values())))}
    idle = sum(nothing.values()) - sum(per_million(next(iter(OPERATIONS.values())), PRICES).values())
    assert month(MILLION, PRICES, EVERYTHING) == pytest.approx(idle + added)


def test_logins_cost_less_than_logins_and_all_calls() -> None:
    """The test compares the costs for each number of users."""
    for users in USERS:
        assert month(users, PRICES, LOGIN_ALONE) < month(users, PRICES, EVERYTHING)


@pytest.mark.parametrize(
    ("name", "users", "usd"),
    [
        ("Cognito Essentials", 10_000, 0),
        ("Cognito Essentials", 10_001, 0.015),
        ("Cognito Essentials", 1_000_000, 990_000 * 0.015),
        # The worked example on Cognito's page ends with 850,000 users at $0.0046.
        ("Cognito Lite", 950_000, 90_000 * 0.0055 + 850_000 * 0.0046),
        ("Cognito Lite", 1_000_001, None),
        ("Firebase (Identity Platform)", 50_000, 0),
        ("Firebase (Identity Platform)", 100_000, 50_000 * 0.0055),
        ("Firebase (Identity Platform)", 1_000_000, 50_000 * 0.0055 + 900_000 * 0.0046),
        ("Firebase (Identity Platform)", 10_000_000, 275 + 4_140 + 9_000_000 * 0.0032),
        ("Firebase (Identity Platform)", 100_000_000, 275 + 4_140 + 28_800 + 90_000_000 * 0.0025),
        ("Auth0 Free", 25_000, 0),
        ("Auth0 Free", 25_001, None),
        ("SuperTokens managed", 4_999, 0),
        ("SuperTokens managed", 1_000_000, 995_000 * 0.02),
    ],
)
def test_list_prices_equal_those_computed_by_hand(name: str, users: int, usd: float | None) -> None:
    """Each price step applies only to the users above its start."""
    assert asked(OTHERS[name], users) == (usd if usd is None else pytest.approx(usd))


def test_a_missing_price_step_is_noticed() -> None:
    """A seeded fault: without its last step, ten million users would cost more."""
    whole = OTHERS["Firebase (Identity Platform)"]
    shorter = Peer(whole.name, whole.steps[:-1], whole.ask_from, whole.source, whole.read)
    before, after = asked(whole, 100_000_000), asked(shorter, 100_000_000)
    assert before is not None
    assert after is not None
    assert after > before


def test_every_list_price_has_a_source() -> None:
    """The source is a page and a day. Each price step starts at more users than the previous step."""
    assert len(OTHERS) == len(peers(TABLE.read_text("utf-8"))) >= 5
    for peer in OTHERS.values():
        assert peer.source.startswith("https://")
        assert isinstance(peer.read, date)
        begins = [begin for begin, _ in peer.steps]
        assert begins == sorted(set(begins))


def test_a_product_without_a_public_price_has_no_price() -> None:
    """The table shows neither zero nor an estimate."""
    rows = months_table(PRICES, list(OTHERS.values()))
    auth0 = rows[0].index("Auth0 Free")
    assert [row[auth0] for row in rows[1:]] == ["free", "free", *["ask them"] * 4]


STALE = "bench/results/cost.* is not current. remedy: make cost UPDATE=1"


def test_the_stored_page_is_current() -> None:
    """A new alarm in the template changes the costs, so the page must change in the same commit."""
    assert (cost.RESULTS / "cost.md").read_text("utf-8") == cost.page(), STALE


def test_the_stored_figure_is_current(tmp_path: Path) -> None:
    """The drawing is the same. Its numbers may differ in the last digits between processors."""
    cost.picture(PRICES, list(OTHERS.values()), tmp_path / "cost.svg")
    stored, drawn = ((folder / "cost.svg").read_text("utf-8") for folder in (cost.RESULTS, tmp_path))
    number = re.compile(r"-?\d+\.\d+")
    assert number.sub("#", stored) == number.sub("#", drawn), STALE
    for before, now in zip(number.findall(stored), number.findall(drawn), strict=True):
        assert float(before) == pytest.approx(float(now), abs=0.1), STALE


def test_make_cost_writes_only_with_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: every run changed tracked files."""
    monkeypatch.setattr(cost, "RESULTS", tmp_path)
    (tmp_path / "cost.md").write_text("earlier", "utf-8")
    assert cost.main([]) == 0
    assert "differs. next: make cost UPDATE=1" in capsys.readouterr().out
    assert [(file.name, file.read_text("utf-8")) for file in tmp_path.iterdir()] == [("cost.md", "earlier")]
    assert cost.main(["--update"]) == 0
    assert (tmp_path / "cost.md").read_text("utf-8") == cost.page()
    assert (tmp_path / "cost.svg").exists()
    capsys.readouterr()
    assert cost.main([]) == 0
    assert "differs" not in capsys.readouterr().out
