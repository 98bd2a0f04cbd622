"""Run an import: in batches, by several threads, resumable after a crash.

After each batch, the outcomes are appended to ``FILE.result``. Then ``FILE.progress`` is replaced: it has the number of
records that are done, the counts, and the size of ``FILE.result``. After a crash between these two writes, the next run
repeats one batch. It first cuts off the lines of this batch in ``FILE.result``, so each record has one line. It
finds the accounts that the batch has already made, and does not make them a second time.
"""

import hashlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from tools.moving.pace import Pace
from tools.moving.sources import Record
from tools.moving.write import Outcome, Write

BATCH = 1000
THREADS = 8
HEAD_BYTES = 64 * 1024
PRINT_EVERY_S = 5.0


class OtherFile(ValueError):
    """``FILE.progress`` belongs to another import: the first 64 KiB of ``FILE`` or the option ``--from`` differs."""


class Progress(Struct, kw_only=True):
    """The contents of ``FILE.progress``.

    ``kinds``: kind of password hash -> number of accounts. The keys ``migrate`` and ``no password`` count the accounts
    without a hash.
    """

    head: str
    source: str
    done: int = 0
    result_bytes: int = 0
    outcomes: dict[str, int] = {}
    reasons: dict[str, int] = {}
    kinds: dict[str, int] = {}


class Run(Struct, frozen=True, kw_only=True):
    """One run of the import of a file."""

    file: Path
    source: str
    write: Write
    pace: Pace
    say: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic

    def __call__(self, records: Iterator[Record]) -> Progress:
        """Import the records that are not done. Return the counts of all records. A dry run writes no files."""
        keeps = not self.write.dry_run
        progress = self._resumed() if keeps else self._new()
        if progress.done:
            self.say(f"resumed after {progress.done:,} records")
        rest = itertools.islice(records, progress.done, None)
        begun = said = self.monotonic()
        before = progress.done
        with ThreadPoolExecutor(THREADS) as threads:
            while batch := list(itertools.islice(rest, BATCH)):
                outcomes = list(threads.map(self.write, batch))
                self._count(progress, outcomes)
                if keeps:
                    self._keep(progress, outcomes)
                now = self.monotonic()
                if now - said >= PRINT_EVERY_S:
                    rate = (progress.done - before) / max(now - begun, 0.001)
                    counts = ", ".join(f"{number:,} {name}" for name, number in sorted(progress.outcomes.items()))
                    halved = f", rate halved {self.pace.halved} times" if self.pace.halved else ""
                    self.say(f"{progress.done:,} records, {rate:,.0f}/s: {counts}{halved}")
                    said = now
        return progress

    def done_before(self) -> int:
        """Return the number of records that earlier runs have done. A dry run returns 0."""
        return 0 if self.write.dry_run or not self._progress.is_file() else self._resumed().done

    def _count(self, progress: Progress, outcomes: list[Outcome]) -> None:
        counts = Counter(progress.outcomes), Counter(progress.reasons), Counter(progress.kinds)
        for one in outcomes:
            counts[0][one.outcome] += 1
            if one.reason:
                counts[1][f"{one.outcome}: {one.reason}"] += 1
            if one.outcome in {"created", "unchanged"}:
                counts[2][one.kind] += 1
        progress.done += len(outcomes)
        progress.outcomes, progress.reasons, progress.kinds = map(dict, counts)

    def _new(self) -> Progress:
        with self.file.open("rb") as file:
            head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
        return Progress(head=head, source=self.source)

    def _resumed(self) -> Progress:
        """Read where an earlier run stopped, and cut off the result of a batch that it did not finish."""
        new = self._new()
        progress = new
        if self._progress.is_file():
            progress = msgspec.json.decode(self._progress.read_bytes(), type=Progress)
            if (progress.head, progress.source) != (new.head, new.source):
                message = f"{self._progress} is of another file or source: move it away to begin again"
                raise OtherFile(message)
        with self._result.open("ab") as result:
            result.truncate(progress.result_bytes)
        return progress

    def _keep(self, progress: Progress, outcomes: list[Outcome]) -> None:
        with self._result.open("ab") as result:
            for one in outcomes:
                row = msgspec.structs.replace(one, kind="")
                result.write(msgspec.json.encode(row) + b"\n")
            result.flush()
            os.fsync(result.fileno())
            progress.result_bytes = result.tell()
        written = self._progress.with_name(self._progress.name + ".new")
        written.write_bytes(msgspec.json.encode(progress))
        written.replace(self._progress)

    @property
    def _progress(self) -> Path:
        return self.file.with_name(self.file.name + ".progress")

    @property
    def _result(self) -> Path:
        return self.file.with_name(self.file.name + ".result")
