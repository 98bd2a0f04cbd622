"""Count the results of the simulation for each refresh mechanism, and draw them: ``make figures``.

The numbers are stored beside the figure. A test draws them again and compares the bytes.
"""

import json
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy

from chalicelib.baton.policy import DAY_S, HOUR_S, MINUTE_S
from tests.baton.proofs.relay.simulation import CAUSES, Deal, Theft, robbery, ruses, week

FOLDER: Final = Path(__file__).parents[4] / "docs" / "baton" / "figures"
NUMBERS: Final = FOLDER / "relay.json"
PICTURE: Final = FOLDER / "relay.svg"

PHONES, THIEVES, DAYS = 400, 25, 200
ORDER = (Deal.EXCHANGE, Deal.ROTATION, Deal.GRACE, Deal.REFRESH, Deal.SESSION, Deal.LONG_LIVED)
TITLES = {
    Deal.EXCHANGE: ("exchange", "Baton's default"),
    Deal.ROTATION: ("rotating_refresh", "stock client, no attempt"),
    Deal.GRACE: ("rotation, 30 s grace", "as others ship it"),
    Deal.REFRESH: ("refresh", "reusable"),
    Deal.SESSION: ("session", "and remember-me"),
    Deal.LONG_LIVED: ("long_lived", "one token, 180 days"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """The result for honest users and thieves with one mechanism."""

    deal: str
    lost_answers: float
    """Share of users who are logged out in a week if an answer is lost on 5 % of device-days."""
    all_of_it: float
    """Share of users who are logged out in a week by lost answers, tunnels, other processes, killed apps and clocks."""
    thieves_s: dict[str, float]
    """Median time for which a thief is accepted, by the stolen data, with the most successful method."""


def count(deal: Deal) -> Row:
    """Simulate one mechanism."""
    thieves = {
        theft.value: max(
            statistics.median(robbery(deal, theft, ruse, thieves=THIEVES, days=DAYS).lives_s) for ruse in ruses(theft)
        )
        for theft in Theft
    }
    return Row(
        deal.value,
        week(deal, CAUSES["lost answers"], phones=PHONES).logged_out_share,
        week(deal, CAUSES["all of it"], phones=PHONES).logged_out_share,
        thieves,
    )


def counted() -> list[Row]:
    """Read the stored numbers."""
    return [Row(**row) for row in json.loads(NUMBERS.read_text("utf-8"))]


INK, QUIET, GRID, PAPER = "#1c2733", "#66717d", "#dfe4e9", "#ffffff"
OURS, FAINT, BAND = "#0f7b6c", "#c9483a", "#eaf5f2"
MARKERS = {
    Theft.TOKEN: (PAPER, "a token"),
    Theft.STORAGE: ("#f0b6ad", "the storage, not the key"),
    Theft.FULL_COPY: (FAINT, "all of it, key too"),
}
TICKS = {
    MINUTE_S: "1 min",
    10 * MINUTE_S: "10 min",
    HOUR_S: "1 h",
    DAY_S: "1 day",
    7 * DAY_S: "1 week",
    60 * DAY_S: "2 months",
}
NEVER_S = 10
"""The position of "not at all" in seconds, on an axis without a zero."""


def draw(rows: list[Row], path: Path) -> None:
    """Draw the rows. The same numbers give the same bytes."""
    style: dict[Any, object] = {
        "svg.hashsalt": "baton",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # the graphs of the benchmarks set a style for the whole process
        mpl.rcParams.update(style)
        figure = Figure(figsize=(11, 4.9), facecolor=PAPER)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.6))
        figure.subplots_adjust(left=0.215, right=0.975, top=0.735, bottom=0.13, wspace=0.07)
        for axes in (left, right):
            axes.set_facecolor(PAPER)
            axes.tick_params(length=0, colors=QUIET, labelsize=8.5)
            axes.set_axisbelow(True)
            axes.grid(axis="x", color=GRID, linewidth=0.8)
            axes.axhspan(-0.5, 0.5, color=BAND, zorder=0)
            for side in axes.spines.values():
                side.set_visible(False)
        for place, row in enumerate(rows):
            _honest(left, place, row)
            _thieves(figure, right, place, row)
            name, remark = TITLES[Deal(row.deal)]
            colour = OURS if row.deal == Deal.EXCHANGE else INK
            for dy, text, weight, ink, size in (
                (0.14, name, "bold", colour, 10),
                (-0.22, remark, "normal", QUIET, 8.5),
            ):
                left.annotate(
                    text,
                    (0, place - dy),
                    (-12, 0),
                    xycoords=("axes fraction", "data"),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    color=ink,
                    fontsize=size,
                    fontweight=weight,
                )
        left.set_ylim(len(rows) - 0.5, -0.5)
        left.set_yticks([])
        left.set_xlim(0, 0.8)
        left.set_xticks([0, 0.2, 0.4, 0.6], ["0", "20 %", "40 %", "60 %"])
        right.set_xscale("log")
        right.set_xlim(NEVER_S / 2, 2500 * DAY_S)
        right.set_xticks([NEVER_S, *TICKS], ["not at all", *TICKS.values()], minor=False)
        right.minorticks_off()
        _heads(figure, left, right)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor=PAPER)


