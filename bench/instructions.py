"""Count the instructions of a call, and compare them with the stored values: ``make bench-count``.

Seconds depend on the machine. Instruction counts depend only on the program: repeated runs differ by less than one part
in three hundred. Valgrind's cachegrind counts whole events into the app without the database (``bench/cases.py``). Each
case is divided by Chalice's dispatch of a trivial route, and this ratio is compared with the stored ratio. A difference
of more than 5 % in either direction fails, until ``make bench-count UPDATE=1`` stores the new ratios and a commit
explains them.

The stored ratios are valid for one build of Python. With another build, the command counts, but does not compare with
the stored ratios. Without valgrind, it counts nothing.
"""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORED = ROOT / "bench" / "results" / "instructions.json"

FEW, MANY = 20, 120
"""The numbers of calls of the two processes whose difference is the result."""

TOLERANCE = 0.05
"""The accepted relative difference between a ratio and the stored ratio."""

TRIVIAL = "trivial route"
SIGNED_CALL = "signed call, "
EXCHANGE = "exchange, P-256, opaque"
HMAC_UNASKED = f"{SIGNED_CALL}HMAC, opaque, until it asks the engine"
P256_CALL = f"{SIGNED_CALL}P-256, JWT"
P256_UNASKED = f"{P256_CALL}, until it asks the engine"
P256_CHECKS = "its two signature checks alone"

HMAC_WANTED, P256_WANTED = 1.7, 1.3
"""The targets for a signed call. The HMAC target is the cost up to the first read, as a multiple of a trivial route.
The P-256 target is a multiple of a trivial route plus the checks of the token and of the request. The environment has
already verified the token here, so the call itself checks only the request."""

_REFERENCES = re.compile(r"^==(\d+)== I +refs: +([\d,]+)$", re.MULTILINE)


def counts(told: str, log: str) -> dict[str, float]:
    """Return the instructions of one call of every case, from the program's output and the log of cachegrind.

    Raises ``ValueError`` if a process of a case is missing.
    """
    references = {int(process): int(number.replace(",", "")) for process, number in _REFERENCES.findall(log)}
    processes: dict[str, dict[int, int]] = {}
    for name, calls, process in map(json.loads, told.splitlines()):
        if process not in references:
            raise ValueError(f"the log of cachegrind has no count for {calls} calls of {name}")
        processes.setdefault(name, {})[calls] = references[process]
    if incomplete := [name for name, counted in processes.items() if counted.keys() != {FEW, MANY}]:
        raise ValueError(f"one of two processes is missing: {', '.join(incomplete)}")
    return {name: (counted[MANY] - counted[FEW]) / (MANY - FEW) for name, counted in processes.items()}


def ratios(counted: Mapping[str, float]) -> dict[str, float]:
    """Divide every case by the trivial route."""
    return {name: round(number / counted[TRIVIAL], 3) for name, number in counted.items()}


def moved(now: Mapping[str, float], stored: Mapping[str, float]) -> list[str]:
    """List the ratios that differ from the stored ratios."""
    complaints = [f"{name}: counted, but not stored" for name in now.keys() - stored.keys()]
    complaints += [f"{name}: stored, but not counted" for name in stored.keys() - now.keys()]
    complaints += [
        f"{name}: {now[name]:.3f} trivial routes, and {ratio:.3f} are stored ({now[name] / ratio - 1:+.1%})"
        for name, ratio in stored.items()
        if name in now and abs(now[name] / ratio - 1) > TOLERANCE
    ]
    return sorted(complaints)


def elsewhere(here: Mapping[str, str], taken: Mapping[str, str]) -> list[str]:
    """List the differences from the build with which the stored ratios were measured."""
    return [
        f"{what} is {here.get(what, 'unknown')}, and was {taken.get(what, 'unknown')}"
        for what in {**here, **taken}
        if here.get(what) != taken.get(what)
    ]


def wanted(counted: Mapping[str, float]) -> list[str]:
    """Return lines that compare the measured values with the two targets. A missed target is not a failure."""
    hmac = counted[HMAC_UNASKED] / counted[TRIVIAL]
    floor = counted[TRIVIAL] + counted[P256_CHECKS]
    p256, unasked = counted[P256_CALL] / floor, counted[P256_UNASKED] / floor
    return [
        f"by HMAC, until it asks the engine: {hmac:.3f} trivial routes {_verdict(hmac, HMAC_WANTED)}",
        f"by P-256: {p256:.3f} times a trivial route and its two checks {_verdict(p256, P256_WANTED)}",
        f"by P-256, until it asks the engine: {unasked:.3f} times a trivial route and its two checks",
    ]


def _verdict(figure: float, most: float) -> str:
    return f"(wanted: at most {most:.1f}; {'met' if figure <= most else 'not met'})"


def build(valgrind: str) -> dict[str, str]:
    """Return the properties that the counts depend on, besides Baton's code and its pinned packages."""
    arguments = shlex.split(str(sysconfig.get_config_var("CONFIG_ARGS") or ""))
    options = sorted(word for word in arguments if re.fullmatch(r"--(enable|with|without)-[a-z-]+", word))
    version = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "architecture": platform.machine(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "its build": " ".join([platform.python_compiler(), *options]),
        "valgrind": version.strip().removeprefix("valgrind-"),
    }


def count(valgrind: str) -> dict[str, float]:
    """Run the program under cachegrind, with the same environment variables on every machine."""
    done = subprocess.run(
        [
            *(valgrind, "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={os.devnull}"),
            *(sys.executable, "-m", "bench.counted"),
        ],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONPATH": f".{os.pathsep}clients/python", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the program ended under cachegrind:\n{done.stderr[-4000:]}")
    return counts(done.stdout, done.stderr)


def main(arguments: Sequence[str]) -> int:
    """Count, print the table, and compare it with the stored table, or store it (``--update``)."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("skipped: valgrind is not installed, so nothing was counted")
        return 0
    here, counted = build(valgrind), count(valgrind)
    now = ratios(counted)
    stored = json.loads(STORED.read_text("utf-8"))
    print(f"{'instructions per call':<55}{'':>13}{'ratio':>9}{'stored':>9}")
    for name, number in counted.items():
        known = stored["ratios"].get(name)
        print(f"{name:<55}{number:>13,.0f}{now[name]:>9.3f}{'-' if known is None else f'{known:.3f}':>9}")
    print(*wanted(counted), sep="\n")
    if "--update" in arguments:
        STORED.write_text(json.dumps({"taken with": here, "ratios": now}, indent=2) + "\n", "utf-8")
        print(f"ok: {STORED.relative_to(ROOT)} written. next: explain the change in the commit")
        return 0
    if differences := elsewhere(here, stored["taken with"]):
        print("skipped: not compared with the stored ratios, because of another build:", *differences, sep="\n  ")
        return 0
    if complaints := moved(now, stored["ratios"]):
        print(f"error: more than {TOLERANCE:.0%} from the stored ratios:", *complaints, sep="\n  ")
        print("remedy: correct the code. If you intend the change: make bench-count UPDATE=1, and commit the reason")
        return 1
    print(f"ok: all ratios are within {TOLERANCE:.0%} of the stored ratios")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
