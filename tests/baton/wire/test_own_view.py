"""Activity, export and deletion over HTTP, compared with a scan of all tables."""

import json
import re
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from chalicelib.baton.effects import Done
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.mail.outbox import OF_THIS_PROCESS
from chalicelib.baton.mail.ports import Suppression
from chalicelib.baton.policy import DAY_S
from chalicelib.baton.storage.dynamodb.database import KEYS, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.suppressions import SuppressedAddresses
from tests.baton.factors.authenticator import Authenticator
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import PASSWORD, Device, Said, through
from tests.baton.wire.restore import keep, restore
from tests.baton.wire.second_factor import EMAIL, Person, stepped
from tools.dev.engine import client
from tools.dev.gateway import DevelopmentClock, Gateway
from tools.operate import main

USER: Mapping[str, str] = {
    "email": "account.email",
    "email_index": "",  # an HMAC of the address
    "verifier": "",  # the password hash
    "v": "",  # a count of changes
    "created_at": "account.created_at",
    "verified_at": "account.email_verified_at",
    "language": "account.language",
    "reset_mark": "",  # the id of a request
    "second_factor": "account.second_factor_on",
    "totp": "",  # the secret of the authenticator app
    "totp_step": "factors.last_used_at",
    "totp_mark": "",  # the id of a request
    "totp_at": "factors.added_at",
    "totp_new": "factors.by_new_device",
    "recovery": "factors.left",
    "recovery_at": "factors.added_at",
    "recovery_mark": "",
    "recovery_spent": "",  # the digest of a used code
    "recovery_new": "factors.by_new_device",
    "kept": "",  # HMACs of old addresses, for seven days
    "remembered": "factors.key_id",
    "restore": "factors.public_key",
    "passkeys": "factors.public_key",  # wire/test_passkeys.py tests the other values of a passkey
}
STATE: Mapping[str, str] = {
    "s": "",  # the status, which is active
    "e": "",  # a count of ends
    "v": "",
    "L": "devices",
    "z": "devices.ended_at",
    "y": "devices.ended_reason",
    "r": "account.roles",
    "q": "account.second_factor_required",
    "A": "account.attributes",
}
LOGIN: Mapping[str, str] = {
    "g": "",  # the number of the token
    "e": "",
    "a": "",  # digests of attempts
    "u": "",  # the earliest time of a valid session id
    "i": "last_exchange_at",
    "x": "expires_at",
    "b": "key_thumbprint",
    "c": "client_id",
    "t": "created_at",
    "k": "acr",
    "n": "name",
    "p": "restored_from",
    "d": "last_used_at",
    "w": "browser_key",
    "z": "ended_at",
    "y": "ended_reason",
}
"""Each attribute, and the member of the export that shows it. Empty: a secret, or a number that means nothing to the
owner."""


def scanned(tables: Tables, account: str) -> dict[str, list[dict[str, Any]]]:
    """Find every item of every table that names the account, or its address."""
    return {
        table: [
            item
            for item in client().scan(TableName=tables.name(table), ConsistentRead=True)["Items"]
            if account in str(item) or EMAIL in str(item)
        ]
        for table in KEYS
    }


def exported(phone: Device, ada: Person) -> Said:
    """Step up with both factors, and export."""
    return stepped(phone, "GET", "/me/export", totp=ada.fresh_code())


def prove_address(phone: Device) -> None:
    """Reset the password with a code, log in, and prove the address with another code, in Chinese."""
    forgot = phone.entry(EMAIL)
    del forgot["password"]
    session = phone.post("/password/forgot", forgot, token=None).members["mail_session"]
    reset = {"mail_session": session, "code": newest_code(), "new_password": PASSWORD}
    assert phone.post("/password/reset", reset, token=None).status == 204
    assert phone.login(EMAIL).status == 200
    session = phone.post("/me/email/code", {"language": "zh"}).members["mail_session"]
    assert phone.post("/me/email/verify", {"mail_session": session, "code": newest_code()}).status == 204


def newest_code() -> str:
    """Read the code of the newest mail."""
    found = re.search(r"\b[0-9]{4} [0-9]{4}\b", OF_THIS_PROCESS.mails[-1].text)
    assert found
    return found[0]


