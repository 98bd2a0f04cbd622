"""The operator's commands, on the embedded engine."""

import itertools
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core.exceptions import JsonRESTError
from moto.kms.responses import KmsResponse
from msgspec.structs import replace

from chalicelib.baton.ids import LineageId
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import Ring, Root, root_version
from chalicelib.baton.keys.rotation import make_ring
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import Assurance
from chalicelib.baton.mail.ports import Suppression
from chalicelib.baton.policy import (
    DAY_S,
    KEY_RING_REFRESH_S,
    MINUTE_S,
    REQUEST_MAX_S,
    SIGNING_KEY_PUBLISHED_BEFORE_USE_S,
)
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.audit import Audit as AuditTable
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import RING_KEY, KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper, Wrapper
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.suppressions import SuppressedAddresses
from chalicelib.baton.tokens import opaque as opaque_module
from chalicelib.baton.tokens import token as tokens
from chalicelib.baton.tokens.issue import mint_token
from chalicelib.baton.tokens.presented import read_token
from chalicelib.baton.tokens.token import Kind
from tests.baton.fixture import CLIENTS as CLIENTS_FILE
from tests.baton.fixture import load_environment
from tests.baton.memory import MemoryLog
from tests.baton.wire.conversation import Device, through
from tests.baton.wire.second_factor import EMAIL, Person
from tools import operate as operating
from tools.dev.engine import client
from tools.dev.gateway import DevelopmentClock, Gateway
from tools.operate import CHANGES, main
from tools.operate import clock as now

ROOT = Path(__file__).parents[4]
RING = make_ring(secrets.token_bytes, now=0)
CLIENTS = Clients.from_toml(CLIENTS_FILE.read_text("utf-8"))


ROLES = '\n[roles]\nadmin = { code = 1, second_factor = "required" }\nsupport = { code = 2 }\n'


def claims_of(text: str) -> dict[str, Any]:
    """Read the claims of a JWT."""
    claims: dict[str, Any] = json.loads(decode_base64url(text.split(".")[1]))
    return claims


@pytest.fixture
def waited() -> list[float]:
    """Record the pauses instead of waiting."""
    return []


@pytest.fixture
def operate(waited: list[float]) -> Callable[..., int]:
    """Provide the command without its pauses."""
    return lambda *arguments: main(arguments, pause=waited.append)


@pytest.fixture(params=["local", "kms"])
def wrapper(
    request: pytest.FixtureRequest, tables: Tables, monkeypatch: pytest.MonkeyPatch, operate: Callable[..., int]
) -> Wrapper:
    """Create the key ring with the operator's command, before any request: unencrypted, and encrypted by KMS."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    if request.param == "local":
        return LocalWrapper()
    key_id = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    monkeypatch.setenv("BATON_KEY_RING", f"kms:{key_id}")
    assert operate("make-ring") == 0
    return KmsWrapper(key_id)


@pytest.mark.guarantee(6, 7)
def test_a_disabled_account_refuses_logins_until_it_is_enabled(
    make_device: Callable[..., Device], operate: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every login ends immediately, and stays ended after the account is enabled."""
    phone = make_device()
    phone.register("ada@example.com")
    assert operate("disable", "ada@example.com") == 0
    assert "disabled account" in capsys.readouterr().out
    assert phone.get("/me").code == "login_required"
    assert make_device().login("ada@example.com").code == "invalid_credentials"
    assert operate("enable", "Ada@Example.com") == 0
    assert "its owner can log in" in capsys.readouterr().out
    assert phone.exchange().code == "login_required"
    assert make_device().login("ada@example.com").status == 200
    assert operate("disable", "nobody@example.com") == 1
    assert "no account has this address" in capsys.readouterr().err


