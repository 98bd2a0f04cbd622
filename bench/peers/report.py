"""The results for readers: lines for a terminal, a page, a figure."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

from bench.peers.measure import (
    BUSY,
    GROWN,
    PARALLEL,
    RACES,
    RESTED,
    ROTATIONS,
    ROUNDS,
    TURNS,
    Cost,
    Race,
    Result,
)

OURS = "Baton"
ALIKE = {
    "oidc-provider": "Baton, oauth (rotating)",
    "oidc-provider (JWT)": "Baton, oauth (rotating)",
    "oidc-provider (DPoP)": "Baton, mobile (key-bound)",
    "better-auth": "Baton, opaque (unbound)",
    "simplejwt": "Baton, simple (unbound)",
    "django-oauth-toolkit": "Baton, opaque (unbound)",
}
"""For each product, the client of Baton that does the same work. ``oauth`` rotates an opaque token and signs an ES256
token. ``mobile`` signs an ES256 token and verifies the request signature of the device's P-256 key. ``opaque`` rotates
an opaque token. ``simple`` rotates a JWT."""
LIMITS = {
    ("oidc-provider", "SQLite"): 2,
    ("oidc-provider", "PostgreSQL"): 3,
    ("oidc-provider (JWT)", "SQLite"): 2,
    ("oidc-provider (JWT)", "PostgreSQL"): 3,
    ("oidc-provider (DPoP)", "SQLite"): 2,
    ("oidc-provider (DPoP)", "PostgreSQL"): 3,
    ("simplejwt", "PostgreSQL"): 8,
    ("django-oauth-toolkit", "PostgreSQL"): 12,
}
"""The aims: each product costs at least this multiple of an exchange of Baton."""


_WHOLE: Final = attrgetter("whole_us")
_NET: Final = attrgetter("net_us")
_ENGINE: Final = attrgetter("engine_us")
_FIGURES: Final = (_WHOLE, attrgetter("floor_us"), _NET, _ENGINE)


def median(costs: Sequence[Cost], figure: Callable[[Cost], float]) -> float:
    """Return the median of all rounds."""
    return statistics.median(map(figure, costs))


def spread(costs: Sequence[Cost], figure: Callable[[Cost], float]) -> tuple[float, float]:
    """Return the minimum and the maximum of all rounds."""
    figures = sorted(map(figure, costs))
    return figures[0], figures[-1]


def times(theirs: Sequence[Cost], ours: Sequence[Cost]) -> float:
    """Compare the CPU time without HTTP in each round, and return the median of the ratios."""
    return statistics.median(their.net_us / our.net_us for their, our in zip(theirs, ours, strict=True))


def winners(races: Sequence[Race]) -> str:
    """Return how many different new tokens a race gave, over all races: ``1``, or ``2 to 16``."""
    return _range([race.children for race in races])


def alive(races: Sequence[Race]) -> str:
    """Return how many children could be refreshed afterwards."""
    return _range([race.alive for race in races])


def noticed(result: Result) -> str:
    """Return whether the owner's login ends when a used token is sent."""
    seen = Counter(result.thefts_noticed)
    return "yes" if not seen[False] else "no" if not seen[True] else f"{seen[True]} of {seen.total()}"


class Promise(NamedTuple):
    """The cost of a product's rotation without HTTP, as a multiple of an exchange of Baton, and the aim."""

    peer: str
    ours: str
    busy: float
    rested: float
    limit: int

    @property
    def verdict(self) -> str:
        """Return whether the aim is reached. The rounded numbers of the table decide."""
        if round(self.busy, 1) >= self.limit:
            return "reached"
        return "reached after a pause" if round(self.rested, 1) >= self.limit else "not reached"


def promises(results: Sequence[Result]) -> list[Promise]:
    """Compare each product with the client of Baton that does the same work, if both ran, and with its aim."""
    named = {(one.name, one.store_name): one for one in results}
    rows = []
    for (name, store), limit in LIMITS.items():
        theirs, ours = named.get((name, store)), named.get((ALIKE[name], "DynamoDB"))
        if theirs and ours:
            ratios = times(theirs.busy, ours.busy), times(theirs.rested, ours.rested)
            rows.append(Promise(f"{name}, {store}", ours.name, *ratios, limit))
    return rows


