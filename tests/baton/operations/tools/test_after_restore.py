"""The changes since a backup are applied to the restored tables: revoked passwords, codes and accounts stay invalid."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from chalicelib.baton.effects import Done
from chalicelib.baton.errors import NotFound
from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.federation.model import Identity, NewIdentity
from chalicelib.baton.lineages.model import Actor
from chalicelib.baton.storage.dynamodb.database import KEYS, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.identities import StoredIdentities
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.mail_users import MailUsers
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD, Device, through
from tests.baton.wire.second_factor import EMAIL, Person, ask, prove, stepped
from tools.after_restore import read_time
from tools.dev.engine import client, create_tables
from tools.dev.gateway import DevelopmentClock, Gateway
from tools.operate import Operator, main

pytestmark = pytest.mark.guarantee(6, 14)

BOB = "bob@example.com"


@dataclass
class Disaster:
    """A deployment, a backup of its tables, and the later actions of people."""

    source: Tables
    target: Tables
    clock: DevelopmentClock
    monkeypatch: pytest.MonkeyPatch
    since: int = 0
    mail: str = "mailbox"

    def back_up(self) -> None:
        """Copy users and account states."""
        for table in ("users", "lineages"):
            for item in client().scan(TableName=self.source.name(table))["Items"]:
                client().put_item(TableName=self.target.name(table), Item=item)
        self.since = int(self.clock.time())

    def restore(self) -> Callable[[], Device]:
        """Serve the restored tables, and make devices."""
        self.monkeypatch.setenv("BATON_TABLE_PREFIX", self.target.prefix)
        gateway = Gateway([load_environment(self.clock).app])
        return lambda: Device(through(gateway), lambda: int(self.clock.time()))

    def apply(self) -> int:
        """Run the command of the operator, with the settings of the restored deployment."""
        self.monkeypatch.setenv("BATON_TABLE_PREFIX", self.target.prefix)
        self.monkeypatch.setenv("BATON_MAIL", self.mail)
        return main(["after-restore", "--since", str(self.since), "--audit", self.source.prefix])


@pytest.fixture
def disaster(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disaster]:
    """Make tables for the restore."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    target = Tables(f"{tables.prefix}-2")
    create_tables(target)
    yield Disaster(tables, target, clock, monkeypatch)
    for table in KEYS:
        client().delete_table(TableName=target.name(table))


def change_password(phone: Device) -> None:
    """Change the password."""
    body = json.dumps({"new_password": NEW_PASSWORD}).encode()
    assert stepped(phone, "POST", "/me/password", body).status == 204