@pytest.fixture
def with_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add roles to the registry."""
    text = Clients.from_toml
    monkeypatch.setattr(Clients, "from_toml", lambda words, file="": text(words + ROLES, file))


def test_a_role_is_granted_shown_and_revoked(
    with_roles: None,
    make_device: Callable[..., Device],
    operate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A command changes one role and keeps the others. The tokens change at the next exchange."""
    del with_roles
    phone = make_device()
    phone.register("ada@example.com")
    for command in (("role", "grant", "Ada@Example.com", "support"), ("role", "grant", "ada@example.com", "admin")):
        assert operate(*command) == 0
    assert "has the role admin" in capsys.readouterr().out
    assert operate("roles", "ada@example.com") == 0
    shown = capsys.readouterr().out
    assert "roles: admin (only with a second factor), support; second factor: not required" in shown
    assert claims_of(phone.exchange().members["access_token"])["roles"] == ["support"]
    assert operate("role", "revoke", "ada@example.com", "support") == 0
    assert "does not have the role support" in capsys.readouterr().out
    assert "roles" not in claims_of(phone.exchange().members["access_token"])
    assert phone.get("/me").status == 200, "no login ends"
    assert operate("roles", "ada@example.com") == 0
    assert "roles: admin (only" in capsys.readouterr().out


