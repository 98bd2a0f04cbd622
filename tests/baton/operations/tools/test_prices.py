"""The costs of a month, computed by hand and by the formulas."""

import tomllib
from dataclasses import replace
from datetime import date

import pytest

from tools.prices import MILLION, TABLE, Habits, Work, bill, monthly, stored_gb, table, work

PRICES = table()[2]
NOTHING = Habits(0, 0, 0, 0, 0, 0)


def costs(users: int, habits: Habits = Habits(), **named: int) -> dict[str, float]:  # noqa: B008 - a frozen value
    """Return the costs of each line."""
    return {line.what: line.usd for line in monthly(users, PRICES, habits, **named)}


def test_a_million_exchanges_have_the_cost_of_the_design() -> None:
    """They cost $0.625 for DynamoDB and $3.50 for API Gateway, and read nothing."""
    habits = replace(NOTHING, exchanges=1)
    assert work(100_000, habits).exchanges == 3 * MILLION
    bill_ = costs(100_000, habits)
    assert bill_["DynamoDB, writing"] == pytest.approx(3 * 0.625)
    assert bill_["DynamoDB, reading"] == 0
    assert bill_["API Gateway"] == pytest.approx(3 * 3.50)


def test_the_units_are_those_of_the_capacity_table() -> None:
    """Each operation alone: an exchange, a safe call, a changing call, a login and a registration."""
    assert (Work(1, 0, 0, 0, 0).write_units, Work(1, 0, 0, 0, 0).read_units) == (1, 0)
    assert (Work(0, 1, 0, 0, 0).write_units, Work(0, 1, 0, 0, 0).read_units) == (0, 1)
    assert (Work(0, 0, 1, 0, 0).write_units, Work(0, 0, 1, 0, 0).read_units) == (1, 1)
    assert (Work(0, 0, 0, 1, 0).write_units, Work(0, 0, 0, 1, 0).read_units) == (4, 3)
    assert (Work(0, 0, 0, 0, 1).write_units, Work(0, 0, 0, 0, 1).read_units) == (8, 0)
    assert Work(1, 2, 3, 4, 5).requests == 15


def test_an_idle_month_has_only_fixed_costs() -> None:
    """The costs are those of keys, metrics, the firewall and the alarms."""
    standing = {what: usd for what, usd in costs(0).items() if usd > 0.1}
    assert standing.keys() == {"KMS", "Metrics", "Firewall", "Alarms, dashboard"}
    assert standing["KMS"] == pytest.approx(2 * 1.00 + 3 * 12 * 24 * 30 / 10_000 * 0.03)
    assert standing["Firewall"] == 5 + 6
    assert standing["Metrics"] == 30 * 0.30


def test_twice_the_memory_costs_twice_the_seconds() -> None:
    """Only the Lambda line doubles, without its cost of requests."""
    requests = work(1000, Habits()).requests / MILLION * 0.20
    once, twice = (costs(1000, memory_mb=memory)["Lambda"] - requests for memory in (1024, 2048))
    assert twice == pytest.approx(2 * once)
    assert once == pytest.approx(work(1000, Habits()).busy_s * 0.0000133334)


def test_more_users_never_cost_less() -> None:
    """Each line of the bill is compared."""
    for fewer, more in ((0, 1), (1, 100), (100, 1_000_000)):
        assert all(costs(more)[what] >= usd for what, usd in costs(fewer).items())


def test_a_million_accounts_fit_into_a_few_gigabytes() -> None:
    """An exchange adds no item."""
    assert 3 < stored_gb(MILLION, Habits()) < 5
    assert stored_gb(MILLION, replace(Habits(), exchanges=1e6)) == stored_gb(MILLION, Habits())


@pytest.mark.parametrize("name", sorted(PRICES))
def test_every_price_is_used(name: str) -> None:
    """A price without a use means that a line of the bill is missing."""
    dearer = {**PRICES, name: PRICES[name] + 1}
    assert sum(line.usd for line in monthly(1000, dearer)) > sum(line.usd for line in monthly(1000, PRICES))


def test_every_price_has_a_source_and_a_date() -> None:
    """The source is the page, and the date is the day on which it was read."""
    parsed = tomllib.loads(TABLE.read_text("utf-8"))
    assert isinstance(parsed["read_on"], date)
    for row in parsed["prices"].values():
        assert row.keys() == {"usd", "source"}
        assert row["source"].startswith("https://aws.amazon.com/")


def test_the_total_is_the_sum_of_the_lines() -> None:
    """The printed total is the sum of the printed, rounded amounts."""
    shown = bill(10_000).splitlines()
    amounts = [float(line.split()[-1].replace(",", "")) for line in shown if line and line.split()[-1][-3:-2] == "."]
    assert amounts[9] == pytest.approx(sum(amounts[:9]), abs=0.05)
    assert amounts[-1] == pytest.approx(sum(amounts[:9]) + sum(amounts[10:-1]), abs=0.05)
    assert "10,000 active accounts" in shown[-2]
