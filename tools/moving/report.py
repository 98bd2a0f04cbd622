"""The report at the end of an import: counts, and the next step."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.moving.pace import Pace
from tools.moving.run import Progress
from tools.printed import aligned

REMEDIES: Mapping[str, str] = {
    "refused: hash_too_costly": "one login would take seconds: import those people without `password`",
    "refused: hash_too_weak": "the hash protects nothing: import those people without `password`",
    "refused: hash_unknown": "docs/baton/moving.md lists the kinds; import those people without `password`",
    "refused: identity_provider_unknown": "write a row of this name into chalicelib/providers.toml, or take it out",
    "refused: identity_issuer_unknown": "write `issuer` beside `provider` and `sub`",
    "conflict: identity_taken": "another account has the identity: the person logs in there",
    "refused: totp_unverified": "take out `totp`, or verify the address where the person is now",
    "refused: email_missing": "an account needs an address or an identity",
    "refused: account_deleted": "the person deleted the account here: nothing to do",
    "conflict: address_taken": "another account has the address: the person logs in there, or ask which one is right",
}


def report(progress: Progress, *, file: Path, pace: Pace, seconds: float, written: int, dry_run: bool) -> str:
    """Return the report of an import as text. ``written`` is the number of records that this run processed."""
    verb = "would be imported" if dry_run else "done"
    rate = f"{written / seconds:,.0f}/s" if seconds > 0 else "-"
    head = f"{'dry run: ' if dry_run else ''}{progress.done:,} records {verb}, {written:,} of them in this run, {rate}"
    if pace.halved:
        head += f"; DynamoDB refused writes, and the rate was halved {pace.halved} times, to {pace.rate:.0f}/s"
    lines = [head, *_table("outcome", progress.outcomes), *_table("reason", progress.reasons)]
    lines += _table("passwords of the accounts in Baton", progress.kinds)
    return "\n".join([*lines, *_next(progress, file, dry_run=dry_run)])


def _table(title: str, counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    rows = [(name, f"{number:>10,}") for name, number in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    return [f"{title}:", *(f"  {line}" for line in aligned(rows))]


def _next(progress: Progress, file: Path, *, dry_run: bool) -> Iterator[str]:
    for reason in sorted(progress.reasons):
        if reason in REMEDIES:
            yield f"remedy: {reason}: {REMEDIES[reason]}"
    if dry_run:
        yield "next: run the command without --dry-run"
        return
    if failed(progress):
        yield f'next: read the lines of {file.name}.result whose outcome is "refused" or "conflict"'
    if progress.kinds.get("no password"):
        yield "next: people without a password set one by mail: POST /password/forgot"
    if progress.kinds.get("migrate"):
        yield "next: add `baton.migrate_with` to app.py, or people with `migrate` cannot log in"
    if set(progress.kinds) - {"migrate", "no password"}:
        yield "next: run `python -m tools.operate hashes`, and set BATON_DECOYS to what it prints"


def failed(progress: Progress) -> bool:
    """Return whether a record was refused or is in conflict. The command then exits with 3."""
    return bool(progress.outcomes.get("refused") or progress.outcomes.get("conflict"))