def test_a_deletion_by_the_operator_is_queued_where_there_is_a_queue(
    operate: Callable[..., int], make_device: Callable[..., Device], tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is found by its name, and its order calls the function of the team too.

    Without the queue, the command changes nothing.
    """
    assert make_device().register("ada@example.com").status == 201
    url = "https://sqs.REGION.amazonaws.com/ACCOUNT/"
    monkeypatch.setenv("BATON_MAIL_QUEUE", f"{url}{tables.prefix}-gone")
    assert operate("delete", "ada@example.com") == 1
    assert make_device().login("ada@example.com").status == 200, "nothing was deleted"
    queue = boto3.client("sqs").create_queue(QueueName=f"{tables.prefix}-mail")["QueueUrl"]
    monkeypatch.setenv("BATON_MAIL_QUEUE", f"{url}{tables.prefix}-mail")
    assert operate("delete", "ada@example.com") == 0
    asked = ["ApproximateNumberOfMessagesDelayed"]
    attributes = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=asked)["Attributes"]
    assert attributes == {"ApproximateNumberOfMessagesDelayed": "1"}


def test_the_operator_forgets_an_account_that_its_owner_deleted(
    operate: Callable[..., int],
    make_device: Callable[..., Device],
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The account is given by its id, because its address is free. An existing account is refused.

    With a queue, the team is called again.
    """
    phone = make_device()
    assert phone.register("ada@example.com").status == 201
    account = phone.get("/me").members["account_id"]
    assert operate("forget", account) == 1
    assert "the account is not deleted" in capsys.readouterr().err
    assert operate("forget", "of-nobody") == 1
    assert phone.confirmed("DELETE", "/me").status == 204
    assert operate("forget", account) == 0
    audit = AuditTable(DynamoDB(tables), MemoryLog())
    (left,) = audit.newest(account, before=None, limit=10, now=now())
    assert (left.event.event, left.event.details) == ("account_deleted", {})
    queue = boto3.client("sqs").create_queue(QueueName=f"{tables.prefix}-mail")["QueueUrl"]
    monkeypatch.setenv("BATON_MAIL_QUEUE", queue)
    assert operate("forget", account) == 0
    assert "on_delete of your app is called in a minute" in capsys.readouterr().out


def test_the_operator_removes_the_second_factors_of_a_person_who_lost_them(
    operate: Callable[..., int],
    make_device: Callable[..., Device],
    tables: Tables,
    capsys: pytest.CaptureFixture[str],
    clock: DevelopmentClock,
) -> None:
    """App, codes and remembered devices are removed.

    The next login needs no factor, no login ends, and the event is audited.
    """
    phone, ada = make_device(), Person(lambda: int(clock.time()))
    assert phone.register(EMAIL).status == 201
    assert operate("factors", EMAIL, "remove") == 1
    assert "the account has no second factor" in capsys.readouterr().err
    ada.enrol(phone)
    assert make_device().login(EMAIL).code == "factor_required"
    assert operate("factors", EMAIL.upper(), "remove") == 0
    assert "has no second factor; no login has ended" in capsys.readouterr().out
    assert phone.get("/me").status == 200
    shown = phone.get("/me/factors").members
    assert (shown["second_factor"], "totp" in shown, shown["recovery_codes"]["left"]) == ("off", False, 0)
    assert make_device().login(EMAIL).status == 200
    account = phone.get("/me").members["account_id"]
    events = AuditTable(DynamoDB(tables), MemoryLog()).newest(account, before=None, limit=10, now=now())
    assert {"kind": "all"} in [one.event.details for one in events if one.event.event == "factor_removed"]
    assert operate("factors", "nobody@example.com", "remove") == 1


def test_the_factors_of_a_disabled_account_stay(
    operate: Callable[..., int],
    make_device: Callable[..., Device],
    capsys: pytest.CaptureFixture[str],
    clock: DevelopmentClock,
) -> None:
    """The login after the account is enabled must prove the factor."""
    phone, ada = make_device(), Person(lambda: int(clock.time()))
    phone.register(EMAIL)
    ada.enrol(phone)
    assert operate("disable", EMAIL) == 0
    assert operate("factors", EMAIL, "remove") == 1
    assert "disabled or deleted" in capsys.readouterr().err
    assert operate("enable", EMAIL) == 0
    assert make_device().login(EMAIL).code == "factor_required"


def test_an_operator_sees_and_lifts_why_an_address_gets_no_mails(
    operate: Callable[..., int], capsys: pytest.CaptureFixture[str], tables: Tables, make_device: Callable[..., Device]
) -> None:
    """The address may have any form, with or without an account. The command also names SES's own list."""
    assert make_device().register("ada@example.com").status == 201
    store = SuppressedAddresses(DynamoDB(tables))
    index = KeyRing(DynamoDB(tables), LocalWrapper(), secrets.token_bytes).current(now=now()).email_index

    assert operate("mail", "Ada@Example.com") == 0
    assert "are sent" in capsys.readouterr().out
    store.suppress(index("ada@example.com"), Suppression(why="complaint", at=1795910400, until=None))
    store.suppress(index("bob@example.com"), Suppression(why="bounce", at=1795910400, until=now() + DAY_S))
    assert operate("mail", "Ada@Example.com") == 0
    assert "was reported as spam on 2026-11-29, until an operator lifts this" in capsys.readouterr().out
    assert operate("mail", "bob@example.com") == 0
    assert "bounced on 2026-11-29, until " in capsys.readouterr().out
    assert operate("mail", "ADA@example.com", "lift") == 0
    assert "aws sesv2 delete-suppressed-destination" in capsys.readouterr().out
    assert store.get(index("ada@example.com")) is None
    assert operate("mail", "ada@example.com", "lift") == 1
    assert "mails to this address are not stopped" in capsys.readouterr().err
    assert operate("mail", "no address") == 1


def test_a_second_factor_is_required_and_released_by_the_operator(
    make_device: Callable[..., Device], operate: Callable[..., int], capsys: pytest.CaptureFixture[str], tables: Tables
) -> None:
    """The requirement is stored in the account state. The command shows it, and the audit records it."""
    phone = make_device()
    phone.register("ada@example.com")
    for change, shown in (("require", "required by an operator"), ("release", "not required by an operator")):
        assert operate("second-factor", "ada@example.com", change) == 0
        assert operate("roles", "ada@example.com") == 0
        assert f"roles: none; second factor: {shown}" in capsys.readouterr().out
    assert phone.get("/me").status == 200, "no login ends"
    events = [item["event"]["S"] for item in client().scan(TableName=tables.audit)["Items"]]
    assert sorted(events)[-2:] == ["second_factor_released", "second_factor_required"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("role", "grant", "ada@example.com", "boss"), "the registry has no role 'boss'"),
        (("role", "grant", "nobody@example.com", "support"), "no account has this address"),
        (("role", "revoke", "nobody@example.com", "support"), "no account has this address"),
        (("roles", "nobody@example.com"), "no account has this address"),
        (("second-factor", "nobody@example.com", "require"), "no account has this address"),
    ],
)
def test_a_command_about_an_unknown_role_or_account_changes_nothing(
    with_roles: None,
    make_device: Callable[..., Device],
    operate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    error: str,
) -> None:
    """The command exits with 1 and names the unknown role or account."""
    del with_roles
    make_device().register("ada@example.com")
    assert operate(*command) == 1
    assert error in capsys.readouterr().err


