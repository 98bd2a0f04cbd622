"""``make drill``: back up, restore, and prove that no earlier token works and that people can log in.

Without STAGE it runs with the embedded database. With STAGE=dev it runs in the account of your credentials. It
registers five people, makes a backup of the tables, restores it into new tables, and deletes backup and new tables. In
the live tables, it writes only data of these people and two test values. It deletes the five accounts and the values at
the end.
"""

import contextlib
import functools
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from baton_client import Answer, BatonClient, BatonError, MemoryStorage, Record, Refused, Request
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.effects import Done
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.policy import GRANT_S
from chalicelib.baton.settings import SettingsProblems, read_settings
from chalicelib.baton.storage.aws.deployment.look import Deployment
from chalicelib.baton.storage.aws.deployment.required import ObservedTable, judge
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import EXPIRY, KEYS, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral, key_of
from chalicelib.baton.storage.dynamodb.values import Item
from tools import aws, restore, smoke
from tools.dev.engine import embedded
from tools.dev.gateway import DevelopmentClock, Gateway, load_environment
from tools.operate import Operator
from tools.printed import counted
from tools.stages import UnknownStage, enter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EVERYWHERE = {"everywhere": True}
TABLE_PREFIX_MAX: Final = 64
"""The maximum length of ``BATON_TABLE_PREFIX``, in characters."""


class NotProved(Exception):
    """The drill could not prove a claim."""


