"""Restore users and account states from a backup into tables with another prefix, with the same protection.

The command is ``python -m tools.restore FROM TO SECONDS``, with the settings of the stage in the environment
(STAGE=prod). It restores the tables with prefix FROM, as they were SECONDS ago, to tables with prefix TO. In the
restored tables it raises the not-before time. It also repeats the account deletions and status changes since the time
of the restored data. You may run the command after an interruption, or after a restore by hand: it does not restore a
table a second time.
docs/baton/runbooks/restore-from-backup.md describes the steps. `make drill` tests the steps.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Done
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.rotation import raise_not_before
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.settings import SettingsProblems, read_settings
from chalicelib.baton.storage.aws.deployment.required import TABLES
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import EXPIRY, KEYS, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from tools import aws
from tools.printed import counted
from tools.stages import UnknownStage, enter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BACKED_UP: Final = ("users", "lineages")
"""The restored tables. The other tables begin empty: earlier one-time values must not work again."""

POLL_S: Final = 10
STATUS_AFTER: Final[Mapping[str, Status]] = {
    "account_deleted": Status.DELETED,
    "account_disabled": Status.DISABLED,
    "account_enabled": Status.ACTIVE,
}

PASSWORD_CHANGES: Final = frozenset({"password_changed", "password_reset", "account_claimed", "changes_undone"})
"""The events that set another password, or remove it."""

BACKUPS_BEGIN_S: Final = 300
"""The time that AWS may need until it accepts point-in-time recovery for a new table, in seconds."""

Pause = Callable[[float], None]


class InTheWay(Exception):
    """A table with the target name exists, but it is not a restored table."""


class Happened(Struct, frozen=True, order=True):
    """An event of an account.

    ``place``: the sort key of the event in the audit table. This key also orders the events of one second.
    ``digest``: identifies the recovery code that a login used. Empty for other events.
    """

    place: str
    event: str
    account: AccountId
    digest: str = ""


def encryption(key_arn: str) -> dict[str, Any]:
    """Return the ``SSESpecification`` of a DynamoDB table for a customer key."""
    return {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key_arn}


def back_up(dynamodb: "DynamoDBClient", source: Tables, *, pause: Pause = time.sleep) -> dict[str, str]:
    """Make a backup of each table in ``BACKED_UP``, and wait until all are complete. Return table -> ARN."""
    arns = {
        table: dynamodb.create_backup(TableName=source.name(table), BackupName=f"{source.name(table)}-drill")[
            "BackupDetails"
        ]["BackupArn"]
        for table in BACKED_UP
    }
    for arn in arns.values():
        while (
            dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"] == "CREATING"
        ):
            pause(POLL_S)
    return arns


def restore_backup(dynamodb: "DynamoDBClient", arns: Mapping[str, str], target: Tables, *, key_arn: str) -> None:
    """Start to restore tables from backups. The customer key encrypts the restored tables."""
    for table, arn in arns.items():
        dynamodb.restore_table_from_backup(
            TargetTableName=target.name(table),
            BackupArn=arn,
            BillingModeOverride="PAY_PER_REQUEST",
            SSESpecificationOverride=encryption(key_arn),  # type: ignore[arg-type]
        )


def restore_time(dynamodb: "DynamoDBClient", source: Tables, target: Tables, *, at: int, key_arn: str) -> None:
    """Start to restore tables as of a time, except for tables that are already restored. Raises ``InTheWay``."""
    for table in BACKED_UP:
        there = described(dynamodb, target.name(table))
        if there and "RestoreSummary" not in there:
            raise InTheWay(f"the table {target.name(table)} exists and was not restored: choose another prefix")
        if there:
            continue
        dynamodb.restore_table_to_point_in_time(
            SourceTableName=source.name(table),
            TargetTableName=target.name(table),
            RestoreDateTime=datetime.fromtimestamp(at, UTC),
            BillingModeOverride="PAY_PER_REQUEST",
            SSESpecificationOverride=encryption(key_arn),  # type: ignore[arg-type]
        )


def described(dynamodb: "DynamoDBClient", name: str) -> Mapping[str, Any]:
    """Describe a table. Return an empty mapping if it does not exist."""
    try:
        return dynamodb.describe_table(TableName=name)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return {}


def restored_as_of(dynamodb: "DynamoDBClient", target: Tables) -> int:
    """Return the Unix time of the data in the restored tables. If their times differ, return the earliest.

    If an earlier run restored a table, this time can be earlier than ``SECONDS`` ago.
    """
    summaries = (described(dynamodb, target.name(table)).get("RestoreSummary") for table in BACKED_UP)
    return min(int(summary["RestoreDateTime"].timestamp()) for summary in summaries if summary)


def make_table(dynamodb: "DynamoDBClient", tables: Tables, table: str, *, key_arn: str) -> None:
    """Make an empty table with the primary key and encryption of ``infra/data.yaml``. ``protect`` sets the rest."""
    wanted = TABLES[table]
    dynamodb.create_table(
        TableName=tables.name(table),
        KeySchema=[
            {"AttributeName": part, "KeyType": "RANGE" if number else "HASH"} for number, part in enumerate(KEYS[table])
        ],
        AttributeDefinitions=[{"AttributeName": part, "AttributeType": "S"} for part in KEYS[table]],
        BillingMode="PAY_PER_REQUEST",
        **({"SSESpecification": encryption(key_arn)} if wanted.customer_key else {}),  # type: ignore[arg-type]
    )


def wait_for(dynamodb: "DynamoDBClient", tables: Tables, *, pause: Pause = time.sleep) -> None:
    """Wait until all four tables are active, and print the progress. A large restore takes hours."""
    began = time.monotonic()
    for table in KEYS:
        while dynamodb.describe_table(TableName=tables.name(table))["Table"]["TableStatus"] != "ACTIVE":
            print(f"\r  waiting for {tables.name(table)}: {time.monotonic() - began:>5.0f} s ", end="", flush=True)
            pause(POLL_S)


def protect(dynamodb: "DynamoDBClient", tables: Tables, *, pause: Pause = time.sleep) -> None:
    """Turn on what a restore does not copy: point-in-time recovery, TTL, deletion protection and the audit stream."""
    for table, wanted in TABLES.items():
        name = tables.name(table)
        if wanted.recovery:
            _let_recover(dynamodb, name, pause=pause)
        expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if wanted.swept and expiry["TimeToLiveStatus"] == "DISABLED":
            dynamodb.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY}
            )
        if wanted.protection:
            dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True)
    if not described(dynamodb, tables.audit).get("StreamSpecification"):
        dynamodb.update_table(
            TableName=tables.audit, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        )


def _let_recover(dynamodb: "DynamoDBClient", name: str, *, pause: Pause) -> None:
    """Turn point-in-time recovery on. Repeat this for up to 5 minutes, because AWS may refuse it for a new table."""
    for left in range(BACKUPS_BEGIN_S, -1, -POLL_S):
        try:
            dynamodb.update_continuous_backups(
                TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
            )
        except dynamodb.exceptions.ContinuousBackupsUnavailableException:
            if not left:
                raise
            pause(POLL_S)
        else:
            return


def key_ring_in(tables: Tables) -> KeyRing:
    """Return the key ring of these tables. The settings name the KMS key, if a KMS key encrypts the key ring."""
    key_id = read_settings().kms_key_id
    return KeyRing(DynamoDB(tables), KmsWrapper(key_id) if key_id else LocalWrapper(), os.urandom)


def raise_not_before_in(tables: Tables, *, now: int) -> int:
    """Raise the not-before time in restored tables and return this time. No deployment may use the tables yet.

    Raises ``Unavailable`` if another process changes the key ring at the same time.
    """
    key_ring = key_ring_in(tables)
    ring = key_ring.current(now=now)
    fenced = raise_not_before(ring, now=now)
    if not isinstance(key_ring.replace(fenced, expected_revision=ring.revision), Done):
        raise errors.Unavailable("another process uses the restored tables: stop it, and run the command again")
    return fenced.not_before


def events_since(dynamodb: "DynamoDBClient", audit: str, since: int) -> list[Happened]:
    """Return the events of accounts since a time, the oldest first, from the audit table ``audit``."""
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=audit,
        FilterExpression="#at >= :since",
        ExpressionAttributeNames={"#at": "at"},
        ExpressionAttributeValues={":since": {"N": str(since)}},
    )
    return sorted(
        Happened(
            item["sk"]["S"],
            item["event"]["S"],
            AccountId(item["pk"]["S"].removeprefix("U#")),
            item.get("details", {}).get("M", {}).get("digest", {}).get("S", ""),
        )
        for page in pages
        for item in page["Items"]
    )


def apply_since(events: Sequence[Happened], target: Tables, *, now: int) -> int:
    """Repeat the deletions and status changes among ``events``. Return the number of changed accounts."""
    users, lineage_store = Users(DynamoDB(target)), LineageStore(DynamoDB(target))
    changes = [one for one in events if one.event in STATUS_AFTER]
    for one in changes:
        lineage_store.set_status(one.account, STATUS_AFTER[one.event], now=now)
        user = users.get(one.account) if one.event == "account_deleted" else None
        if user is not None:
            users.forget(one.account, user.email_index, now=now)
    return len({one.account for one in changes})


@aws.in_one_line
def main(arguments: Sequence[str], *, pause: Pause = time.sleep) -> int:
    """Run the command with ``arguments`` FROM, TO and SECONDS: restore the tables, and print the next steps."""
    match list(arguments):
        case [source_prefix, target_prefix, seconds] if seconds.isdigit() and source_prefix != target_prefix:
            source, target, ago = Tables(source_prefix), Tables(target_prefix), int(seconds)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    try:
        if stage := os.environ.get("STAGE"):
            enter(stage)
        aws.require_account()
        key_id = read_settings().kms_key_id
        if key_id is None:
            print("error: only a deployment with a KMS key has backups", file=sys.stderr)
            return 1
        import boto3  # noqa: PLC0415 - slow to import

        dynamodb, now = boto3.client("dynamodb"), int(time.time())
        key_arn = boto3.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]["Arn"]
        print(f"1/5 restore {source.prefix}-* of {ago} s ago to {target.prefix}-*", flush=True)
        restore_time(dynamodb, source, target, at=now - ago, key_arn=key_arn)
        for table in KEYS.keys() - set(BACKED_UP):
            if not described(dynamodb, target.name(table)):
                make_table(dynamodb, target, table, key_arn=key_arn)
        wait_for(dynamodb, target, pause=pause)
        print("2/5 turn on recovery, TTL and deletion protection")
        protect(dynamodb, target, pause=pause)
        not_before = raise_not_before_in(target, now=int(time.time()))
        print(
            f"3/5 not-before time raised to {datetime.fromtimestamp(not_before, UTC):%Y-%m-%d %H:%M:%S} UTC: "
            "earlier logins have ended"
        )
        since = min(now - ago, restored_as_of(dynamodb, target))
        if described(dynamodb, source.audit):
            events = events_since(dynamodb, source.audit, since)
            touched = apply_since(events, target, now=int(time.time()))
            print(f"4/5 deleted, disabled or enabled again: {counted(touched, 'account')}")
            changed = len({one.account for one in events if one.event in PASSWORD_CHANGES})
            print(f"5/5 have an earlier password again: {counted(changed, 'account')}; inform their owners")
        else:
            print(
                f"4/5 warning: {source.audit} does not exist. remedy: delete and disable with `tools.operate` the "
                f"accounts that the log names since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC\n"
                "5/5 inform the owners whose passwords changed since then"
            )
    except (SettingsProblems, UnknownStage) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except (errors.Refusal, InTheWay, *aws.failures()) as trouble:  # type: ignore[misc] # a tuple of exception classes
        print(
            f"{aws.said(trouble) or f'error: {trouble}'}\nnext: run it again: it continues where it stopped",
            file=sys.stderr,
        )
        return 1
    print(
        f"ok: restored. next: BATON_TABLE_PREFIX={target.prefix} in .chalice/config.json and its policies, then "
        "deploy: docs/baton/runbooks/restore-from-backup.md, step 4"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
