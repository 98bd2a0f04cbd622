"""The commands ``import``, ``export`` and ``hashes`` of the operator."""

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.factors.decoys import Decoys, read_decoys, write_decoys
from chalicelib.baton.factors.hashes.kinds import read_hash
from chalicelib.baton.factors.password_hash import is_current
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.identities import StoredIdentities
from tools.moving.export import BadRecipient, Exported, export, line_of, recipients_of
from tools.moving.hash_forms import BadParameters, read_parameters
from tools.moving.pace import Pace
from tools.moving.report import failed, report
from tools.moving.run import OtherFile, Run
from tools.moving.scan import Scan, Stored
from tools.moving.sources import NAMES, BadFile, read_records
from tools.moving.write import Write
from tools.printed import aligned, counted

COMMANDS = frozenset({"import", "export", "hashes"})
EXIT_REFUSED = 3
RATE = 200.0
READ_UNITS = 400.0
EXPORTED = "exported"
"""The name of the event of an export, and of its metric, which has an alarm."""
OPERATOR = AccountId("operator")
"""The key of audit rows that concern no account."""


class Place(Struct, frozen=True, kw_only=True):
    """The deployment that accounts move into or out of."""

    database: DynamoDB
    ring: Ring
    audit: Audit
    deployment: str
    decoys: Decoys
    providers: Providers
    clock: Callable[[], int]


def run(words: Sequence[str], place: Callable[[], Place]) -> int:
    """Run a command. Return 0, or 3 if an import refused a record or found a conflict.

    Raises ``NotFound`` for an unusable file or recipient. Other wrong arguments end the process with exit code 2.
    """
    options = _parser().parse_args(words)
    where = place()
    try:
        match options.command:
            case "import":
                return _import(options, where)
            case "export":
                return _export(options, where)
            case _:
                return _hashes(options, where)
    except (BadFile, BadParameters, BadRecipient, OtherFile, OSError) as wrong:
        raise errors.NotFound(str(wrong)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.operate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bring = commands.add_parser("import", help="make the accounts of a file; docs/baton/moving.md")
    bring.add_argument("file", type=Path)
    bring.add_argument("--from", dest="source", choices=NAMES, required=True)
    bring.add_argument("--hash-parameters", type=Path, help="the block hash_config of Firebase")
    bring.add_argument("--dry-run", action="store_true", help="judge every record and write nothing")
    bring.add_argument("--rate", type=_positive, default=RATE, help="accounts per second (%(default)s)")
    take = commands.add_parser("export", help="write every account to a file that is encrypted with age")
    take.add_argument("--to", type=Path, required=True)
    take.add_argument("--recipient", action="append", required=True, help="a public key of age; may be repeated")
    _reads(take)
    _reads(commands.add_parser("hashes", help="count the kinds of password hashes, and print BATON_DECOYS"))
    return parser


def _reads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--read-units",
        type=_positive,
        default=READ_UNITS,
        help="read units a second that the tables have; a quarter is used (%(default)s)",
    )


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1e6:
        raise ValueError
    return number


def _import(options: argparse.Namespace, place: Place) -> int:
    parameters = read_parameters(options.hash_parameters) if options.hash_parameters else None
    pace, now = Pace(options.rate), place.clock()
    write = Write(
        users=Users(place.database),
        identities=StoredIdentities(place.database),
        providers=place.providers,
        ring=place.ring,
        entropy=secrets.token_bytes,
        now=now,
        pace=pace,
        pause=time.sleep,
        dry_run=options.dry_run,
    )

    def say(text: str) -> None:
        print(f"  {text}", flush=True)

    the_run = Run(file=options.file, source=options.source, write=write, pace=pace, say=say)
    records = read_records(options.file, options.source, parameters)
    begun = time.monotonic()
    earlier = the_run.done_before()
    progress = the_run(records)
    print(
        report(
            progress,
            file=options.file,
            pace=pace,
            seconds=time.monotonic() - begun,
            written=progress.done - earlier,
            dry_run=options.dry_run,
        )
    )
    return EXIT_REFUSED if failed(progress) else 0


def _scan(options: argparse.Namespace, place: Place) -> Scan:
    client = AwsClient("dynamodb", read_timeout_s=10)
    return Scan(dynamodb=client, tables=place.database.tables, read_units=options.read_units)


def _export(options: argparse.Namespace, place: Place) -> int:
    """Export the accounts.

    The metric is sent before the first account is read, so that every export causes an alarm, even if the export fails.
    """
    recipients = recipients_of(options.recipient)
    if options.to.exists():
        message = f"{options.to} exists: name a new file"
        raise FileExistsError(message)
    if not options.to.parent.is_dir():
        message = f"{options.to.parent} is no folder: make it first"
        raise FileNotFoundError(message)
    caller = AwsClient("sts").call("get_caller_identity").get("Arn", "unknown")
    AwsClient("cloudwatch").call(
        "put_metric_data",
        Namespace="Baton",
        MetricData=[
            {
                "MetricName": EXPORTED,
                "Dimensions": [{"Name": "service", "Value": place.deployment}],
                "Value": 1,
                "Unit": "Count",
            }
        ],
    )
    exported = Exported()
    lines = (line_of(stored, place.ring, place.providers) for stored in _told(_scan(options, place)()))
    try:
        export(options.to, recipients, lines, exported)
    finally:
        details = {"count": str(exported.count), "caller": caller}
        event_id = f"{int(time.time() * 1_000_000):014x}{secrets.token_hex(4)}"
        place.audit.append(AuditEvent(place.clock(), EXPORTED, OPERATOR, None, details), event_id=event_id)
    print(
        f"ok: {options.to} has {counted(exported.count, 'account')}, encrypted to "
        f"{counted(len(recipients), 'recipient')}; the event `exported` names {caller}"
    )
    return 0


def _told(items: Iterator[Stored]) -> Iterator[Stored]:
    """Yield the items, and print the progress at most every five seconds."""
    said = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - said >= 5:
            print(f"  {counted(number, 'account')}", file=sys.stderr, flush=True)
            said = time.monotonic()


def _hashes(options: argparse.Namespace, place: Place) -> int:
    kinds: Counter[str] = Counter()
    foreign: Counter[str] = Counter()
    for stored in _told(_scan(options, place)()):
        sealed = stored.user.password_hash
        if sealed is None:
            kinds["migrate" if stored.user.migrate else "no password"] += 1
            continue
        read = read_hash(place.ring.decrypt_for(sealed, account=stored.user.account).decode())
        kinds[read.name] += 1
        if not is_current(read):
            foreign[read.name] += 1
    total = kinds.total()
    rows = [(name, f"{number:>10,}", f"{100 * number / total:6.2f} %") for name, number in kinds.most_common()]
    print("\n".join([counted(total, "account"), *aligned(rows)] if rows else ["0 accounts"]))
    setting = write_decoys({name: 100 * number / total for name, number in foreign.items()}, place.decoys)
    if not setting:
        print("ok: no account has a hash of another system")
    elif read_decoys(tuple(setting.split(","))) == place.decoys:
        print(f"ok: BATON_DECOYS has the right value: {setting}")
    else:
        print(f"next: set BATON_DECOYS={setting}")
    return 0