def printed(results: Sequence[Result]) -> str:
    """Format the results for a terminal."""
    head = f"{'CPU per rotation, microseconds':<40}{'busy':>7}{'its HTTP':>10}{'net':>7}{'rested':>8}{'engine':>8}"
    head += f"{'rows kept':>11}{'KB kept':>9}{f'{PARALLEL} at once':>12}{'survive':>9}{'theft seen':>12}"
    lines = [head]
    for one in results:
        whole, floor, net, engine = (median(one.busy, figure) for figure in _FIGURES)
        title = f"{one.name}, {one.store_name}"
        line = f"{title:<40}{whole:>7.0f}{floor:>10.0f}{net:>7.0f}{median(one.rested, _NET):>8.0f}{engine:>8.0f}"
        line += f"{one.kept.rows:>11,}{one.kept.size_bytes / 1024:>9,.0f}"
        lines.append(f"{line}{winners(one.races):>12}{alive(one.races):>9}{noticed(one):>12}")
    lines.append("")
    lines += [
        f"{row.peer:<34}behind HTTP {row.busy:>5.1f} times {row.ours:<28}after a pause {row.rested:>5.1f}, "
        f"aim {row.limit:>2}: {row.verdict}"
        for row in promises(results)
    ]
    return "\n".join(lines)


