"""Each write on behalf of a caller has the condition that the login is active.

A read authorizes a call, and its login can end before the write. The test finds the writes in the source of the stores.
Each is in the list below, with the reason why it is correct. A new write fails here until it is listed.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.attestation.ports import Attestations
from chalicelib.baton.events.ports import Audit
from chalicelib.baton.factors.ports import FactorStore, RateLimits
from chalicelib.baton.federation.ports import Identities, ProviderTokens
from chalicelib.baton.keys.ports import ChangingKeyRing
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.mail.ports import MailUsers, Suppressions
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.testing.contract import LineagesContract, StorageContract
from chalicelib.baton.testing.contract.addresses import AddressesContract
from chalicelib.baton.testing.contract.mail import MailContract
from chalicelib.baton.tokens.ports import OneTime

pytestmark = pytest.mark.guarantee(6)

ROOT = Path(__file__).parents[3]
BATON = ROOT / "chalicelib" / "baton"
STORES = BATON / "storage" / "dynamodb"
CARRIERS = frozenset({"database.py"})
"""Files that send any write and define none."""
DATABASE = frozenset({"write", "transact", "delete_batch"})
RAW = frozenset({"put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item"})


@dataclass(frozen=True, slots=True)
class Carries:
    """The write has the condition that the login is active. ``proof`` is the contract's test that sees the refusal."""

    proof: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Consumes:
    """The write only consumes or prepares a one-time value. The write that the value is for has the condition."""

    write: str


@dataclass(frozen=True, slots=True)
class NoCaller:
    """The write is not on behalf of a login."""

    why: str


