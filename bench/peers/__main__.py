"""Measure all products, print the table, and write it with its figure to ``bench/results``."""

import sys
import tempfile
import time
from pathlib import Path

from bench.machine import machine
from bench.peers.contestants import field_of
from bench.peers.measure import LOGINS, measure
from bench.peers.report import markdown, picture, printed

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Measure. A missing product is printed with its remedy, and all other products are measured."""
    begun = time.monotonic()

    def progress(doing: str) -> None:
        print(f"{time.monotonic() - begun:5.0f} s  {doing}", file=sys.stderr, flush=True)

    progress("starting everybody")
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as place, field_of(Path(place), LOGINS) as found:
        for missing in found.missing:
            print(f"missing: {missing}", file=sys.stderr)
        if not found.contestants:
            return 1
        results = measure(found.contestants, progress)
    progress("done")
    print(printed(results))
    if found.missing:
        print("Nothing was written, because a product is missing (see above): an incomplete table would be misleading.")
        return 1
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "peers.md").write_text(markdown(results, found.versions, machine()), "utf-8")
    picture(results, RESULTS / "peers.svg")
    print("written     bench/results/peers.md, bench/results/peers.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
