"""The machine and the date of a measurement: the kind of machine, never its name."""

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def machine() -> str:
    """Return today's date and the kind of machine, as one text."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{time.strftime('%Y-%m-%d')}, {cores} cores of {model}, {platform.system()} {platform.machine()}"


def rounds(usual: int) -> int:
    """Return the rounds of a measurement: ``usual``, or with ``--short`` 2, which only shows that the command works."""
    return 2 if "--short" in sys.argv[1:] else usual


def keep_to_one_core() -> None:
    """Run this process on one core, if the system supports it: the caches stay warm, and the ratios are stable."""
    if cores := two_sides():
        os.sched_setaffinity(0, cores[0])


def two_sides() -> tuple[set[int], set[int]] | None:
    """Divide the cores: one for the measured process, the others for the rest. ``None`` if this is not possible."""
    if not hasattr(os, "sched_setaffinity") or len(usable := os.sched_getaffinity(0)) == 1:
        return None
    measured = {max(usable)}
    return measured, usable - measured


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard the standard output of this process within this context: the log of the app."""
    told, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(told, 1)
        os.close(told)
        os.close(nowhere)