def test_an_earlier_password_does_not_come_back(
    disaster: Disaster, make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner resets the password by mail. Another account keeps its own. The command may be repeated."""
    phone, bob = make_device(), make_device()
    phone.register(EMAIL)
    bob.register(BOB)
    disaster.back_up()
    change_password(phone)
    device = disaster.restore()
    assert device().login(EMAIL).status == 200  # without the command, the earlier password is back
    for _ in range(2):
        assert disaster.apply() == 0
        assert "passwords removed: 1 account" in capsys.readouterr().out
        for password in (PASSWORD, NEW_PASSWORD):
            assert device().login(EMAIL, password=password).code == "invalid_credentials"
    assert device().login(BOB).status == 200


def test_events_of_one_second_are_repeated_in_their_order(
    disaster: Disaster, make_device: Callable[..., Device]
) -> None:
    """Bug: they were sorted by name, so an account that was enabled and then disabled was enabled after a restore."""
    phone = make_device()
    phone.register(EMAIL)
    disaster.back_up()
    account, at = phone.get("/me").members["account_id"], disaster.since + 1
    for number, event in enumerate(("account_enabled", "account_disabled"), 1):
        row = {"pk": {"S": f"U#{account}"}, "sk": {"S": f"{at:010}#{number:014x}00000000"}}
        client().put_item(
            TableName=disaster.source.audit,
            Item={**row, "at": {"N": str(at)}, "event": {"S": event}, "details": {"M": {}}},
        )
    device = disaster.restore()
    assert device().login(EMAIL).status == 200
    assert disaster.apply() == 0
    assert device().login(EMAIL).code == "invalid_credentials"


def test_a_used_recovery_code_does_not_come_back(
    disaster: Disaster, make_device: Callable[..., Device], clock: DevelopmentClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The event has the digest of the code. The other codes and the app do not change."""
    phone, ada = make_device(), Person(lambda: int(clock.time()))
    phone.register(EMAIL)
    ada.enrol(phone)
    clock.skip(60)
    disaster.back_up()
    tablet = make_device()
    assert prove(tablet, ask(tablet), recovery_code=ada.codes[0]).status == 200
    device = disaster.restore()
    for _ in range(2):
        assert disaster.apply() == 0
        assert "used recovery codes removed: 1; passwords removed: 0 accounts" in capsys.readouterr().out
    other = device()
    assert prove(other, ask(other), recovery_code=ada.codes[0]).code == "invalid_factor"
    assert prove(other, ask(other), recovery_code=ada.codes[1]).status == 200


def test_a_changed_factor_removes_the_password(
    disaster: Disaster, make_device: Callable[..., Device], clock: DevelopmentClock
) -> None:
    """The account had no second factor in the backup, so otherwise the password would be enough for a login."""
    phone, ada = make_device(), Person(lambda: int(clock.time()))
    phone.register(EMAIL)
    disaster.back_up()
    ada.enrol(phone)
    device = disaster.restore()
    assert disaster.apply() == 0
    assert device().login(EMAIL).code == "invalid_credentials"


def test_deleted_and_disabled_accounts_do_not_come_back(
    disaster: Disaster, make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """A disabled account keeps its earlier password, and the command reports this to the operator."""
    phone, bob = make_device(), make_device()
    phone.register(EMAIL)
    bob.register(BOB)
    disaster.back_up()
    assert stepped(phone, "DELETE", "/me").status == 204
    change_password(bob)
    assert main(["disable", BOB]) == 0
    device = disaster.restore()
    capsys.readouterr()
    assert disaster.apply() == 0
    said = capsys.readouterr().out
    assert "deleted, disabled or enabled again: 2 accounts" in said
    assert "earlier credentials again, because they are disabled" in said
    assert device().login(EMAIL).code == "invalid_credentials"
    assert device().register(EMAIL).status == 201
    assert device().login(BOB).code == "invalid_credentials"


def test_changes_of_an_operator_are_listed(
    disaster: Disaster, make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator must repeat them: the backup has the earlier requirement."""
    phone = make_device()
    phone.register(EMAIL)
    account = phone.get("/me").members["account_id"]
    disaster.back_up()
    assert main(["second-factor", EMAIL, "require"]) == 0
    disaster.restore()
    assert disaster.apply() == 0
    assert f"changed since the backup: repeat the change: {account}" in capsys.readouterr().out


def test_without_mail_no_password_is_removed(
    disaster: Disaster, make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """The owner could not set a new password. The command lists these accounts."""
    phone = make_device()
    phone.register(EMAIL)
    account = phone.get("/me").members["account_id"]
    disaster.back_up()
    change_password(phone)
    disaster.restore()
    disaster.mail = "off"
    assert disaster.apply() == 0
    said = capsys.readouterr().out
    assert "BATON_MAIL is off" in said
    assert account in said
    user = MailUsers(DynamoDB(disaster.target)).get(account)
    assert user is not None
    assert user.reset_mark is None


def test_what_happened_before_the_backup_is_not_applied(
    disaster: Disaster, make_device: Callable[..., Device], clock: DevelopmentClock
) -> None:
    """The backup already has the new password."""
    phone = make_device()
    phone.register(EMAIL)
    change_password(phone)
    clock.skip(60)
    disaster.back_up()
    device = disaster.restore()
    assert disaster.apply() == 0
    assert device().login(EMAIL, password=NEW_PASSWORD).status == 200


def test_a_time_is_in_seconds_or_has_an_offset() -> None:
    """Without an offset, another machine would read another time."""
    assert read_time("1800000000") == read_time("2027-01-15T08:00:00Z") == read_time("2027-01-15T09:00:00+01:00")
    for text in ("2027-01-15T08:00:00", "yesterday", "", "\N{SUPERSCRIPT TWO}"):
        with pytest.raises(NotFound, match="is not a time"):
            read_time(text)


def test_the_audit_of_the_restored_tables_is_the_default(
    disaster: Disaster, make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """A restore by hand may keep the names of the tables."""
    phone = make_device()
    phone.register(EMAIL)
    disaster.back_up()
    change_password(phone)
    disaster.monkeypatch.setenv("BATON_MAIL", "mailbox")
    assert main(["after-restore", "--since", str(disaster.since)]) == 0
    assert "passwords removed: 1 account" in capsys.readouterr().out


def test_an_identity_that_was_unlinked_since_logs_nobody_in(
    disaster: Disaster, make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """The backup has this identity. Its item is removed too, so another person can link it. A repetition is safe.

    Bug: only the first account of a run was changed, because all accounts had the same mark.
    """
    place = Operator().place()
    users, identities = MailUsers(place.database), StoredIdentities(place.database)
    linked = {}
    phones = []
    for address in (EMAIL, BOB):
        phones.append(make_device())
        phones[-1].register(address)
        account = users.find(place.ring.email_index(address))
        assert account is not None
        user, state = users.get(account), LineageStore(place.database).get(account)
        assert user is not None
        assert state is not None
        index, now = place.ring.identity_index(2, "https://accounts.google.com", address), int(disaster.clock.time())
        new = NewIdentity(Identity(index, account, now, b"sealed"), LinkedIdentity(index, now))
        (lineage,) = state.lineages
        actor = Actor(account, lineage, not_before=0, credentials_version=1)
        assert identities.link(actor, user, new, remember=None, now=now) == Done()
        linked[account] = index
    disaster.back_up()
    disaster.clock.skip(60)
    for phone in phones:
        assert stepped(phone, "DELETE", "/me/identities/2").status == 204
    disaster.restore()
    for _ in range(2):
        assert disaster.apply() == 0
        assert "passwords removed: 2 accounts" in capsys.readouterr().out
    restored = DynamoDB(disaster.target)
    for account, index in linked.items():
        left = MailUsers(restored).get(account)
        assert left is not None
        assert left.identities == {}
        assert StoredIdentities(restored).get(index) is None


def test_an_account_without_an_address_keeps_its_credentials_and_is_named(
    disaster: Disaster, make_device: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner could not reset the password by mail: the operator decides."""
    phone = make_device()
    phone.register(EMAIL)
    change_password(phone)
    disaster.back_up()
    disaster.clock.skip(60)
    assert stepped(phone, "POST", "/me/password", b'{"new_password": "%s"}' % PASSWORD.encode(), password=NEW_PASSWORD)
    account = str(phone.get("/me").members["account_id"])
    client().update_item(
        TableName=disaster.target.users, Key={"pk": {"S": f"U#{account}"}}, UpdateExpression="REMOVE email, email_index"
    )
    disaster.restore()
    assert disaster.apply() == 0
    assert f"have no address, or BATON_MAIL is off: {account}" in capsys.readouterr().out
