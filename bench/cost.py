"""The AWS cost of a million operations and of a month, compared with the list prices of other products: ``make cost``.

``tools/prices.py`` has the formulas of the monthly bill. This module computes the bill for one operation at a time,
and for growing numbers of users. All prices are list prices. Free tiers and discounts of AWS are left out.
"""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from tools.prices import DAYS_A_MONTH, MILLION, TABLE, Habits, monthly, table

RESULTS = Path(__file__).parent / "results"
USERS = tuple(10**power for power in range(3, 9))
"""From a thousand to a hundred million users."""

NOTHING = Habits(devices=1.5, exchanges=0, safe_calls=0, changing_calls=0, logins_a_month=0, registrations_a_month=0)
OPERATIONS: Mapping[str, Habits] = {
    "exchange": replace(NOTHING, exchanges=1 / DAYS_A_MONTH),
    "signed safe call": replace(NOTHING, safe_calls=1 / DAYS_A_MONTH),
    "signed state-changing call": replace(NOTHING, changing_calls=1 / DAYS_A_MONTH),
    "login, known device": replace(NOTHING, logins_a_month=1),
    "registration": replace(NOTHING, registrations_a_month=1),
}
"""One operation of each kind in a month."""

EVERYTHING = Habits()
LOGIN_ALONE = replace(EVERYTHING, safe_calls=0, changing_calls=0)
"""The part that the other products offer: logins and renewals, without the calls to the app's own routes."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The list price of a product: steps, each with a number of users and the price of each user above this number."""

    name: str
    steps: tuple[tuple[int, float], ...]
    ask_from: int | None
    source: str
    read: date


def peers(text: str) -> list[Peer]:
    """Read the list prices."""
    rows: Mapping[str, Any] = tomllib.loads(text)["peers"]
    return [
        Peer(
            row["name"],
            tuple((step["from"], float(step["usd"])) for step in row["steps"]),
            row.get("ask_from"),
            row["source"],
            row["read"],
        )
        for row in rows.values()
    ]


def asked(peer: Peer, users: int) -> float | None:
    """Return the monthly price for a number of active users, or ``None`` if no price is public.

    Each step applies to the users above its start.
    """
    if peer.ask_from is not None and users >= peer.ask_from:
        return None
    before = (0.0, *(usd for _, usd in peer.steps))
    return sum(max(0, users - begin) * (usd - less) for (begin, usd), less in zip(peer.steps, before, strict=False))


def per_million(habits: Habits, prices: Mapping[str, float]) -> dict[str, float]:
    """Return each line of the bill of a million operations, minus the bill of an idle month.

    Stored data is not part of an operation. It is in the monthly bill.
    """
    idle = {line.what: line.usd for line in monthly(MILLION, prices, NOTHING)}
    return {line.what: line.usd - idle[line.what] for line in monthly(MILLION, prices, habits)}


def month(users: int, prices: Mapping[str, float], habits: Habits) -> float:
    """Return the cost of a month with all lines, firewall and alarms included."""
    return sum(line.usd for line in monthly(users, prices, habits))


GROUPS = {
    "DynamoDB": ("DynamoDB, writing", "DynamoDB, reading"),
    "Lambda": ("Lambda",),
    "API Gateway": ("API Gateway",),
    "the rest": ("KMS", "Logs", "Traffic out", "Firewall"),
}


def operations_table(prices: Mapping[str, float]) -> list[list[str]]:
    """Make the table with the cost of a million operations of each kind."""
    rows = [["a million of", *GROUPS, "in all"]]
    for name, habits in OPERATIONS.items():
        lines = per_million(habits, prices)
        groups = [sum(lines[what] for what in whats) for whats in GROUPS.values()]
        rows.append([name, *(f"{usd:.3f}" for usd in groups), f"{sum(lines.values()):.3f}"])
    return rows


def months_table(prices: Mapping[str, float], others: Sequence[Peer]) -> list[list[str]]:
    """Make the table of a month for growing numbers of users, Baton beside other products."""
    rows = [["users", "Baton, login alone", "Baton, every call", *(peer.name for peer in others)]]
    for users in USERS:
        ours = [month(users, prices, habits) for habits in (LOGIN_ALONE, EVERYTHING)]
        theirs = [asked(peer, users) for peer in others]
        rows.append([f"{users:,}", *(f"{usd:,.0f}" for usd in ours), *(_usd(usd) for usd in theirs)])
    return rows