def markdown(results: Sequence[Result], versions: Mapping[str, str], where: str) -> str:
    """Return the text of the page."""
    ours = {one.name: one for one in results if one.name.startswith(OURS)}
    said = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    lines = [
        "# Baton and other products",
        "",
        f"Taken by `make bench-peers` on {where}. {said}.",
        "",
        "![CPU per rotation](peers.svg)",
        "",
        f"CPU of one refresh, user and system, in microseconds. *Kept busy*: {TURNS} times, in turn, {ROUNDS} rounds",
        f"of {ROTATIONS} without a pause; medians of the last {BUSY}, and in brackets the least and the most.",
        f"*After a pause*: of the first {RESTED}. V8 discards compiled code when there is no request for about a",
        "minute,",
        "and needs about three thousand requests to be fast again.",
        "",
        "*Times Baton*: without HTTP, compared with the mechanism of Baton that does the same work (see below).",
        "*Kept*: the data that",
        f"{GROWN:,} rotations of one login leave behind.",
        "",
        "| | store | kept busy | of that HTTP | after a pause | engine | times Baton | after a pause | rows | kept |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in results:
        whole, floor, _, engine = (median(one.busy, figure) for figure in _FIGURES)
        least, most = spread(one.busy, _WHOLE)
        shown_engine = f"{engine:,.0f}" if one.store_name != "SQLite" else "in the app"
        shown_times = " | "
        if one.name in ALIKE:
            alike = ours[ALIKE[one.name]]
            shown_times = f"{times(one.busy, alike.busy):.1f} | {times(one.rested, alike.rested):.1f}"
        lines.append(
            f"| {one.name} | {one.store_name} | {whole:,.0f} ({least:,.0f} to {most:,.0f}) | {floor:,.0f} "
            f"| {median(one.rested, _WHOLE):,.0f} | {shown_engine} | {shown_times} | {one.kept.rows:,} "
            f"| {one.kept.size_bytes / 1024:,.0f} KB |"
        )
    lines += [
        "",
        f"## {PARALLEL} refreshes of one token at once",
        "",
        f"Over {RACES} races each, least to most. *Children*: how many different tokens the answers had. *Survive*:",
        "how many of these tokens could be refreshed afterwards. *Theft noticed*: the owner refreshed, and a thief",
        "then used a copy from before. Does this end the owner's login?",
        "",
        "| | store | children | survive | 5xx | theft noticed |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in results:
        failures = sum(race.failures for race in one.races)
        who = f"{one.name}, strangers" if one.retries else one.name
        outcome = f"{winners(one.races)} | {alive(one.races)} | {failures} | {noticed(one)}"
        lines.append(f"| {who} | {one.store_name} | {outcome} |")
        if one.retries:
            answered = _range([race.winners for race in one.retries])
            lines.append(
                f"| {one.name}, one app repeating itself ({answered} answers with the child) | {one.store_name} "
                f"| {winners(one.retries)} | {alive(one.retries)} | {sum(race.failures for race in one.retries)} | |"
            )
    lines += [
        "",
        "The other products cannot distinguish one app that repeats itself from strangers. Their row is for both.",
        "",
        "## Aims",
        "",
        "The same work: oidc-provider rotates an opaque token and signs an ES256 token, as `oauth` does. By default,",
        "the signed token is an ID token, beside an opaque access token that oidc-provider stores. With `JWT`, the",
        "signed token is the access token. With `DPoP`, this token is bound to a device's P-256 key, which signs each",
        "refresh. With `mobile`, the key signs the whole request. simplejwt rotates JWTs, as `simple` does. The others",
        "rotate opaque strings.",
        "",
        "| product | compared with | kept busy | after a pause | aim | |",
        "|---|---|--:|--:|--:|---|",
    ]
    lines += [
        f"| {row.peer} | {row.ours} | {row.busy:.1f} | {row.rested:.1f} | {row.limit} | {row.verdict} |"
        for row in promises(results)
    ]
    return "\n".join([*lines, "", *_UNFAIRNESS, ""])


_UNFAIRNESS = (
    "## Limits of the comparison",
    "",
    "All products receive requests over one kept-alive HTTP connection on loopback. The client's CPU does not",
    "count. A product is",
    "one server process. Baton is the package of `make deploy`, under the runtime client of AWS. The function's CPU",
    "counts, as Lambda bills it. The CPU of the replacement for API Gateway does not.",
    "Aims are judged without pauses and without HTTP: the CPU of the same server for an answer without work",
    "(`/floor`), with the same number of bytes, is subtracted. For Baton this is an empty handler under the same",
    "runtime client.",
    "The measured server has its own core. The client, the engines and everything else use the other core.",
    "",
    "In Baton's favour:",
    "",
    "- API Gateway terminates TLS and HTTP for Baton. AWS bills this for each request, not by CPU.",
    "- The database is another process, and in AWS a service. With SQLite, a product stores its data itself.",
    "  The CPU of the engine is in its own column, like that of PostgreSQL. Without pauses, oidc-provider on SQLite",
    "  takes less CPU than Baton and its engine together.",
    "- Baton uses plain HTTP to the engine here, and TLS in AWS. The products use PostgreSQL without TLS too.",
    "- `opaque` is not a client of the repository: it is `simple` with opaque tokens, for this comparison.",
    "- Node.js 20 is older than the version that oidc-provider requires (22).",
    "- oidc-provider does not rotate a bound token by default. It is configured to do so, because Baton does.",
    "- The adapter of oidc-provider reads client and grant each time. A cache would save a read.",
    "",
    "In favour of the other products:",
    "",
    "- `simple` makes two ES256 signatures, for the check of the token and for the child. simplejwt uses HMAC.",
    "- Django runs without middleware, and no product logs. Baton runs as deployed.",
    "- SQLite runs in WAL mode with `synchronous = NORMAL`, not in its slower default.",
    "- The tables are small: the products store at least a row for every rotation, and no table here is as large",
    "  as after a year.",
    "",
    "Sixteen threads of gunicorn serve Django, and one event loop serves each Node product. Up to four environments",
    "serve Baton: as on Lambda, another one begins only while all others are busy. Ratios hold better than",
    "microseconds.",
)


def picture(results: Sequence[Result], file: Path) -> None:
    """Draw the CPU time per rotation, its parts, and the stored data."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - slow to import
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to import

    from bench import drawing  # noqa: PLC0415 - it imports matplotlib

    rows = sorted(results, key=lambda one: median(one.busy, lambda cost: cost.whole_us + cost.engine_us), reverse=True)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 0.42 * len(rows) + 1.6), sharey=True, width_ratios=(3, 1.15), layout="constrained"
    )
    for place, one in enumerate(rows):
        colour = drawing.OURS if one.name.startswith(OURS) else drawing.THEIRS
        _, floor, net, engine = (median(one.busy, figure) / 1000 for figure in _FIGURES)
        rested = (median(one.rested, _WHOLE) + median(one.rested, _ENGINE)) / 1000
        left.barh(place, floor, color=drawing.FLOOR, height=0.62)
        left.barh(place, net, left=floor, color=colour, height=0.62)
        left.barh(place, engine, left=floor + net, color="none", edgecolor=colour, hatch="////", height=0.62)
        left.plot([rested], [place], marker="|", markersize=13, color="black")
        left.text(max(floor + net + engine, rested), place, f"  {floor + net:.2f}", va="center", weight="bold")
        right.barh(place, max(0, one.kept.size_bytes) / 1024, color=colour, height=0.62)
        rows_kept = f"  {one.kept.rows:,} rows" if one.kept.rows else "  nothing"
        right.text(max(0, one.kept.size_bytes) / 1024, place, rows_kept, va="center")
    left.set_yticks(range(len(rows)), [f"{one.name} · {one.store_name}" for one in rows])
    for label, one in zip(left.get_yticklabels(), rows, strict=True):
        if one.name.startswith(OURS):
            label.set_weight("bold")
    left.set_title("CPU of one refresh, kept busy, milliseconds")
    right.set_title(f"Kept after {GROWN:,}, KB")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        drawing.gridded(axes, "x")
    left.set_xlim(right=left.get_xlim()[1] * 1.08)
    right.set_xlim(right=right.get_xlim()[1] * 1.5)
    swatches = [
        Rectangle((0, 0), 1, 1, color=drawing.FLOOR),
        Rectangle((0, 0), 1, 1, color=drawing.THEIRS),
        Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=drawing.THEIRS, hatch="////"),
        Rectangle((0, 0), 1, 1, color=drawing.OURS),
        Line2D([], [], linestyle="none", marker="|", markersize=13, color="black"),
    ]
    names = ["its HTTP server", "a peer", "its engine's process", "Baton", "all of it after a pause"]
    left.legend(swatches, names, loc="upper right", fontsize=9)
    drawing.keep(figure, file)
    plt.close(figure)


def _range(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
