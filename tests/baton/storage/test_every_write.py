"""The law, over all writes: what changes something on behalf of a caller carries the condition that its login is live.

A call is admitted by a read, and its login may end before the write. The writes are found in the source of the stores;
each stands on the list below with the reason why it is as it must be. A new one fails here until it is listed.
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
from chalicelib.baton.events.ports import Audit
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.keys.ports import ChangingKeyRing
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.testing.contract import LineagesContract
from chalicelib.baton.tokens.ports import OneTime

pytestmark = pytest.mark.guarantee(6)

ROOT = Path(__file__).parents[3]
BATON = ROOT / "chalicelib" / "baton"
STORES = BATON / "storage" / "dynamodb"
CARRIERS = frozenset({"database.py"})
"""They carry any write, and know none."""
DATABASE = frozenset({"write", "transact", "delete_batch"})
RAW = frozenset({"put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item"})


@dataclass(frozen=True, slots=True)
class Carries:
    """The condition that the login is live is part of the write. ``proof``: the contract's test that refuses it."""

    proof: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Consumes:
    """It only uses something up, or lays it down to be used up: the write that it is for has the condition."""

    write: str


@dataclass(frozen=True, slots=True)
class NoCaller:
    """It is made on behalf of no login."""

    why: str


_LAW = LineagesContract.test_no_write_on_behalf_of_a_login_that_is_not_live
WRITES: Mapping[str, Carries | Consumes | NoCaller] = {
    "accounts.register": NoCaller("there is no login yet; claim, user and account state must not exist"),
    "accounts.change_password": Carries(
        LineagesContract.test_no_password_is_changed_on_behalf_of_a_login_that_is_not_live
    ),
    "accounts.rehash": NoCaller("the same password, proved in this very request; not over a changed verifier"),
    "accounts.forget": NoCaller(
        "what a deletion leaves: that one had the condition, and a deleted account stays deleted"
    ),
    "lineages.exchange": Carries(LineagesContract.test_a_dead_lineage_is_not_exchanged),
    "lineages.add_lineage": NoCaller(
        "a login proves the password, whose version is in the condition, and begins a lineage"
    ),
    "lineages.record_use": Carries(LineagesContract.test_an_ended_lineage_does_not_slide_even_as_read),
    "lineages.end": NoCaller("it ends the very login whose token asks, which has nothing to lose once it has ended"),
    "lineages.end_device": Carries(_LAW),
    "lineages.end_all": Carries(_LAW),
    "lineages.delete": Carries(_LAW),
    "lineages.set_status": NoCaller("the operator's: no route has it"),
    "lineages.set_roles": NoCaller("the operator's: no route has it; of an active account, whose roles are as read"),
    "lineages.set_second_factor": NoCaller("the operator's: no route has it; of an active account"),
    "lineages.set_attributes": NoCaller("the team's own, for what its service decided; of an active account"),
    "one_time.consume_nonce": Consumes("whatever the signed request is for"),
    "one_time.consume_ticket": Consumes("the step that the ticket is for"),
    "one_time.store_grant": Consumes("the operation that the grant names"),
    "one_time.consume_grant": Consumes("the operation that the grant names"),
    "one_time.count": Consumes("a login, a registration, or the keeping of a grant"),
    "one_time.uncount": Consumes("a login, a registration, or the keeping of a grant"),
    "once.claim": Consumes("the effect of the view, whose own writes carry `caller.live()`"),
    "once.take_over": Consumes("the effect of the view, which its route declares safe to repeat"),
    "once.store": NoCaller("the answer to an effect that has happened, whether the login lives on or not"),
    "once.release": NoCaller("it undoes the claim of the same sending, which had no effect"),
    "audit.append": NoCaller("it says what has happened"),
    "audit.erase": NoCaller("of a deleted account, which has no login: a job and the operator do it, never a request"),
    "key_ring.current": NoCaller("a development environment makes the ring that it lacks"),
    "key_ring.refreshed": NoCaller("a development environment makes the ring that it lacks"),
    "key_ring.create": NoCaller("the operator's: no route has it"),
    "key_ring.replace": NoCaller("the operator's, and the daily rotation's: no route has it"),
}
READS = frozenset({"accounts.find", "accounts.get", "audit.newest", "lineages.get"})
CONDITIONS = frozenset({"lineages.liveness_condition"})
"""What neither reads nor writes: it is a part of a transaction of the team's own."""