def test_the_roles_of_a_deleted_or_disabled_account(
    with_roles: None,
    make_device: Callable[..., Device],
    operate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A disabled account keeps its roles, and they can be shown but not changed. A deleted account is not found."""
    del with_roles
    make_device().register("ada@example.com")
    assert operate("role", "grant", "ada@example.com", "support") == 0
    assert operate("disable", "ada@example.com") == 0
    capsys.readouterr()
    assert operate("roles", "ada@example.com") == 0
    assert "roles: support" in capsys.readouterr().out
    assert operate("role", "revoke", "ada@example.com", "support") == 1
    assert operate("second-factor", "ada@example.com", "require") == 1
    assert capsys.readouterr().err.count("disabled or deleted") == 2
    assert operate("delete", "ada@example.com") == 0
    assert operate("roles", "ada@example.com") == 1


@pytest.mark.guarantee(2)
def test_a_key_rotation_waits_until_every_cache_is_updated(
    wrapper: Wrapper,
    make_device: Callable[..., Device],
    operate: Callable[..., int],
    waited: list[float],
    tables: Tables,
    clock: DevelopmentClock,
) -> None:
    """A login stays active across both rotations. The command waits until the new key is in use."""
    phone = make_device()
    phone.register("ada@example.com")
    for revision, command in enumerate(("rotate-signing-key", "rotate-root"), start=1):
        before = sum(waited)
        assert operate(command) == 0
        assert sum(waited) - before == SIGNING_KEY_PUBLISHED_BEFORE_USE_S
        ring = KeyRing(DynamoDB(tables), wrapper, bytes).current(now=now())
        assert ring.revision >= revision
    assert (len(ring.signing), len(ring.roots)) == (3, 2)
    assert phone.exchange().status == 200
    clock.skip(SIGNING_KEY_PUBLISHED_BEFORE_USE_S + KEY_RING_REFRESH_S)
    assert phone.exchange().status == 200
    assert make_device().login("ada@example.com").status == 200


@dataclass
class Deployment:
    """Baton behind its gateway, and an operator with the same clock: the operator's pauses advance the clock."""

    make_device: Callable[..., Device]
    key_ring: Callable[[], Ring]
    lineage_store: LineageStore
    clock: DevelopmentClock
    operate: Callable[..., int]

    def now(self) -> int:
        """Return the time."""
        return int(self.clock.time())


@pytest.fixture
def deployment(
    make_device: Callable[..., Device], tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    """Use the server's clock for the operator."""
    engine = DynamoDB(tables)
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setattr(operating, "clock", lambda: int(clock.time()))
    return Deployment(
        make_device,
        lambda: KeyRing(engine, LocalWrapper(), secrets.token_bytes).current(now=int(clock.time())),
        LineageStore(engine),
        clock,
        lambda *arguments: main(arguments, pause=clock.skip),
    )


def commands_of(runbook: str) -> list[list[str]]:
    """Read the operator's commands of a runbook, in order."""
    text = (ROOT / "docs" / "baton" / "runbooks" / runbook).read_text("utf-8")
    return [found.split() for found in re.findall(r"`STAGE=prod \.venv/bin/python -m tools\.operate ([^`]+)`", text)]


def forgeries(deployment: Deployment, leaked: Ring, phone: Device) -> list[str]:
    """Make every token that a thief of the key ring could make: with every key and time, in both formats.

    The thief has all other data too: account, lineage, generation and times, as stored now.
    """
    issuer = "http://localhost:8000/api"
    names = tokens.Names(issuer, issuer)
    own = read_token(phone.token, ring=deployment.key_ring(), names=names, clients=CLIENTS)
    account_state, client = deployment.lineage_store.get(own.account), CLIENTS.of(own.client)
    assert account_state is not None
    assert client is not None
    lineage, now_ = account_state.lineages[own.lineage], deployment.now()
    made = []
    for kind, moment in itertools.product(Kind, sorted({lineage.auth_time, lineage.issued_at, now_ - 1, now_})):
        token = replace(
            own, kind=kind, generation=lineage.generation, issued_at=moment, expires_at=now_ + 900, key=own.key
        )
        for key in leaked.signing:
            ring = replace(leaked, signing=(replace(key, signs_from=0),))
            made.append(
                mint_token(
                    token,
                    form="jwt",
                    ring=ring,
                    now=now_,
                    names=names,
                    client=client,
                    auth_time=lineage.auth_time,
                    assurance=lineage.assurance,
                )
            )
        made += [sealed_under(root, token) for root in leaked.roots]
    return made


def sealed_under(root: Root, token: tokens.Token) -> str:
    """Encrypt a token as Baton does, under any root."""
    sealed = decode_base64url(
        mint_token(
            token,
            form="opaque",
            ring=replace(RING, roots=(replace(root, version=root_version(token.lineage)),)),
            now=0,
            names=tokens.Names("", ""),
            client=next(iter(CLIENTS)),
            auth_time=0,
            assurance=Assurance("", ()),
        ).removeprefix("baton_")
    )
    facts = opaque_module._siv(root.secret).decrypt(sealed[1:], [opaque_module._DOMAIN, sealed[:1]])
    lead = bytes([root.version])
    return "baton_" + encode_base64url(
        lead + opaque_module._siv(root.secret).encrypt(facts, [opaque_module._DOMAIN, lead])
    )


def accepted(phone: Device, forged: list[str], *, calls_alone: bool = False) -> list[str]:
    """Call and exchange with each token, and return the accepted tokens. The thief has no device key."""
    thief = replaced(phone, bound=False, tokens={})
    taken = []
    for text in forged:
        said = [thief.get("/me", token=text)] + ([] if calls_alone else [thief.exchange(text)])
        for one in said:
            harmless = {"token_invalid", "token_expired", "login_required", "signature_required", "unauthorized_client"}
            assert one.status == 200 or one.code in harmless | {"token_reused"}, one
            taken += [] if one.code in harmless else [text]  # a reuse ends the login, which the thief could cause too
    return taken


UNBOUND = ("simple", "oauth", "legacy", "session-api", "iot")
"""A registry with a client of every mechanism in both formats, whose logins need no key."""


def registered(deployment: Deployment) -> list[Device]:
    """Register an account for a bound device, and an account for an unbound login of every mechanism."""
    phones = [deployment.make_device()] + [deployment.make_device(client_id=name, bound=False) for name in UNBOUND]
    for phone in phones:
        assert phone.register(f"{phone.client_id}@example.com").status == 201
    return phones


@pytest.mark.prove(ci=True)
@pytest.mark.guarantee(4)
def test_the_runbook_signing_key_leak_stops_the_thief(deployment: Deployment) -> None:
    """Bug: leaked keys and roots made valid tokens for every unbound login that began after the runbook."""
    phones = registered(deployment)
    leaked = deployment.key_ring()
    assert accepted(phones[1], forgeries(deployment, leaked, phones[1]), calls_alone=True), "the thief can forge"

    commands = commands_of("signing-key-leak.md")
    assert [command for (command,) in commands] == ["retire-key", "rotate-root", "raise-not-before"]
    between = deployment.make_device(client_id="simple", bound=False)
    assert between.register("between@example.com").status == 201
    for (command,) in commands:
        assert phones[0].exchange().status == 200, "no login ends before the last step"
        assert phones[0].get("/me").status == 200
        assert between.login("between@example.com").status == 200
        assert deployment.operate(command) == 0

    for phone in [*phones, between]:
        assert phone.get("/me").code in {"login_required", "token_expired"}
        assert accepted(phone, forgeries(deployment, leaked, phone)) == []
    for name in UNBOUND:
        phone = deployment.make_device(client_id=name, bound=False)
        assert phone.login(f"{name}@example.com").status == 200
        assert accepted(phone, forgeries(deployment, leaked, phone)) == []
        assert leaked.lineage_secret(LineageId(phone.tokens["device_id"])) is None
        deployment.clock.skip(MINUTE_S)
        assert accepted(phone, forgeries(deployment, leaked, phone)) == []
        assert phone.get("/me").status == 200, "the honest login goes on"
        if "refresh_token" in phone.tokens:
            assert phone.exchange().status == 200
    deployment.clock.skip(KEY_RING_REFRESH_S)
    published = {key["kid"] for key in phones[0].get("/.well-known/jwks.json").members["keys"]}
    assert published
    assert published.isdisjoint(key.kid for key in leaked.signing)


@pytest.mark.prove(ci=True)
@pytest.mark.guarantee(2)
@pytest.mark.parametrize("command", ["rotate-signing-key", "rotate-root", "retire-key"])
def test_no_key_command_logs_out_an_honest_login(deployment: Deployment, command: str) -> None:
    """While the command waits, and after it, the logins make calls, exchanges and retries.

    The two environments have read the key ring at different times.
    """
    phones = registered(deployment)
    pauses: list[float] = []

    def use(pause_s: float) -> None:
        """Move the clock, and use the logins at every fifth pause of the command."""
        pauses.append(pause_s)
        deployment.clock.skip(pause_s)
        for number, phone in enumerate(phones if len(pauses) % 5 == 0 else []):
            if (number + len(pauses) // 5) % 3 and "refresh_token" in phone.tokens:
                parent, attempt = phone.tokens["refresh_token"], secrets.token_urlsafe(16)
                answers = [phone.exchange(parent, attempt=attempt) for _ in range(2)]
                assert [answer.status for answer in answers] == [200, 200], (phone.client_id, answers)
            assert phone.get("/me").status == 200, phone.client_id

    assert main([command], pause=use) == 0
    assert sum(pauses) == CHANGES[command].takes_s
    for _ in range(15):
        use(KEY_RING_REFRESH_S / 10)
    assert deployment.make_device().login("mobile@example.com").status == 200


def test_retire_key_replaces_every_key(deployment: Deployment) -> None:
    """The leaked ring also contained the next key.

    So a key that was not in the leaked ring signs afterwards, and a new next key is published.
    """
    before = deployment.key_ring()
    assert deployment.operate("retire-key") == 0
    after = deployment.key_ring()
    assert after.signer(deployment.now()).kid not in {key.kid for key in before.signing}
    assert after.signing[-1].signs_from > deployment.now()
    for key in after.signing[: len(before.signing)]:
        assert not after.serves(key, deployment.now() + 1)


def _refuse(_: object) -> str:
    raise JsonRESTError("DisabledException", "planted")


@pytest.mark.guarantee(9)
def test_a_key_ring_that_kms_cannot_decrypt_is_a_server_error(
    tables: Tables, operate: Callable[..., int], monkeypatch: pytest.MonkeyPatch, clock: DevelopmentClock
) -> None:
    """An environment that starts without KMS answers 503 to every request and ends no login. With KMS, all continue."""
    key_id = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_KEY_RING", f"kms:{key_id}")
    assert operate("make-ring") == 0
    phone = Device(through(Gateway([load_environment(clock).app])), lambda: int(clock.time()))
    assert phone.register("ada@example.com").status == 201
    phone.send = through(Gateway([load_environment(clock).app]))
    with monkeypatch.context() as disabled:  # by hand: moto decrypts also with a disabled key
        disabled.setattr(KmsResponse, "decrypt", _refuse)
        for said in (phone.get("/me"), phone.exchange(), phone.login("ada@example.com")):
            assert (said.status, said.code) == (503, "unavailable")
            assert said.headers["retry-after"]
    assert phone.exchange().status == 200
    assert phone.get("/me").status == 200


@pytest.mark.guarantee(7)
def test_the_raised_not_before_ends_every_login(
    wrapper: Wrapper,
    make_device: Callable[..., Device],
    operate: Callable[..., int],
    clock: DevelopmentClock,
    waited: list[float],
) -> None:
    """The command waits for the cache time and for the requests that have begun. Then each login has ended."""
    phone = make_device()
    phone.register("ada@example.com")
    assert operate("raise-not-before") == 0
    assert sum(waited) >= KEY_RING_REFRESH_S + REQUEST_MAX_S
    clock.skip(KEY_RING_REFRESH_S)
    assert phone.exchange().code == "login_required"


def test_a_key_ring_is_created_once(
    embedded_engine: None,
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    operate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A second key ring would make every password hash and every token unreadable."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    assert operate("make-ring") == 0
    ring = KeyRing(DynamoDB(tables), LocalWrapper(), bytes).current(now=now())
    assert operate("make-ring") == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert KeyRing(DynamoDB(tables), LocalWrapper(), bytes).current(now=now()) == ring


@pytest.fixture
def ringless(
    make_device: Callable[..., Device], deployment: Deployment, tables: Tables
) -> Callable[[], dict[str, Any] | None]:
    """Delete the key ring of tables with an account. Return a function that reads the key ring item."""
    del deployment
    assert make_device().register("ada@example.com").status == 201
    client().delete_item(TableName=tables.users, Key=RING_KEY)
    return lambda: client().get_item(TableName=tables.users, Key=RING_KEY).get("Item")


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("typed", ["", "y", "yes", "baton", "BATON-", EOFError])
def test_a_key_ring_over_accounts_needs_the_typed_prefix(
    ringless: Callable[[], object], typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: the command created a new key ring without a confirmation.

    A new ring logs out every user and makes every password hash unreadable.
    """

    def ask(_: str) -> str:
        if typed is EOFError:
            raise EOFError
        return str(typed)

    assert main(["make-ring"], ask=ask) == 1
    assert ringless() is None
    said = capsys.readouterr()
    assert "every login ends" in said.out
    assert "hold accounts, and no key ring" in said.err


def test_a_key_ring_over_accounts_is_created_after_confirmation(
    ringless: Callable[[], object], tables: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator types the table prefix. A key ring that another process created in the meantime is kept."""
    assert main(["make-ring"], ask=lambda _: f" {tables.prefix} ") == 0
    made: Any = ringless()
    assert made is not None
    assert "ok: created the key ring" in capsys.readouterr().out
    assert main(["make-ring"], ask=lambda _: pytest.fail("asked")) == 0
    assert ringless() == made

    client().delete_item(TableName=tables.users, Key=RING_KEY)

    def hasty(_: str) -> str:
        client().put_item(TableName=tables.users, Item=made)
        return tables.prefix

    capsys.readouterr()
    assert main(["make-ring"], ask=hasty) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert ringless() == made


@pytest.mark.guarantee(9)
def test_an_environment_creates_no_key_ring_over_accounts(
    ringless: Callable[[], object], clock: DevelopmentClock
) -> None:
    """Development creates a missing key ring at first use. If there are accounts, it answers 503 instead."""
    device = Device(through(Gateway([load_environment(clock).app])), lambda: int(clock.time()))
    assert device.login("ada@example.com").code == "unavailable"
    assert ringless() is None


def test_unknown_arguments_change_nothing(operate: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is 2, with the list of commands. For wrong settings it is 1, with the problem."""
    assert operate() == 2
    assert operate("disable") == 2
    assert operate("drop-tables") == 2
    monkeypatch.setenv("BATON_ISSUER", "nonsense")
    assert operate("make-ring") == 1
