"""Roles and the team's claims in tokens and introspections: their values, and when a change takes effect."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from chalicelib.baton import Claims, errors
from chalicelib.baton.accounts.attributes import Accounts
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import Assurance, Attestation, Status
from chalicelib.baton.policy import TEAM_CLAIMS_BYTES_MAX
from chalicelib.baton.tokens.claims import REGISTERED, AddClaims
from chalicelib.baton.tokens.jwt import _Claims
from chalicelib.baton.tokens.shapes import Introspection
from tests.baton.world import EMAIL, RESOURCE_SERVER_SECRET, Phone, World

SECOND_FACTOR = Assurance(acr="aal2", amr=("pwd", "otp", "mfa"))


def claims_of(text: str) -> dict[str, Any]:
    """Read the claims of a JWT, as a resource server does after it verified the signature."""
    claims: dict[str, Any] = json.loads(decode_base64url(text.split(".")[1]))
    return claims


def introspected(world: World, token: str) -> dict[str, Any]:
    """Introspect a token."""
    facts = world._introspect(token=token, resource_server="billing", secret=RESOURCE_SERVER_SECRET)
    return facts if isinstance(facts, dict) else {name: getattr(facts, name) for name in facts.__struct_fields__}


def prove_second_factor(world: World, account: AccountId) -> None:
    """Raise every login of the account to aal2."""
    tables = world.stores.tables
    stored = tables.lineages[account]
    lineages = {key: replace(one, assurance=SECOND_FACTOR) for key, one in stored.lineages.items()}
    tables.lineages[account] = replace(stored, lineages=lineages)


def attest(world: World, account: AccountId, attestation: Attestation) -> None:
    """Give every login of the account this attestation."""
    tables = world.stores.tables
    stored = tables.lineages[account]
    lineages = {key: replace(one, attestation=attestation) for key, one in stored.lineages.items()}
    tables.lineages[account] = replace(stored, lineages=lineages)


def adding(add: AddClaims) -> World:
    """Make a deployment whose team adds claims."""
    world = World()
    issue = replace(world.issue, add_claims=add)
    world.issue = issue
    first_tokens = replace(world._register.first_tokens, issue=issue)
    world._register = replace(world._register, first_tokens=first_tokens)
    world._login = replace(world._login, admit=replace(world._login.admit, first_tokens=first_tokens))
    world._exchange = replace(world._exchange, issue=issue)
    world._introspect = replace(world._introspect, add_claims=add)
    return world


# --- Roles -------------------------------------------------------------------------------------------------------


def test_a_token_has_the_roles_of_the_account_from_the_next_exchange(world: World) -> None:
    """RFC 9068 2.2.3.1. Without roles, the claim does not exist. A retry has the roles of its own time."""
    phone = world.phone()
    first = world.register(phone).access_token
    assert "roles" not in claims_of(first)
    world.set_roles(EMAIL, ["support", "admin"])
    assert "roles" not in claims_of(first), "it was issued before"
    assert world.use(phone, first).roles == {"admin", "support"}, "a call reads the account state"
    attempt = world.attempt()
    second = world.exchange(phone, first, attempt=attempt).access_token
    assert claims_of(second)["roles"] == ["admin", "support"]
    assert world.exchange(phone, first, attempt=attempt).access_token == second, "the same child, byte for byte"
    world.set_roles(EMAIL, ["support"])
    assert claims_of(world.exchange(phone, first, attempt=attempt).access_token)["roles"] == ["support"]
    assert claims_of(world.exchange(phone, second).access_token)["roles"] == ["support"]


@pytest.mark.parametrize(
    ("attestation", "attested", "amr"),
    [
        (Attestation.APP, "app", ["pwd"]),
        (Attestation.APP_IN_DEVELOPMENT, "app", ["pwd"]),
        (Attestation.TEE, "tee", ["pwd", "hwk"]),
        (Attestation.STRONGBOX, "strongbox", ["pwd", "hwk"]),
    ],
)
def test_tokens_and_introspections_tell_what_is_attested(
    world: World, attestation: Attestation, attested: str, amr: list[str]
) -> None:
    """They have the attestation from the next exchange on. Only Android attests a key in hardware (RFC 8176)."""
    phone = world.phone()
    first = world.register(phone).access_token
    assert "attested" not in claims_of(first)
    attest(world, world.use(phone, first).account, attestation)
    child = world.exchange(phone, first).access_token
    assert (claims_of(child)["attested"], claims_of(child)["amr"]) == (attested, amr)
    facts = introspected(world, child)
    assert (facts["attested"], list(facts["amr"])) == (attested, amr)


@pytest.mark.parametrize("client_id", ["mobile", "oauth", "legacy"])
def test_the_first_token_and_every_renewal_have_the_roles(world: World, client_id: str) -> None:
    """The test runs each mechanism that issues JWTs, and a repeated login."""
    phone = world.phone()
    world.register(phone)
    world.set_roles(EMAIL, ["admin"])
    attempt = world.attempt()
    first = world.login(phone, client_id=client_id, attempt=attempt)
    again = world.login(phone, client_id=client_id, attempt=attempt)
    renewed = world.exchange(phone, str(first.refresh_token))
    assert [claims_of(one.access_token)["roles"] for one in (first, again, renewed)] == [["admin"]] * 3


def test_a_role_that_was_taken_between_read_and_write_is_not_in_the_first_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The condition of the write of the login includes the roles."""
    phone = world.phone()
    world.register(phone)
    account = world.set_roles(EMAIL, ["admin"])
    store = world.stores.lineage_store
    add_lineage, taken = store.add_lineage, list[object]()

    def late(*arguments: Any, **members: Any) -> object:
        if not taken:
            taken.append(store.set_roles(account, frozenset(), expected=frozenset({1})))
        return add_lineage(*arguments, **members)

    monkeypatch.setattr(store, "add_lineage", late)
    assert "roles" not in claims_of(world.login(phone).access_token)
    assert taken