def _honest(axes: Axes, place: int, row: Row) -> None:
    for dy, share, colour in ((-0.17, row.lost_answers, "#7d8b99"), (0.17, row.all_of_it, "#3d4c5c")):
        none = share == 0
        axes.barh(place + dy, share, height=0.28, color=colour, zorder=2)
        axes.annotate(
            "none" if none else f"{share:.0%}".replace("%", " %"),
            (share, place + dy),
            (5, 0),
            textcoords="offset points",
            va="center",
            color=OURS if none else INK,
            fontsize=8.5,
        )


def _thieves(figure: Figure, axes: Axes, place: int, row: Row) -> None:
    lives = {theft: max(NEVER_S, row.thieves_s[theft.value]) for theft in Theft}
    axes.plot([min(lives.values()), max(lives.values())], [place, place], color="#e3b3ac", linewidth=2, zorder=2)
    drawn = list[float]()
    for theft, life_s in lives.items():
        fill, _ = MARKERS[theft]
        beside = sum(0.9 < earlier_s / life_s < 1.1 for earlier_s in drawn)  # Moved apart, so that each is visible.
        drawn.append(life_s)
        axes.plot(
            life_s,
            place,
            "o",
            markersize=9,
            markerfacecolor=fill,
            markeredgecolor=FAINT,
            markeredgewidth=1.4,
            transform=offset_copy(axes.transData, figure, x=7 * beside, units="points"),
            zorder=3 + beside,
        )
    longest_s = max(lives.values())
    as_long = sum(life_s > 0.9 * longest_s for life_s in drawn)
    axes.annotate(
        _said(longest_s),
        (longest_s, place),
        (4 + 7 * as_long, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=8.5,
    )


def _said(life_s: float) -> str:
    """Format a duration in everyday units."""
    if life_s < DAY_S:
        return f"{life_s / HOUR_S:.1f} h"
    return f"{life_s / DAY_S:.0f} days"


def _heads(figure: Figure, left: Axes, right: Axes) -> None:
    figure.text(
        0.02, 0.94, "Who pays for a lost answer, and how long a thief is served", color=INK, fontsize=14, weight="bold"
    )
    left.set_title("Honest users logged out within a week", loc="left", color=INK, fontsize=10.5, pad=38)
    right.set_title("A thief who has copied … is served for …", loc="left", color=INK, fontsize=10.5, pad=38)
    left.legend(
        handles=[
            Patch(color="#7d8b99", label="5 % of device-days lose an answer"),
            Patch(color="#3d4c5c", label="and tunnels, widgets, kills, clocks"),
        ],
        loc="lower left",
        bbox_to_anchor=(-0.03, 0.99),
        frameon=False,
        fontsize=8.5,
        labelcolor=QUIET,
        handlelength=1,
        handleheight=0.8,
        labelspacing=0.3,
    )
    right.legend(
        handles=[
            Line2D([], [], marker="o", linestyle="", markerfacecolor=fill, markeredgecolor=FAINT, label=label)
            for fill, label in MARKERS.values()
        ],
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.99),
        ncols=3,
        frameon=False,
        fontsize=8.5,
        labelcolor=QUIET,
        handletextpad=0.1,
        columnspacing=1.1,
    )
    figure.text(
        0.02,
        0.025,
        f"Simulated: {PHONES} phones, and {THIEVES} thieves of each kind, under each mechanism; ten openings a day;"
        " medians, with whichever ruse serves the thief longest.",
        color=QUIET,
        fontsize=8,
    )


def main() -> None:
    """Count, print the numbers, and draw."""
    rows = []
    for place, deal in enumerate(ORDER, 1):
        sys.stdout.write(f"{place}/{len(ORDER)} {deal.value:<30}")
        sys.stdout.flush()
        row = count(deal)
        rows.append(row)
        lives = "  ".join(f"{theft} {life_s / HOUR_S:8.1f} h" for theft, life_s in row.thieves_s.items())
        sys.stdout.write(f" logged out {row.lost_answers:4.0%} {row.all_of_it:4.0%}   served: {lives}\n")
    FOLDER.mkdir(parents=True, exist_ok=True)
    NUMBERS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")
    draw(rows, PICTURE)
    sys.stdout.write("drawn: docs/baton/figures/relay.svg; look at it before you commit it\n")


if __name__ == "__main__":
    main()
