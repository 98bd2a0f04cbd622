"""Roles of accounts: the operator sets them by e-mail address, and the next call uses them."""

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.clients import UnknownRole
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.rules import has_role
from chalicelib.baton.policy import START_OVER_MAX
from tests.baton.world import EMAIL, World


def roles_of(world: World, account: AccountId) -> frozenset[str]:
    """Read the roles of an account by their names."""
    account_state = world.stores.lineage_store.get(account)
    assert account_state is not None
    return world.clients.role_names(account_state.roles)


def test_the_roles_of_an_account_are_set_by_its_address(world: World) -> None:
    """All roles are replaced. The address may have any spelling. No login ends."""
    phone = world.phone()
    token = world.register(phone).access_token
    account = world.set_roles("Ada@Example.COM", ["admin", "support", "admin"])
    caller = world.use(phone, token)
    assert caller.account_state is not None
    assert caller.account == account
    assert caller.account_state.roles == {1, 2}
    assert has_role(caller.account_state, {1})
    assert world.set_roles(EMAIL, {"support"}) == account
    caller = world.use(phone, token)
    assert caller.account_state is not None
    assert not has_role(caller.account_state, world.clients.role_codes(["admin"]))
    assert has_role(caller.account_state, world.clients.role_codes(["admin", "support"])), "one of the roles is enough"
    assert not has_role(caller.account_state, [])
    world.set_roles(EMAIL, [])
    assert roles_of(world, account) == frozenset()


def test_the_roles_of_an_account_do_not_affect_another_account(world: World) -> None:
    """The roles belong to the account and not to the client."""
    world.register(world.phone())
    phone = world.phone()
    token = world.register(phone, email="bob@example.com").access_token
    world.set_roles(EMAIL, ["admin"])
    caller = world.use(phone, token)
    assert caller.account_state is not None
    assert caller.account_state.roles == frozenset()


def test_a_repeated_change_of_roles_writes_nothing_and_is_recorded(world: World) -> None:
    """An earlier attempt may have stopped between its write and its event."""
    world.register(world.phone())
    account = world.set_roles(EMAIL, ["admin"])
    assert world.set_roles(EMAIL, ["admin"]) == account
    assert roles_of(world, account) == {"admin"}
    recorded = [(event.event, event.account, dict(event.details)) for event in world.stores.audit.events[-2:]]
    assert recorded == [("roles_changed", account, {"roles": "admin"})] * 2


def test_a_role_that_is_not_in_the_registry_is_refused(world: World) -> None:
    """The refusal comes before any write, so the other roles are not set either."""
    world.register(world.phone())
    account = world.set_roles(EMAIL, ["support"])
    with pytest.raises(UnknownRole, match="no role 'boss'"):
        world.set_roles(EMAIL, ["admin", "boss"])
    assert roles_of(world, account) == {"support"}


def test_roles_of_a_missing_or_inactive_account_cannot_be_set(world: World) -> None:
    """Unknown, disabled and deleted accounts are not found, and no event is recorded."""
    world.register(world.phone())
    world.set_status(EMAIL, Status.DISABLED)
    recorded = len(world.stores.audit.events)
    for email in ("nobody@example.com", EMAIL):
        with pytest.raises(errors.NotFound):
            world.set_roles(email, ["admin"])
    assert len(world.stores.audit.events) == recorded
    world.set_status(EMAIL, Status.DELETED)
    with pytest.raises(errors.NotFound):
        world.set_roles(EMAIL, ["admin"])


@pytest.mark.parametrize("moves", [1, START_OVER_MAX - 1, START_OVER_MAX])
def test_roles_that_changed_between_read_and_write_are_read_again(
    world: World, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another operator was faster. The command starts again, a limited number of times."""
    world.register(world.phone())
    account = world.set_roles(EMAIL, [])
    lineage_store, in_the_way = world.stores.lineage_store, iter(range(moves))
    set_roles = lineage_store.set_roles

    def late(*arguments: AccountId, **expected: frozenset[int]) -> Done | Moved | Refused:
        if next(in_the_way, None) is not None:
            account_state = world.stores.tables.lineages[account]
            world.stores.tables.lineages[account] = replace(account_state, roles=account_state.roles ^ {2})
        return set_roles(*arguments, **expected)  # type: ignore[arg-type] # the original arguments

    monkeypatch.setattr(lineage_store, "set_roles", late)
    if moves < START_OVER_MAX:
        assert world.set_roles(EMAIL, ["admin"]) == account
        assert roles_of(world, account) == {"admin"}
    else:
        with pytest.raises(errors.Unavailable):
            world.set_roles(EMAIL, ["admin"])