def notes(others: Sequence[Peer], read_on: date, region: str) -> list[str]:
    """Explain the numbers, and name the source of each price."""
    habit = f"{EVERYTHING.exchanges:g} exchanges a day, {EVERYTHING.logins_a_month:g} login a month"
    calls = f"{EVERYTHING.safe_calls:g} safe and {EVERYTHING.changing_calls:g} changing calls a day"
    return [
        f"US dollars. Baton: AWS list prices of {region} as read on {read_on}, without free tiers. Each",
        "million has the same price, although API Gateway is cheaper above 333 million a month.",
        f"A user: {habit}; every call: {calls} go through Baton's gateway too. Estimates: tools/prices.py, Habits.",
        "The other products count active users and do not carry an app's own calls. They send mail and",
        "messages, and have a console and support. The time of Baton's operators is not included.",
        "Their pages were read in public transcriptions and stored copies: check the source before a decision.",
        *(f"{peer.name}: list price as published on {peer.source}, read {peer.read}." for peer in others),
    ]


def printed(rows: Sequence[Sequence[str]]) -> str:
    """Align a table for a terminal: names left, numbers right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    )


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table for a page."""
    head, *rest = rows
    rule = ["---", *("--:" for _ in head[1:])]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *rest)]


def picture(prices: Mapping[str, float], others: Sequence[Peer], file: Path) -> None:
    """Draw the cost of a month for a thousand to a hundred million users."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - slow to import

    from bench import drawing  # noqa: PLC0415 - it imports matplotlib

    figure, axes = plt.subplots(figsize=(10, 5.2), layout="constrained")
    many = [round(10 ** (power / 40)) for power in range(120, 321)]
    for habits, name, style in ((LOGIN_ALONE, "Baton, login alone", "-"), (EVERYTHING, "Baton, every call", "--")):
        spent = [month(users, prices, habits) for users in many]
        axes.plot(many, spent, style, color=drawing.OURS, linewidth=3)
        axes.annotate(f"  {name}", (many[-1], spent[-1]), va="top", color=drawing.OURS, weight="bold")
    colours = (drawing.THEIRS, drawing.THEIRS, drawing.SECOND, drawing.INK, drawing.THIRD)
    for peer, colour in zip(others, colours, strict=True):
        shown = [(users, usd) for users in many if (usd := asked(peer, users))]
        if shown:
            axes.plot([users for users, _ in shown], [usd for _, usd in shown], color=colour)
            if shown[-1][0] < USERS[-1]:  # the line ends among other lines: place its name in a free area
                lead = {"arrowstyle": "-", "color": colour, "linewidth": 0.8}
                axes.annotate(
                    peer.name, shown[-1], (40, -80), textcoords="offset points", color=colour, arrowprops=lead
                )
            else:
                axes.annotate(f"  {peer.name}", shown[-1], va=_beside(peer, others), color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(many[0], many[-1] * 1.02)
    axes.set_ylim(bottom=10)
    axes.set_xticks(USERS, ["1 k", "10 k", "100 k", "1 M", "10 M", "100 M"])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda usd, _: f"${usd:,.0f}")
    axes.set_title("A month, US dollars, by active users (list prices)")
    drawing.gridded(axes)
    drawing.keep(figure, file)
    plt.close(figure)


def _beside(peer: Peer, others: Sequence[Peer]) -> str:
    """Return the side of a line for its name: above for the most expensive product, below for the other products."""
    dearest = max(others, key=lambda other: asked(other, USERS[-1]) or 0)
    return "bottom" if peer is dearest else "top"


def _usd(usd: float | None) -> str:
    return "ask them" if usd is None else "free" if not usd else f"{usd:,.0f}"


def page() -> str:
    """Return the text of ``bench/results/cost.md``."""
    read_on, region, prices = table()
    others = peers(TABLE.read_text("utf-8"))
    operations, months = markdown(operations_table(prices)), markdown(months_table(prices, others))
    said = [f"- {line}" for line in _joined(notes(others, read_on, region))]
    head = [
        "# What Baton costs",
        "",
        "By `make cost UPDATE=1`, from `infra/prices.toml`.",
        "",
        "![A month](cost.svg)",
        "",
    ]
    return "\n".join([*head, *operations, "", *months, "", *said, ""])


def main(arguments: Sequence[str] = ()) -> int:
    """Print both tables. With ``--update``, write the page and the figure."""
    read_on, region, prices = table()
    others = peers(TABLE.read_text("utf-8"))
    operations, months = printed(operations_table(prices)), printed(months_table(prices, others))
    print("\n\n".join([operations, months, "\n".join(notes(others, read_on, region))]))
    if "--update" in arguments:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "cost.md").write_text(page(), "utf-8")
        picture(prices, others, RESULTS / "cost.svg")
        print("\nwritten: bench/results/cost.md, bench/results/cost.svg")
    elif (RESULTS / "cost.md").read_text("utf-8") != page():
        print("\nbench/results/cost.md differs. next: make cost UPDATE=1")
    return 0


def _joined(lines: Sequence[str]) -> list[str]:
    """Join lines into sentences."""
    return [f"{detail}." for detail in " ".join(lines).removesuffix(".").split(". ")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