_LAW = LineagesContract.test_no_write_on_behalf_of_a_login_that_is_not_live
WRITES: Mapping[str, Carries | Consumes | NoCaller] = {
    "accounts.register": NoCaller("there is no login yet; index entry, user and account state must not exist"),
    "accounts.change_password": Carries(
        LineagesContract.test_no_password_is_changed_on_behalf_of_a_login_that_is_not_live
    ),
    "accounts.rehash": NoCaller("the same password, verified in this request; a changed hash is not overwritten"),
    "accounts.set_first_password": NoCaller(
        "a login before its lineage; the account has no password, and its state is as it was read"
    ),
    "accounts.forget": NoCaller("it deletes the rest of a deleted account; the deletion had the condition"),
    "factors.consume_totp_step": Consumes(
        "a login, or the keeping of a grant; a device is remembered by its own proof"
    ),
    "factors.consume_recovery_code": Consumes("a login"),
    "factors.use_passkey": Consumes("a login, or the keeping of a grant; a device is remembered by its own proof"),
    "factors.rename_passkey": Carries(StorageContract.test_no_passkey_is_named_on_behalf_of_a_login_that_is_not_live),
    "factors.keep_restore_key": Carries(
        StorageContract.test_no_restore_key_is_changed_on_behalf_of_a_login_that_is_not_live
    ),
    "factors.change_factors": Carries(StorageContract.test_no_factor_is_changed_on_behalf_of_a_login_that_is_not_live),
    "mail_users.verify_address": Carries(
        MailContract.test_no_address_is_verified_on_behalf_of_a_login_that_is_not_live
    ),
    "mail_users.reset_password": NoCaller(
        "a code from the mailbox proves it, for the credentials version in the condition; it ends every login"
    ),
    "mail_users.move_address": Carries(
        AddressesContract.test_no_address_is_moved_on_behalf_of_a_login_that_is_not_live
    ),
    "mail_users.undo_changes": NoCaller(
        "a link from the mailbox proves it, for the credentials version in the condition; it ends every login"
    ),
    "mail_users.delete_unproved": NoCaller(
        "a link from the mailbox proves it, for an address that was never proved, which is in the condition"
    ),
    "lineages.exchange": Carries(LineagesContract.test_a_dead_lineage_is_not_exchanged),
    "lineages.add_lineage": NoCaller(
        "a login verifies the password; the credentials version is in the condition, and of a restore the parent"
    ),
    "lineages.record_use": Carries(LineagesContract.test_an_ended_lineage_does_not_slide_even_as_read),
    "lineages.end": NoCaller("it ends only the caller's own login"),
    "lineages.end_device": Carries(_LAW),
    "lineages.bind_browser": Carries(LineagesContract.test_no_browser_is_bound_on_behalf_of_a_login_that_is_not_live),
    "lineages.end_all": Carries(_LAW),
    "lineages.end_every": NoCaller("only the operator calls it; the account must be active"),
    "lineages.delete": Carries(_LAW),
    "lineages.set_status": NoCaller("only the operator calls it; no route does"),
    "lineages.set_roles": NoCaller("only the operator calls it; the account must be active and its roles unchanged"),
    "lineages.set_second_factor": NoCaller("only the operator calls it; the account must be active"),
    "lineages.set_attributes": NoCaller("the team calls it for what its service decided; the account must be active"),
    "one_time.consume_nonce": Consumes("the effect of the signed request"),
    "one_time.consume_ticket": Consumes("the step that the ticket is for"),
    "one_time.store_grant": Consumes("the operation that the grant names"),
    "one_time.consume_grant": Consumes("the operation that the grant names"),
    "one_time.count": Consumes("a login, a registration, or a stored grant"),
    "one_time.uncount": Consumes("a login, a registration, or a stored grant"),
    "once.claim": Consumes("the effect of the view, whose own writes carry `caller.live()`"),
    "once.take_over": Consumes("the effect of the view, whose route is `retry_safe`"),
    "once.store": NoCaller("the effect has happened, whether the login is active or not"),
    "once.release": NoCaller("it undoes the claim of the same request, which had no effect"),
    "suppressions.suppress": NoCaller("Amazon SES reports a bounce or a complaint; no route calls it"),
    "suppressions.lift": NoCaller("only the operator calls it; no route does"),
    "attestations.keep": Consumes("a login, or the login that `attest` writes"),
    "attestations.count": Consumes("a login, or the login that `attest` writes"),
    "attestations.extend": Consumes("a login; it moves the end of what the device key proved before"),
    "attestations.attest": Carries(StorageContract.test_no_login_is_attested_that_is_not_live),
    "attestations.replace_revoked": NoCaller("only the daily job calls it; an older list replaces no newer one"),
    "attestations.replace_switches": NoCaller("only the operator calls it; no route does"),
    "identities.sign_up": NoCaller("there is no login yet; identity, user, account state and entry must not exist"),
    "identities.link": Carries(StorageContract.test_no_identity_is_changed_on_behalf_of_a_login_that_is_not_live),
    "identities.unlink": Carries(StorageContract.test_no_identity_is_changed_on_behalf_of_a_login_that_is_not_live),
    "identities.forget": NoCaller("it deletes the rest of a deleted account; the deletion had the condition"),
    "identities.lose": NoCaller(
        "the provider says that the identity is deleted; the credentials version is in the condition"
    ),
    "identities.claim_fetch": NoCaller("it counts a request to a provider, whose keys belong to no account"),
    "identities.keep_key_set": NoCaller("the keys of a provider belong to no account; no newer set is replaced"),
    "identity_items.remove": NoCaller("it removes an identity of a deleted account; the deletion had the condition"),
    "waiting_tokens.add": NoCaller("it makes an empty item; the token is a part of the removal of its identity"),
    "provider_tokens.keep": NoCaller("the person proved this identity, which must belong to the account"),
    "provider_tokens.drop": NoCaller("the provider has revoked the token; a newer one stays"),
    "provider_tokens.end": NoCaller("the account has lost the identity of this token; the provider has revoked it"),
    "provider_tokens.replace_apple_key": NoCaller("only the operator calls it; no route does"),
    "audit.append": NoCaller("it records an action that has happened"),
    "audit.erase": NoCaller("the account is deleted and has no login; a job and the operator call it, never a request"),
    "key_ring.current": NoCaller("a development environment makes a missing ring"),
    "key_ring.refreshed": NoCaller("a development environment makes a missing ring"),
    "key_ring.create": NoCaller("only the operator calls it; no route does"),
    "key_ring.replace": NoCaller("only the operator and the rotation job call it; no route does"),
}