@pytest.fixture(autouse=True)
def mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch on mail, which stores attributes of its own."""
    monkeypatch.setenv("BATON_MAIL", "mailbox")


@pytest.fixture
def ada(clock: DevelopmentClock) -> Person:
    """Return Ada, who has no authenticator app yet."""
    return Person(lambda: int(clock.time()))


@pytest.fixture
def shown(
    make_device: Callable[..., Device], clock: DevelopmentClock, tables: Tables, ada: Person
) -> tuple[Device, str]:
    """Return an account with everything that can be stored: logins of each kind, factors, roles and attributes."""
    phone = make_device(client_id="mobile")
    assert phone.register(EMAIL).status == 201
    prove_address(phone)
    account = phone.get("/me").members["account_id"]
    for client_id, bound in (("session-api", False), ("iot", False), ("legacy", True), ("mobile-opaque", True)):
        other = make_device(client_id=client_id, bound=bound)
        assert other.login(EMAIL).status == 200
        assert other.get("/me").status == 200
        if client_id == "mobile-opaque":
            assert other.post("/logout", {}).status == 204
    platform = Authenticator(rp_id="localhost", origin="http://localhost:8000", flags=0)
    assert keep(phone, platform).status == 204
    assert restore(make_device(client_id="mobile"), platform).status == 200
    ada.enrol(phone)
    clock.skip(60)
    assert phone.exchange().status == 200
    state = load_environment(clock).baton.lineage_store
    assert state.set_roles(AccountId(account), frozenset({1}), expected=frozenset()) == Done()
    assert state.set_attributes(AccountId(account), b"\x81\xa4plan\x02") == Done()
    assert state.set_second_factor(AccountId(account), required=True) == Done()
    return phone, account


def test_an_export_equals_a_scan_of_all_tables(shown: tuple[Device, str], tables: Tables, ada: Person) -> None:
    """Every stored attribute is exported, or is listed in this module as a secret or a count. No secret is exported."""
    phone, account = shown
    found = scanned(tables, account)
    (state,) = found["lineages"]
    said = exported(phone, ada)
    (user,) = [item for item in scanned(tables, account)["users"] if item["pk"]["S"].startswith("U#")]
    assert said.status == 200
    export = said.members
    assert {item["pk"]["S"][:2] for item in found["users"]} == {"U#", "E#"}
    assert {"verified_at", "language", "reset_mark"} < user.keys()
    assert user.keys() - {"pk"} <= USER.keys(), "export the new attribute, or add it to this module with a reason"
    assert state.keys() - {"pk"} <= STATE.keys()
    assert {name for login in state["L"]["M"].values() for name in login["M"]} <= LOGIN.keys()
    assert export["account"] == {
        "account_id": account,
        "email": user["email"]["S"],
        "email_verified_at": int(user["verified_at"]["N"]),
        "email_status": "ok",
        "language": "zh",
        "created_at": int(user["created_at"]["N"]),
        "roles": [],  # the registry of these tests has no role with code 1
        "second_factor_on": "second_factor" in user,
        "second_factor_required": "q" in state,
        "attributes": {"plan": 2},
    }
    assert export["factors"] == [
        {"kind": "password"},
        {
            "kind": "totp",
            "added_at": int(user["totp_at"]["N"]),
            "last_used_at": 30 * int(user["totp_step"]["N"]),
            "by_new_device": "totp_new" in user,
        },
        {
            "kind": "recovery_codes",
            "added_at": int(user["recovery_at"]["N"]),
            "by_new_device": "recovery_new" in user,
            "left": len(user["recovery"]["BS"]),
        },
        *(
            {"kind": "remembered_device", "added_at": int(at["N"]), "key_id": key}
            for key, at in sorted(user["remembered"]["M"].items())
        ),
        *(
            {
                "kind": "restore_key",
                "added_at": int(one["M"]["r"]["N"]),
                "key_id": key,
                "credential_id": encode_base64url(one["M"]["i"]["B"]),
                "public_key": encode_base64url(one["M"]["k"]["B"]),
            }
            for key, one in user["restore"]["M"].items()
        ),
    ]
    assert len(user["restore"]["M"]) == 1
    assert [one["restored_from"] for one in export["devices"]].count(phone.tokens["device_id"]) == 1
    assert {one["device_id"] for one in export["devices"]} == state["L"]["M"].keys()
    for device in export["devices"]:
        login = state["L"]["M"][device["device_id"]]["M"]
        assert device["created_at"] == int(login["t"]["N"])
        assert device["expires_at"] == int(login["x"]["N"])
        assert device["name"] == login["n"]["S"]
        assert ("last_used_at" in device) == ("d" in login)
        assert ("key_thumbprint" in device) == (len(login["b"]["B"]) == 32)
        ended: tuple[int | None, str | None] = (None, None)
        if "z" in login:
            ended = (int(login["z"]["N"]), "logout")
        elif login["e"] != state["e"]:
            ended = (int(state["z"]["N"]), "claimed")
        assert (device["ended_at"], device["ended_reason"]) == ended
    assert [one["at"] for one in export["events"]] == sorted(
        (int(one["at"]["N"]) for one in found["audit"]), reverse=True
    )
    assert len(export["events"]) == len(found["audit"])
    assert export["truncated"] is False
    assert "app" not in export
    text = said.body.decode()
    secrets = [user["email_index"]["S"], phone.tokens["access_token"], ada.secret, *ada.codes]
    assert all(secret not in text for secret in secrets)


def test_an_export_is_an_event_of_the_account(shown: tuple[Device, str], ada: Person) -> None:
    """The owner sees that the account was exported."""
    phone, _ = shown
    assert exported(phone, ada).status == 200
    newest = phone.get("/me/activity").members["events"][0]
    assert (newest["event"], newest["device_id"]) == ("account_exported", phone.tokens["device_id"])


@pytest.mark.guarantee(6)
def test_a_stolen_login_exports_nothing(make_device: Callable[..., Device]) -> None:
    """The export needs a step-up with the password. The activity needs none, because it contains no secret."""
    phone = make_device()
    phone.register(EMAIL)
    assert phone.get("/me/export").code == "step_up_required"
    assert phone.request("GET", "/me/export", headers={"baton-grant": "made up"}).code == "grant_invalid"
    assert phone.get("/me/activity").status == 200
    grant = phone.step_up("GET", "/me/export")
    assert phone.request("GET", "/me/export", headers={"baton-grant": grant}).status == 200
    assert phone.request("GET", "/me/export", headers={"baton-grant": grant}).code == "grant_invalid"


def test_pages_follow_each_other_over_http(make_device: Callable[..., Device], clock: DevelopmentClock) -> None:
    """The signature covers the cursor, and an invalid cursor is refused."""
    phone = make_device()
    phone.register(EMAIL)
    account = phone.get("/me").members["account_id"]
    audit = load_environment(clock).baton.audit
    for number in range(50):
        audit.append(AuditEvent(int(clock.time()) + 1 + number, "logged_in", account), event_id=f"{number:016x}")
    first = phone.get("/me/activity").members
    assert len(first["events"]) == 50
    second = phone.get(f"/me/activity?before={first['next']}")
    assert second.status == 200
    assert second.members["events"][-1]["event"] == "registered"
    assert second.members["events"][0]["at"] <= first["events"][-1]["at"]
    for query, code in (("before=x", "wrong_type"), ("after=x", "unknown_field"), ("before=" + "1" * 99, "wrong_type")):
        assert phone.get(f"/me/activity?{query}").code == code


def test_the_teams_function_adds_to_the_export(tables: Tables, clock: DevelopmentClock, monkeypatch: Any) -> None:
    """The function gets the id of the account. Only one function can be registered."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    module: ModuleType = load_environment(clock)

    @module.baton.on_export  # type: ignore[untyped-decorator] # a module made at run time
    def orders(account: AccountId) -> object:
        return {"orders": [account]}

    with pytest.raises(RuntimeError, match="on_export was called before"):
        module.baton.on_export(orders)
    phone = Device(through(Gateway([module.app])), lambda: int(clock.time()))
    phone.register(EMAIL)
    account = phone.get("/me").members["account_id"]
    assert phone.confirmed("GET", "/me/export").members["app"] == {"orders": [account]}