class Line:
    """A transport from a client to a gateway in this process. ``last``: the last request, to send it again."""

    def __init__(self, gateway: Gateway) -> None:
        """Send requests to ``gateway``."""
        self.gateway = gateway
        self.last: Request | None = None

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request as its client signed it."""
        del timeout_s
        self.last = request
        target = "/" + request.url.split("/", 3)[3]
        said = self.gateway.call(request.method, target, request.headers.items(), request.body)
        return Answer(said.status, {name.lower(): value for name, value in said.headers}, said.body)


def target_of(prefix: str) -> str:
    """Return a prefix for the restored tables: at most 64 characters, and never equal to ``prefix``."""
    suffix = f"-drill-{secrets.token_hex(3)}"
    return prefix[: TABLE_PREFIX_MAX - len(suffix)] + suffix


class Person:
    """A person of the drill, with an e-mail address and a password."""

    def __init__(self, name: str, issuer: str, client_id: str, clock: Callable[[], float]) -> None:
        """Begin without an account."""
        self.email = f"drill-{name}-{secrets.token_hex(4)}@example.com"
        self.password = secrets.token_urlsafe(18)
        self._issuer, self._client_id, self._clock = issuer, client_id, clock

    def device(self, line: Line, record: Record | None = None) -> BatonClient:
        """Return a device that sends over ``line``: a new device, or the device whose stored login is ``record``."""
        storage = MemoryStorage(record)
        return BatonClient(
            self._issuer, self._client_id, storage, transport=line, clock=self._clock, sleep=lambda _: None
        )


class Drill:
    """One run of the drill."""

    def __init__(self, dynamodb: "DynamoDBClient", *, clock: DevelopmentClock, later: Callable[[float], None]) -> None:
        """Read the settings of the environment. ``later`` waits, or moves the clock."""
        settings = read_settings()
        self.dynamodb, self.clock, self.later = dynamodb, clock, later
        self.source = Tables(settings.table_prefix)
        self.target = Tables(target_of(settings.table_prefix))
        self.settings = settings
        self.deployment = Deployment(
            settings.deployment, self.target, key_id=settings.kms_key_id or "", issuer=settings.issuer
        )
        self.key_arn = self.deployment.key_arn()
        client_id = smoke.exchanging(settings.registry)
        if client_id is None:
            raise NotProved("the registry has a client with mechanism exchange and a required binding")
        names = ("ada", "bob", "eve", "kim", "lea")
        self.people = {name: Person(name, settings.issuer, client_id, clock.time) for name in names}
        self.arns: dict[str, str] = {}
        self.one_time: dict[str, Item] = {}
        self.proved = 0

    def prove(self, claim: str, held: bool) -> None:  # noqa: FBT001 - a claim and whether it is true
        """Print ``claim`` if ``held`` is true. Raises ``NotProved`` otherwise."""
        if not held:
            raise NotProved(claim)
        self.proved += 1
        print(f"    proved  {claim}")

    def refused(self, claim: str, act: Callable[[], object], *codes: str) -> None:
        """Prove that ``act`` fails with one of ``codes``: error codes, or names of client errors (``"LoggedOut"``)."""
        try:
            act()
        except Refused as refusal:
            said = refusal.code
        except BatonError as error:
            said = type(error).__name__
        else:
            said = "accepted"
        self.prove(f"{claim}: {said}", said in codes)

    def environment(self, tables: Tables) -> Line:
        """Start Baton in this process with these tables. Return a transport to it."""
        os.environ["BATON_TABLE_PREFIX"] = tables.prefix
        environment = load_environment(self.clock)
        environment.baton.log.metrics = (
            False  # nothing reads these metrics, and they would be printed between the drill's lines
        )
        return Line(Gateway([environment.app]))

    def __call__(self) -> None:
        """Use the tables, back them up, use them further, restore them, and check the result."""
        line = self.environment(self.source)
        print("1/6 register five accounts")
        devices = {}
        for name, person in self.people.items():
            devices[name] = person.device(line)
            if name != "lea":
                devices[name].register(person.email, person.password, "drill")
        ada, bob = self.people["ada"], self.people["bob"]
        first = devices["ada"]._storage.read()
        devices["ada"].exchange()
        grant = devices["ada"].step_up(ada.password, "POST", "/logout", json=EVERYWHERE)
        self.plant(grant)
        devices["ada"].call("GET", "/me")
        captured = line.last
        assert captured is not None
        before = devices["ada"]._storage.read()

        print(f"2/6 back up {', '.join(self.source.name(table) for table in restore.BACKED_UP)}")
        since = int(self.clock.time())
        self.arns = restore.back_up(self.dynamodb, self.source)

        print(
            "3/6 change data after the backup: exchanges, a deletion, a disabled account, a new password, a new account"
        )
        devices["ada"].exchange()
        after = devices["ada"]._storage.read()
        devices["eve"].delete_account(self.people["eve"].password)
        Operator(pause=lambda _: None).set_status("disable", self.people["kim"].email)
        old_password, bob.password = bob.password, secrets.token_urlsafe(18)
        devices["bob"].change_password(old_password, bob.password)
        devices["lea"].register(self.people["lea"].email, self.people["lea"].password, "drill")

        print(f"4/6 restore the backup to {self.target.prefix}-*")
        self.later(2)
        self.restore(since)

        print("5/6 check the protection of the restored tables")
        for table in KEYS:
            name = self.target.name(table)
            looks: Sequence[Any] = self.deployment.observations()[name]()
            findings = [
                finding
                for found in looks
                if isinstance(found, ObservedTable)
                for finding in judge(found, expected_key=self.key_arn, expected_expiry=EXPIRY)
            ]
            self.prove(f"{name} has the required encryption, recovery, protection and TTL", findings == [])

        print("6/6 check that no earlier token works, and that people can log in")
        self.later(2)
        self.look(self.environment(self.target), first, before, after, grant, captured, old_password)

    def plant(self, grant: str) -> None:
        """Store a nonce in the live table of one-time values, and an item with a key prefix that Baton does not use.

        Prove that the table has both items and the item of ``grant``. Keep the three keys in ``one_time``.
        """
        secret, now = secrets.token_urlsafe(16), int(self.clock.time())
        Ephemeral(DynamoDB(self.source)).consume_nonce("drill", secret, now=now, mark=secrets.token_bytes(16))
        mail_token = key_of("M", secret)
        item: Item = {**mail_token, EXPIRY: {"N": str(now + GRANT_S)}}
        self.dynamodb.put_item(TableName=self.source.ephemeral, Item=item)
        self.one_time = {
            "the nonce": key_of("N", "drill", secret),
            "the grant": key_of("G", grant),
            "an item that Baton does not use": mail_token,
        }
        for name, key in self.one_time.items():
            self.prove(f"{name} is in the live table", self.stands(self.source, key))

    def stands(self, tables: Tables, key: Item) -> bool:
        """Check whether a one-time value is stored under this key."""
        return "Item" in self.dynamodb.get_item(TableName=tables.ephemeral, Key=key, ConsistentRead=True)

    def restore(self, since: int) -> None:
        """Restore and protect the tables, and raise the not-before time.

        Then repeat the account deletions and status changes since the backup. ``since`` is the time of the backup.
        """
        restore.restore_backup(self.dynamodb, self.arns, self.target, key_arn=self.key_arn)
        for table in KEYS.keys() - set(restore.BACKED_UP):
            restore.make_table(self.dynamodb, self.target, table, key_arn=self.key_arn)
        restore.wait_for(self.dynamodb, self.target)
        restore.protect(self.dynamodb, self.target)
        restore.raise_not_before_in(self.target, now=int(self.clock.time()))
        events = restore.events_since(self.dynamodb, self.source.audit, since)
        restore.apply_since(events, self.target, now=int(self.clock.time()))

    def look(
        self, line: Line, first: Record, before: Record, after: Record, grant: str, captured: Request, old_password: str
    ) -> None:
        """Prove that the restored deployment accepts no token, signed request or grant from before the restore.

        Also prove that its table of one-time values is empty, and that people can log in.
        """
        for name, key in self.one_time.items():
            self.prove(f"{name} is not in the restored table, read by the same key", not self.stands(self.target, key))
        kept = self.dynamodb.scan(TableName=self.target.ephemeral, Select="COUNT")["Count"]
        self.prove("the restored table has no other one-time value", kept == 0)
        ada, bob, eve = self.people["ada"], self.people["bob"], self.people["eve"]
        for claim, record in {
            "a token used before the backup": first,
            "the current token at the time of the backup": before,
            "the newest token": after,
        }.items():
            self.refused(f"{claim} is refused on a call", ada.device(line, record).me, "LoggedOut")
            self.refused(f"{claim} is refused at the exchange", ada.device(line, record).exchange, "LoggedOut")
        self.prove("an earlier signed request, sent again unchanged, is refused", line(captured, 1).status == 401)
        device = ada.device(line)
        device.login(ada.email, ada.password, "drill")
        self.prove("a login works", device.me()["email"] == ada.email)
        device.exchange()
        self.prove("an exchange and a call of the new login work", device.me()["email"] == ada.email)
        self.refused(
            "an earlier grant is refused",
            lambda: device.call("POST", "/logout", json=EVERYWHERE, grant=grant),
            "grant_invalid",
        )
        device.logout_everywhere(password=ada.password)
        self.prove("a new grant is accepted", device.session is None)
        for name, why in (("eve", "deleted"), ("kim", "disabled"), ("lea", "registered")):
            person = self.people[name]
            enter_again = functools.partial(person.device(line).login, person.email, person.password, "drill")
            self.refused(f"an account {why} after the backup cannot log in", enter_again, "invalid_credentials")
        again = eve.device(line)
        again.register(eve.email, eve.password, "drill")
        self.prove("a deleted address can be registered again", again.me()["email"] == eve.email)
        self.refused(
            "a password changed after the backup is refused",
            lambda: bob.device(line).login(bob.email, bob.password, "drill"),
            "invalid_credentials",
        )
        reverted = bob.device(line)
        reverted.login(bob.email, old_password, "drill")
        self.prove("the earlier password works again, so its owner must be informed", reverted.session is not None)

    def clean(self) -> None:
        """Delete the restored tables, the backups, the test values and the accounts of the drill."""
        for table in KEYS:
            name = self.target.name(table)
            with contextlib.suppress(self.dynamodb.exceptions.ResourceNotFoundException):
                self.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
                self.dynamodb.get_waiter("table_exists").wait(
                    TableName=name
                )  # a table cannot be deleted while it is updated
                self.dynamodb.delete_table(TableName=name)
        for arn in self.arns.values():
            self.dynamodb.delete_backup(BackupArn=arn)
        for key in self.one_time.values():
            self.dynamodb.delete_item(TableName=self.source.ephemeral, Key=key)
        now = int(self.clock.time())
        ring = restore.key_ring_in(self.source).current(now=now)
        users, lineage_store = Users(DynamoDB(self.source)), LineageStore(DynamoDB(self.source))
        for person in self.people.values():
            index = ring.email_index(canonical_email(person.email))
            account = users.find(index)
            if account is not None:
                lineage_store.set_status(account, Status.DELETED, now=now)
                users.forget(account, index, now=now)


@contextlib.contextmanager
def overrides_honoured() -> Iterator[None]:
    """Change moto so that it restores a table with the requested encryption, as AWS does."""
    from moto.dynamodb.responses import DynamoHandler  # noqa: PLC0415 - only needed here

    stock: Callable[..., Any] = DynamoHandler.restore_table_from_backup

    def honoured(handler: DynamoHandler) -> Any:  # noqa: ANN401 - the signature of moto
        stock(handler)
        table = handler.dynamodb_backend.get_table(handler.body["TargetTableName"])
        table.billing_mode = handler.body["BillingModeOverride"]
        table.sse_specification = dict(handler.body["SSESpecificationOverride"])
        from moto.dynamodb.responses import DynamoResult  # noqa: PLC0415 - only needed here

        return DynamoResult(table.describe())

    DynamoHandler.restore_table_from_backup = honoured  # type: ignore[method-assign,assignment] # the replacement
    try:
        yield
    finally:
        DynamoHandler.restore_table_from_backup = stock  # type: ignore[method-assign]


@contextlib.contextmanager
def embedded_deployment() -> Iterator["DynamoDBClient"]:
    """Deploy to the embedded database: a KMS key, four tables, each with its required protection, and a key ring."""
    with embedded(), overrides_honoured():
        import boto3  # noqa: PLC0415 - slow to import

        dynamodb = boto3.client("dynamodb")
        key_arn = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
        source = Tables(f"baton-{secrets.token_hex(3)}")
        os.environ |= {
            "BATON_BREACH_CHECK": "off",  # no request leaves this machine
            "BATON_ISSUER": "https://api.example.com/api",
            "BATON_TABLE_PREFIX": source.prefix,
            "BATON_KEY_RING": f"kms:{key_arn}",
            "BATON_CLIENTS": "clients-dev.toml",
            "BATON_AWS_CLIENT": "botocore",  # the engine of this process serves only botocore
        }
        for table in KEYS:
            restore.make_table(dynamodb, source, table, key_arn=key_arn)
        restore.protect(dynamodb, source)
        made = restore.key_ring_in(source).create(now=int(time.time()))
        assert isinstance(made, Done)
        yield dynamodb


@contextlib.contextmanager
def deployment(stage: str | None) -> Iterator["DynamoDBClient"]:
    """Put the settings of a deployment into the environment, and yield its DynamoDB client.

    Without a stage, make a new deployment on the embedded database.
    """
    if stage is None:
        with embedded_deployment() as dynamodb:
            yield dynamodb
        return
    enter(stage)
    aws.require_account()
    import boto3  # noqa: PLC0415 - slow to import

    yield boto3.client("dynamodb")


@aws.in_one_line
def main(stage: str | None) -> int:
    """Run the drill. Exit 1 if it cannot prove every claim."""
    # Baton runs in this process: its log lines would be printed between the drill's lines.
    os.environ["BATON_LOG_LEVEL"] = "ERROR"
    clock = DevelopmentClock()
    try:
        with deployment(stage) as dynamodb:
            drill = Drill(dynamodb, clock=clock, later=time.sleep if stage else clock.skip)
            try:
                drill()
            finally:
                drill.clean()
    except (SettingsProblems, UnknownStage) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except NotProved as claim:
        print(
            f"\nerror: not proved: {claim}\n"
            "next: correct this before you use docs/baton/runbooks/restore-from-backup.md",
            file=sys.stderr,
        )
        return 1
    print(f"\nok: {counted(drill.proved, 'claim')} proved; the drill's own tables, backups and accounts are deleted")
    print(
        "next: make drill STAGE=dev, against a real account" if stage is None else "next: note the date of this drill"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ.get("STAGE") or None))