class OwnOfMail:
    """The verbs of `mail.ports.MailUsers` that are not those of `accounts.ports.Users`."""

    verify_address = MailUsers.verify_address
    reset_password = MailUsers.reset_password
    move_address = MailUsers.move_address
    undo_changes = MailUsers.undo_changes
    delete_unproved = MailUsers.delete_unproved


PARTS = frozenset({"identity_items.remove", "waiting_tokens.add"})
"""Writes of parts of stores, which no port has."""
BY_A_PART = frozenset({"identities.forget"})
"""Methods whose only write is that of a part."""
READS = frozenset({"accounts.find", "accounts.get", "audit.newest", "lineages.get", "suppressions.get"}) | {
    "attestations.get",
    "attestations.revoked",
    "attestations.switches",
    "identities.get",
    "identities.key_set",
    "provider_tokens.of",
    "provider_tokens.waiting",
    "provider_tokens.apple_key",
    "one_time.is_consumed",
}
CONDITIONS = frozenset({"lineages.liveness_condition"})
"""Methods that neither read nor write: they return a part of a team's transaction."""


def writes_of(source: str, module: str) -> Iterator[str]:
    """Return the public methods of a module's classes that write, directly or through a private method.

    Raises ``AssertionError`` for a write outside of a class, which could not be listed.
    """
    tree = ast.parse(source)
    in_classes = 0
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        methods = {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef)}
        writing = {name for name, method in methods.items() if any(_sites(method))}
        in_classes += sum(sum(1 for _ in _sites(method)) for method in methods.values())
        reached = set[str]()
        while reached != writing:
            reached = set(writing)
            writing |= {name for name, method in methods.items() if _own_calls(method) & writing}
        yield from (f"{module}.{name}" for name in writing if not name.startswith("_"))
    assert sum(1 for _ in _sites(tree)) == in_classes, f"{module} writes outside of its classes"