def test_a_role_in_a_request_body_is_an_unknown_member() -> None:
    """The bodies of a login, a registration and a new password have no such member, and refuse unknown members."""
    from chalicelib.baton.accounts.shapes import DeviceShape, Entry, PasswordShape

    for shape in (DeviceShape, Entry, PasswordShape):
        assert "roles" not in shape.__struct_fields__
        assert shape.__struct_config__.forbid_unknown_fields


def test_a_role_that_requires_a_second_factor_is_left_out_below_aal2(world: World) -> None:
    """Calls, tokens and introspections leave it out. Baton's own registry has such a role."""
    phone = world.phone()
    token = world.register(phone).access_token
    account = world.set_roles(EMAIL, ["admin", "owner"])
    assert world.use(phone, token).roles == {"admin"}
    assert introspected(world, token)["roles"] == ("admin",)
    token = world.exchange(phone, token).access_token
    assert claims_of(token)["roles"] == ["admin"]
    prove_second_factor(world, account)
    assert world.use(phone, token).roles == {"admin", "owner"}
    assert introspected(world, token)["roles"] == ("admin", "owner")
    assert claims_of(world.exchange(phone, token).access_token)["roles"] == ["admin", "owner"]


@pytest.mark.parametrize(("acr", "has"), [("0", False), ("aal1", False), ("", False), ("aal2", True), ("phr", True)])
def test_only_a_login_with_a_second_factor_has_a_role_that_requires_one(acr: str, *, has: bool) -> None:
    """A login with an unknown level does not have the role."""
    clients = Clients({}, roles={"admin": 1, "owner": 3}, second_factor_roles={"owner"})
    assert clients.roles_of_login(frozenset({1, 3}), acr=acr) == ({"admin", "owner"} if has else {"admin"})
    assert clients.role_names({1, 3}) == {"admin", "owner"}


def test_an_introspection_has_the_roles_of_the_moment(world: World) -> None:
    """RFC 7662 requires the present state. The token is opaque, so it has no claims of its own."""
    phone = world.phone()
    token = world.register(phone, client_id="mobile-opaque").access_token
    assert not introspected(world, token)["roles"]
    world.set_roles(EMAIL, ["support"])
    assert introspected(world, token)["roles"] == ("support",)


# --- The team's claims -------------------------------------------------------------------------------------------


def test_the_claims_of_the_team_are_in_tokens_and_introspections() -> None:
    """The team's function gets the contents of the token, and the attributes of the account."""
    given: list[Claims] = []

    def add(about: Claims) -> Mapping[str, object]:
        given.append(about)
        return {"plan": about.attributes.get("plan", 0), "https://example.com/groups": sorted(about.roles)}

    world = adding(add)
    phone = world.phone()
    token = world.register(phone).access_token
    account = world.set_roles(EMAIL, ["admin", "owner"])
    assert claims_of(token)["plan"] == 0
    Accounts(world.stores.lineage_store).set_attributes(account, {"plan": 2})
    token = world.exchange(phone, token).access_token
    claims = claims_of(token)
    assert (claims["plan"], claims["https://example.com/groups"], claims["sub"]) == (2, ["admin"], account)
    assert given[-1] == Claims(account, "mobile", frozenset({"account"}), frozenset({"admin"}), {"plan": 2})
    assert list(claims)[-2:] == ["https://example.com/groups", "plan"], "sorted: equal claims are equal bytes"
    assert introspected(world, token)["plan"] == 2
    assert world.use(phone, token).account == account, "Baton reads its own token"


