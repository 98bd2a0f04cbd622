"""Where and when a figure was taken: the kind of machine, never its name."""

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def machine() -> str:
    """Describe this kind of machine, and give today's date."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, platform.machine())
    cores = len(os.sched_getaffinity(0))
    return f"{time.strftime('%Y-%m-%d')}, {cores} cores of {model}, {platform.system()} {platform.machine()}"


def keep_to_one_core() -> None:
    """Run this process on one core from here on, where the system can do that: caches stay warm, ratios still."""
    if cores := two_sides():
        os.sched_setaffinity(0, cores[0])


def two_sides() -> tuple[set[int], set[int]] | None:
    """Divide the cores: one for what is measured, the others for all else. ``None`` where that cannot be had."""
    if not hasattr(os, "sched_setaffinity") or len(usable := os.sched_getaffinity(0)) == 1:
        return None
    measured = {max(usable)}
    return measured, usable - measured


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Let nothing be seen of what this process writes to standard output, for as long as this lasts: the app's log."""
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