def _sites(tree: ast.AST) -> Iterator[ast.Call]:
    """Find the calls that write to the database."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            by_name = any(isinstance(one, ast.Constant) and one.value in RAW for one in node.args)
            if (node.func.attr in DATABASE and "database" in ast.unparse(node.func.value)) or by_name:
                yield node


def _own_calls(method: ast.AST) -> set[str]:
    return {
        node.func.attr
        for node in ast.walk(method)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "self"
    }


def verbs_of(port: type[Any]) -> set[str]:
    """Return the methods of a port."""
    return {name for name, member in vars(port).items() if inspect.isfunction(member) and not name.startswith("_")}


def test_every_write_is_listed() -> None:
    """The list has no others."""
    found = {
        verb
        for path in STORES.glob("*.py")
        if path.name not in CARRIERS
        for verb in writes_of(path.read_text("utf-8"), path.stem)
    }
    assert found == WRITES.keys() - BY_A_PART


def test_only_the_stores_write() -> None:
    """Therefore the list is complete."""
    elsewhere = (ROOT / "chalicelib" / "baton").rglob("*.py")
    assert [
        str(path) for path in elsewhere if path.parent != STORES and any(_sites(ast.parse(path.read_text("utf-8"))))
    ] == []


def test_every_method_of_a_port_reads_or_is_listed() -> None:
    """A new method of a port must be reviewed, whatever its store does."""
    listed = {
        f"{name}.{verb}"
        for name, ports in {
            "accounts": (Users,),
            "factors": (FactorStore,),
            "mail_users": (OwnOfMail,),
            "lineages": (LineageStore,),
            "one_time": (OneTime, RateLimits),
            "once": (OnceStore,),
            "suppressions": (Suppressions,),
            "attestations": (Attestations,),
            "identities": (Identities,),
            "provider_tokens": (ProviderTokens,),
            "audit": (Audit,),
            "key_ring": (ChangingKeyRing,),
        }.items()
        for port in ports
        for verb in set().union(*map(verbs_of, port.__mro__))
    }
    assert listed - READS - CONDITIONS - WRITES.keys() == set()
    assert listed >= READS | CONDITIONS
    assert listed >= WRITES.keys() - PARTS - {"key_ring.create"}


@pytest.mark.parametrize("verb", [verb for verb, how in WRITES.items() if isinstance(how, Carries)])
def test_the_contract_tests_the_condition_of_a_write(verb: str) -> None:
    """A test of the contract calls this method for a login that is not active, and sees that nothing is written."""
    how, name = WRITES[verb], verb.partition(".")[2]
    assert isinstance(how, Carries)
    helpers = _own_calls(ast.parse(textwrap.dedent(inspect.getsource(how.proof))))
    methods = [how.proof, *(getattr(StorageContract, helper) for helper in helpers)]
    asked = " ".join(inspect.getsource(method) for method in methods)
    assert f".{name}(" in asked or f'"{name}"' in asked
    assert "not_live" in how.proof.__name__ or {"dead", "ended"} & set(how.proof.__name__.split("_"))


@pytest.mark.parametrize("verb", [verb for verb, how in WRITES.items() if isinstance(how, Carries)])
def test_a_write_on_behalf_of_a_login_gets_that_login(verb: str) -> None:
    """The method also gets the not-before time. The condition needs both."""
    port = {
        "accounts": Users,
        "attestations": Attestations,
        "factors": FactorStore,
        "identities": Identities,
        "lineages": LineageStore,
        "mail_users": MailUsers,
    }[verb.partition(".")[0]]
    parameters = inspect.signature(getattr(port, verb.partition(".")[2])).parameters
    assert parameters.keys() & {"actor", "by"} or {"not_before", "now"} <= parameters.keys()


def test_only_the_callers_own_login_is_ended_without_the_condition() -> None:
    """``lineages.end`` has no condition, so no flow may end another login with it."""
    own = {
        ("caller.account", "caller.device_id"),
        ("token.account", "token.lineage"),
        ("proved.token.account", "proved.token.lineage"),
        ("account", "lineage"),  # of an operator, who typed the address of the account
        ("identity.account", "lineage.id"),  # of a notice of Apple about this identity
        ("other.account", "other.lineage"),  # of the genuine cookie that a new login replaces
    }
    asked = [
        tuple(ast.unparse(argument) for argument in node.args[:2])
        for path in BATON.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("lineage_store.end")
    ]
    assert len(asked) == 6
    assert set(asked) == own


def test_no_route_uses_the_operators_methods() -> None:
    """``set_status``, ``set_roles``, ``create`` and ``replace`` require no login, so no view may call them."""
    web = "".join(path.read_text("utf-8") for path in [*BATON.rglob("routes.py"), *(BATON / "http").glob("*.py")])
    assert "set_status" not in web
    assert "SetStatus" not in web
    assert "set_roles" not in web
    assert "end_every" not in web
    assert "SetRoles" not in web
    assert "set_second_factor" not in web
    assert "RequireSecondFactor" not in web
    assert "Forget" not in web
    assert ".erase(" not in web
    assert ".create(" not in web
    assert "key_ring.replace" not in web


PLANTED = """
class Users:
    def find(self):
        return self._database.read("users", {})

    def bless(self):
        return self._put({})

    def curse(self):
        self._database.transact({})

    def raw(self):
        self._database._dynamodb.call("delete_item", TableName="users")

    def _put(self, item):
        return self._database.write("put_item", Item=item)
"""


def test_a_new_write_is_found() -> None:
    """The write is in a method, in a private method, or bypasses the database.

    A write outside of a class is an error.
    """
    assert set(writes_of(PLANTED, "accounts")) == {"accounts.bless", "accounts.curse", "accounts.raw"}
    with pytest.raises(AssertionError, match="outside"):
        list(writes_of(PLANTED + "\ndef hidden(database):\n    database.write('put_item')\n", "users"))
