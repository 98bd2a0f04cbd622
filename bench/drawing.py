"""The style of graphs: readable on a light and on a dark background, and the same bytes for the same data."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

mpl.use("svg")

INK = "#7a828c"
"""The colour of text and axes: a grey with a contrast above 4 on white and on GitHub's dark background."""
FAINT = "#7a828c40"
OURS, THEIRS = "#e8590c", "#4c7fd9"
SECOND, THIRD = "#2f9e6e", "#a061d1"
FLOOR = "#9aa3ad"

mpl.rcParams.update(
    {
        "svg.fonttype": "path",
        "svg.hashsalt": "baton",
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "grid.color": FAINT,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "hatch.linewidth": 0.8,
    }
)


def keep(figure: "Figure", file: Path) -> None:
    """Write a figure as SVG without a date, so that an unchanged figure gives the same file."""
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    # matplotlib ends some lines with a space, which the repository does not allow.
    lines = file.read_text("utf-8").splitlines()
    file.write_text("\n".join(line.rstrip() for line in lines) + "\n", "utf-8")


def gridded(axes: "Axes", axis: str = "y") -> None:
    """Draw faint grid lines behind the data."""
    axes.grid(visible=True, axis=axis)  # type: ignore[arg-type] # "x", "y" or "both"
    axes.set_axisbelow(True)
