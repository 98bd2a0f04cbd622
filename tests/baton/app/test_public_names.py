"""The public API: a stored list of each name and signature.

An addition needs a minor version, a removal a major one.
"""

import ast
import inspect
from pathlib import Path

import chalicelib.baton
from chalicelib.baton import Answer, Baton, Body, Caller, Claims, Cookie, Migrated, Once, Query, StepUp, cognito_hook
from chalicelib.baton.accounts.attributes import Accounts
from chalicelib.baton.decorators import Decorators
from chalicelib.baton.team import TeamFunctions

SIGNATURES = {
    "Answer": "(status: int = 200, body: object = None, headers: Mapping[str, str] = <factory>, cookies: "
    "tuple[Cookie, ...] = (), media_type: str = '', cache_s: int = 0)",
    "Answer.html": "(page: str, status: int = 200) -> Self",
    "Answer.redirect": "(url: str, status: int = 303) -> Self",
    "Baton.from_environment": "(environ: Mapping[str, str] | None = None, *, claims: Callable[[Claims], "
    "Mapping[str, object]] | None = None) -> Self",
    "Baton.install": "(self, app: Chalice) -> None",
    "Baton.job": "(self, handler: Callable[[E], None]) -> Callable[[E], None]",
    "Baton.migrate_with": "(self, hook: 'Callable[[str, str], Migrated | None]', *, until: 'date') -> None",
    "Baton.on_delete": "(self, function: Callable[[AccountId], object]) -> Callable[[AccountId], object]",
    "Baton.on_export": "(self, function: Callable[[AccountId], object]) -> Callable[[AccountId], object]",
    "Baton.page": "(self, *, login: str, form: type[Body] | None = None, query: type[Query] | None = None, "
    "scope: str | None = None, role: str | tuple[str, ...] | None = None, acr: str | None = None) -> "
    "Callable[[Callable[..., Answer]], Callable[..., Response]]",
    "Baton.public": "(self, *, body: type[Body] | None = None, query: type[Query] | None = None, answers: Mapping[int, "
    "type] | None = None) -> Callable[[Callable[..., Answer]], Callable[..., Response]]",
    "Baton.record": "(self, event: str, caller: Caller, /, **facts: str | int) -> None",
    "Baton.signed": "(self, *, body: type[Body] | None = None, query: type[Query] | None = None, scope: str | None = "
    "None, role: str | tuple[str, ...] | None = None, acr: str | None = None, step_up: StepUp | None = None, bound: "
    "bool = False, attested: bool = False, once: bool | Once = False, answers: Mapping[int, type] | None = None) -> "
    "Callable[[Callable[..., Answer]], Callable[..., Response]]",
    "Body": "()",
    "Caller.live": "(self) -> dict[str, object]",
    "Caller.require_attested": "(self) -> None",
    "Caller.require_role": "(self, role: str) -> None",
    "Caller.require_scope": "(self, scope: str) -> None",
    "Caller.require_step_up": "(self, *, max_age: int = 300, acr: str = 'account') -> GrantUsed",
    "Claims": "(account: AccountId, client: str, scope: frozenset[str], roles: frozenset[str], "
    "attributes: Mapping[str, object])",
    "Cookie": "(name: str, value: str, max_age: int | None = None, path: str = '/', "
    "same_site: Literal['Strict', 'Lax'] = 'Strict')",
    "Migrated": "(email_verified: bool = False, source_id: str = '', second_factor: bool = False)",
    "Once": "(retry_safe: bool = False)",
    "Query": "()",
    "StepUp": "(max_age: int = 300, acr: str = 'account')",
    "cognito_hook": "(pool: str, client: str, *, client_secret: str = '', cognito: AwsClient | None = None) -> "
    "Callable[[str, str], Migrated | None]",
}
CALLER = {
    "account": "AccountId",
    "acr": "str",
    "amr": "tuple[str, ...]",
    "attested": "Optional[Literal['app', 'tee', 'strongbox']]",
    "auth_time": "int",
    "bound": "bool",
    "client_id": "str",
    "csrf_token": "str",
    "device_id": "LineageId",
    "roles": "frozenset[str]",
    "scope": "frozenset[str]",
    "stepped_up": "GrantUsed | None",
}
ACCOUNTS = {"set_attributes": "(self, account: AccountId, attributes: Mapping[str, object]) -> None"}
"""The methods of ``baton.accounts``."""
OF_BATON = {
    "account_state", "actor", "attempt", "attempt_sent", "demands_second_factor", "not_before", "now",
    "prove_again", "require_acr", "require_any_role", "source", "step_up_required",
}  # fmt: skip
"""Members of the caller that Baton's own packages use."""


def signature(of: object) -> str:
    """Write a signature without module names."""
    return written(str(inspect.signature(of)))  # type: ignore[arg-type] # classes and methods


def written(text: str) -> str:
    """Remove the module names from an annotation."""
    for module in (*_modules(), "collections.abc.", "typing.", "chalice.app."):
        text = text.replace(module, "")
    return text.replace("~E", "E")


def _modules() -> list[str]:
    root = Path(chalicelib.baton.__file__).parent
    names = [".".join(path.relative_to(root.parents[1]).with_suffix("").parts) + "." for path in root.rglob("*.py")]
    return sorted(names, key=len, reverse=True)


def test_the_public_names_are_the_documented_ones() -> None:
    """Baton has twelve public names. ``__all__`` contains each name that the module imports."""
    names = ["Answer", "Baton", "Body", "Caller", "Claims", "Cookie", "Migrated", "Once", "Query", "StepUp"]
    names += ["cognito_hook", "errors"]
    assert chalicelib.baton.__all__ == names
    tree = ast.parse(Path(chalicelib.baton.__file__).read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(imported - {"TYPE_CHECKING"}) == chalicelib.baton.__all__


def test_every_signature_equals_the_recorded_one() -> None:
    """The list has each public class and each public method."""
    found = {}
    for of in (Answer, Baton, Body, Caller, Claims, Cookie, Migrated, Once, Query, StepUp):
        if of not in (Baton, Caller):
            found[of.__name__] = signature(of)
        inherited = {**vars(Decorators), **vars(TeamFunctions)} if of is Baton else {}
        for name, member in {**inherited, **vars(of)}.items():
            called = getattr(of, name) if isinstance(member, classmethod) else member
            if name[0] != "_" and name not in OF_BATON and inspect.isroutine(called):
                found[f"{of.__name__}.{name}"] = signature(called)
    found["cognito_hook"] = signature(cognito_hook)
    assert found == SIGNATURES


def test_every_method_of_accounts_equals_the_recorded_one() -> None:
    """The list has the methods of ``baton.accounts``, which a team also calls outside requests."""
    methods = {name: signature(member) for name, member in vars(Accounts).items() if inspect.isfunction(member)}
    assert {name: text for name, text in methods.items() if name[0] != "_"} == ACCOUNTS


def test_every_member_of_the_caller_equals_the_recorded_one() -> None:
    """The list has the members for teams. Baton's own members have other names."""
    found = {name: kind for name, kind in Caller.__annotations__.items() if name[0] != "_" and name not in OF_BATON}
    assert {name: written(inspect.formatannotation(kind)) for name, kind in found.items()} == CALLER