def test_a_function_without_claims_changes_no_byte() -> None:
    """An empty mapping adds no member."""
    world = adding(lambda _: {})
    assert "roles" not in claims_of(world.register(world.phone()).access_token)


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_a_registered_claim_cannot_be_set(name: str) -> None:
    """The answer is 503. Otherwise a token could name another account or a later expiry."""
    world = adding(lambda _: {name: "x"})
    with pytest.raises(errors.Unavailable, match=f"registered name: {name}"):
        world.register(world.phone())


def test_every_claim_of_baton_is_registered() -> None:
    """The claims of the introspection are included. A new claim must be added to the list."""
    assert set(_Claims.__struct_fields__) <= REGISTERED
    assert set(Introspection.__struct_fields__) <= REGISTERED


def _raise(_: Claims) -> Mapping[str, object]:
    raise KeyError("a secret of the team")


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        pytest.param(_raise, "raised KeyError", id="raises"),
        pytest.param(lambda _: None, "raised TypeError", id="returns nothing"),
        pytest.param(lambda _: {"x": object()}, "raised TypeError", id="not JSON"),
        pytest.param(lambda _: {"x": "y" * TEAM_CLAIMS_BYTES_MAX}, "1032 bytes: the limit is 1024", id="too much"),
    ],
)
def test_after_a_failure_of_the_claims_function_the_retry_gets_the_child(add: AddClaims, reason: str) -> None:
    """The exchange is stored before the function fails: the answer is 503, and the login stays active.

    The text of the exception is not logged.
    """
    failing: list[bool] = []
    world = adding(lambda about: add(about) if failing else {"plan": 1})
    phone = world.phone()
    token, attempt = world.register(phone).access_token, world.attempt()
    failing.append(True)
    for _ in range(2):
        with pytest.raises(errors.Unavailable) as refused:
            world.exchange(phone, token, attempt=attempt)
        assert reason in refused.value.reason
        assert "secret" not in refused.value.reason
        assert not refused.value.by_caller, "an alarm for the operator"
    with pytest.raises(errors.Unavailable):
        introspected(world, token)
    failing.clear()
    child = world.exchange(phone, token, attempt=attempt).access_token
    assert claims_of(child)["gen"] == 1
    assert claims_of(world.exchange(phone, child).access_token)["gen"] == 2


def test_a_login_whose_claims_failed_is_found_by_its_retry() -> None:
    """The login is that of a registration: the account exists, and the same attempt gets its first token."""
    failing = [True]
    world = adding(lambda about: _raise(about) if failing else {})
    phone: Phone = world.phone()
    attempt = world.attempt()
    with pytest.raises(errors.Unavailable):
        world.register(phone, attempt=attempt)
    failing.clear()
    assert world.register(phone, attempt=attempt).access_token
    assert len(world.stores.tables.lineages) == 1


# --- Attributes --------------------------------------------------------------------------------------------------


def test_attributes_that_do_not_fit_are_refused(world: World) -> None:
    """The limit is 32 bytes as MessagePack, because an account state has little room."""
    world.register(world.phone())
    account = world.set_roles(EMAIL, [])
    accounts = Accounts(world.stores.lineage_store)
    accounts.set_attributes(account, {"k": "x" * 28})
    with pytest.raises(ValueError, match="at most 32 bytes: 33 are given"):
        accounts.set_attributes(account, {"k": "x" * 29})
    with pytest.raises(TypeError):
        accounts.set_attributes(account, {"k": object()})
    assert world.stores.tables.lineages[account].attributes == b"\x81\xa1k\xbc" + b"x" * 28
    accounts.set_attributes(account, {})
    assert world.stores.tables.lineages[account].attributes == b""


def test_only_an_active_account_has_attributes(world: World) -> None:
    """An unknown, disabled or deleted account is not found."""
    world.register(world.phone())
    accounts = Accounts(world.stores.lineage_store)
    account = world.set_status(EMAIL, Status.DISABLED)
    for one in (account, AccountId("AQAAAAAAAAAAAAAZ")):
        with pytest.raises(errors.NotFound):
            accounts.set_attributes(one, {"plan": 1})