def test_after_a_deletion_by_the_operator_a_scan_finds_a_tombstone_and_an_event(
    shown: tuple[Device, str], tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name, address, device, role or attribute is left. The only event has no details."""
    _, account = shown
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    assert main(["delete", EMAIL]) == 0
    left = scanned(tables, account)
    assert left["users"] == []
    (tombstone,) = left["lineages"]
    assert tombstone.keys() == {"pk", "s", "e", "v", "L", "z", "y"}
    assert tombstone["L"] == {"M": {}}
    (event,) = left["audit"]
    assert (event["event"], event["details"], "lineage" in event) == ({"S": "account_deleted"}, {"M": {}}, False)
    assert {item["pk"]["S"][:2] for item in left["ephemeral"]} <= {"T#"}, "only counts are left"


def test_after_a_deletion_by_its_owner_no_address_and_no_device_is_left(
    shown: tuple[Device, str], tables: Tables, ada: Person
) -> None:
    """Only a deleted account state, one event and the HMAC of a bounced address are left (case 60 of attacks.md).

    The account state has the id of the login that deleted the account.
    """
    phone, account = shown
    suppressed = Suppression(why="bounce", at=int(time.time()), until=int(time.time()) + DAY_S)
    SuppressedAddresses(DynamoDB(tables)).suppress(EmailIndex("hmac-of-the-address"), suppressed)
    assert stepped(phone, "DELETE", "/me", totp=ada.fresh_code()).status == 204
    left = scanned(tables, account)
    assert left["users"] == []
    (tombstone,) = left["lineages"]
    assert tombstone.keys() == {"pk", "s", "e", "v", "L", "z", "y", "m"}
    assert tombstone["L"] == {"M": {}}
    (event,) = left["audit"]
    assert (event["event"], event["details"], "lineage" in event) == ({"S": "account_deleted"}, {"M": {}}, False)
    (kept,) = [item for item in client().scan(TableName=tables.users)["Items"] if item["pk"]["S"] != "K#ring"]
    assert kept.keys() == {"pk", "why", "at", "until"}, "a bounce is kept until its own time"
    assert EMAIL not in json.dumps([left, kept], default=str)
    assert {item["pk"]["S"][:2] for item in left["ephemeral"]} <= {"T#"}, "only counts are left"