def writes_of(source: str, module: str) -> Iterator[str]:
    """Name the public verbs of a module's classes that write, themselves or by a private method.

    Raises ``AssertionError`` for a write that is in no class: nobody could list it.
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
    """Name the verbs of a port."""
    return {name for name, member in vars(port).items() if inspect.isfunction(member) and not name.startswith("_")}


def test_every_write_is_on_the_list() -> None:
    """And the list has no other."""
    found = {
        verb
        for path in STORES.glob("*.py")
        if path.name not in CARRIERS
        for verb in writes_of(path.read_text("utf-8"), path.stem)
    }
    assert found == WRITES.keys()


def test_nothing_writes_but_the_stores() -> None:
    """So that none is overlooked."""
    elsewhere = (ROOT / "chalicelib" / "baton").rglob("*.py")
    assert [
        str(path) for path in elsewhere if path.parent != STORES and any(_sites(ast.parse(path.read_text("utf-8"))))
    ] == []


def test_every_verb_of_a_port_reads_or_is_on_the_list() -> None:
    """A verb that is added to a port is looked at, whatever its store does."""
    listed = {
        f"{name}.{verb}"
        for name, ports in {
            "accounts": (Users,),
            "lineages": (LineageStore,),
            "one_time": (OneTime, RateLimits),
            "once": (OnceStore,),
            "audit": (Audit,),
            "key_ring": (ChangingKeyRing,),
        }.items()
        for port in ports
        for verb in set().union(*map(verbs_of, port.__mro__))
    }
    assert listed - READS - CONDITIONS - WRITES.keys() == set()
    assert listed >= READS | CONDITIONS
    assert listed >= WRITES.keys() - {"key_ring.create"}


@pytest.mark.parametrize("verb", [verb for verb, how in WRITES.items() if isinstance(how, Carries)])
def test_the_condition_of_a_write_is_proved_by_the_contract(verb: str) -> None:
    """By a test that asks this verb, on behalf of a login that is not live, and sees that nothing was written."""
    how, name = WRITES[verb], verb.partition(".")[2]
    assert isinstance(how, Carries)
    helpers = _own_calls(ast.parse(textwrap.dedent(inspect.getsource(how.proof))))
    methods = [how.proof, *(getattr(LineagesContract, helper) for helper in helpers)]
    asked = " ".join(inspect.getsource(method) for method in methods)
    assert f".{name}(" in asked or f'"{name}"' in asked
    assert "not_live" in how.proof.__name__ or {"dead", "ended"} & set(how.proof.__name__.split("_"))


@pytest.mark.parametrize("verb", [verb for verb, how in WRITES.items() if isinstance(how, Carries)])
def test_a_write_on_behalf_of_a_login_is_told_which_one(verb: str) -> None:
    """And since when logins count: the condition cannot be written without."""
    port = {"accounts": Users, "lineages": LineageStore}[verb.partition(".")[0]]
    parameters = inspect.signature(getattr(port, verb.partition(".")[2])).parameters
    assert "actor" in parameters or {"not_before", "now"} <= parameters.keys()


def test_only_the_login_that_asks_is_ended_without_the_condition() -> None:
    """``lineages.end`` has none: so no journey ends another login by it."""
    own = {
        ("caller.account", "caller.device_id"),
        ("token.account", "token.lineage"),
        ("proved.token.account", "proved.token.lineage"),
    }
    asked = [
        tuple(ast.unparse(argument) for argument in node.args[:2])
        for path in BATON.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("lineage_store.end")
    ]
    assert len(asked) == 3
    assert set(asked) == own


def test_the_operators_verbs_are_on_no_route() -> None:
    """``set_status``, ``set_roles``, ``create`` and ``replace`` ask for no login: no view may reach them."""
    web = "".join(path.read_text("utf-8") for path in [*BATON.rglob("routes.py"), *(BATON / "http").glob("*.py")])
    assert "set_status" not in web
    assert "SetStatus" not in web
    assert "set_roles" not in web
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


def test_a_write_that_is_added_is_found() -> None:
    """In a verb, behind a private method, past the database; and one outside of a class cannot hide."""
    assert set(writes_of(PLANTED, "accounts")) == {"accounts.bless", "accounts.curse", "accounts.raw"}
    with pytest.raises(AssertionError, match="outside"):
        list(writes_of(PLANTED + "\ndef hidden(database):\n    database.write('put_item')\n", "users"))
