"""The mistakes that a team can make in a route are found when the app starts, before the first request."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chalice.app import Chalice

from chalicelib.baton import Answer, Baton, Body, Caller, Once, Query, StepUp
from tests.baton.conftest import ENVIRONMENT


class Order(Body):
    """A body."""

    item: int = 1


def view(caller: Caller) -> Answer:
    """Accept only the caller."""
    return Answer()


def two(caller: Caller, second: object) -> Answer:
    """Accept the caller and one more parameter."""
    return Answer()


@pytest.mark.parametrize(
    ("demand", "taken"),
    [
        ({"acr": "aal9"}, view),
        ({"acr": "0"}, view),
        ({"acr": ""}, view),
        ({"scope": ""}, view),
        ({"scope": " "}, view),
        ({"role": ""}, view),
        ({"role": ()}, view),
        ({"attested": None}, view),
        ({"bound": 0}, view),
        ({"scope": 1}, view),
    ],
)
def test_a_requirement_without_effect_is_a_type_error(demand: dict[str, Any], taken: Callable[..., Answer]) -> None:
    """Before the fix, `acr="aal9"` accepted every login, because an unknown level is below all others.

    An empty tuple of roles had the same effect, and `attested=None` required no evidence. The level of a restored login
    is the lowest level, so it requires nothing either.
    """
    with pytest.raises(TypeError):
        Baton.from_environment(ENVIRONMENT).signed(**demand)(taken)


@pytest.mark.parametrize(
    ("shapes", "taken"),
    [
        ({"once": Once}, view),
        ({"once": "yes"}, view),
        ({"step_up": StepUp}, view),
        ({"step_up": True}, view),
        ({"body": dict}, two),
        ({"body": Order()}, two),
        ({"query": Order}, two),
    ],
)
def test_a_class_instead_of_its_instance_is_a_type_error(shapes: dict[str, Any], taken: Callable[..., Answer]) -> None:
    """Before the fix, a payment ran twice with `once=Once`: the attribute `retry_safe` of the class is true."""
    with pytest.raises(TypeError):
        Baton.from_environment(ENVIRONMENT).signed(**shapes)(taken)


def test_a_correct_value_of_each_argument_is_accepted() -> None:
    """The checks refuse nothing else."""
    baton = Baton.from_environment(ENVIRONMENT)
    assert baton.signed(body=Order, once=Once(), step_up=StepUp(), scope="account", acr="aal1")(two).__name__ == "two"
    assert baton.signed(query=Query, once=True)(two).__name__ == "two"
    assert baton.signed(once=False)(view).__name__ == "view"


async def later(caller: Caller) -> Answer:
    """Return a coroutine."""
    return Answer()


def one_by_one(caller: Caller) -> Iterator[Answer]:
    """Return a generator."""
    yield Answer()


async def later_one_by_one(caller: Caller) -> Any:
    """Return a generator of coroutines."""
    yield Answer()


@pytest.mark.parametrize("made", [later, one_by_one, later_one_by_one])
def test_a_view_that_returns_a_coroutine_or_a_generator_is_a_type_error(made: Callable[..., Any]) -> None:
    """At run time each request would be answered 500, and the body of the view would not run."""
    with pytest.raises(TypeError, match="def"):
        Baton.from_environment(ENVIRONMENT).signed()(made)


def any_parameter(caller: Caller, **parameters: str) -> Answer:
    """Accept each path parameter."""
    return Answer()


def test_a_path_parameter_with_the_name_of_the_caller_is_a_type_error() -> None:
    """A view with `**parameters` would get two values for one name, and each request would be answered 500."""
    app, baton = Chalice(app_name="named", configure_logs=False), Baton.from_environment(ENVIRONMENT)
    baton.install(app)
    app.route("/things/{thing}")(baton.signed()(any_parameter))
    with pytest.raises(TypeError, match="must take"):
        app.route("/people/{caller}")(baton.signed()(any_parameter))


def test_an_unknown_acr_cannot_be_required_of_a_caller() -> None:
    """Before the fix, an unknown level was below all others, so every login satisfied it."""
    caller = Caller(
        account="a",  # type: ignore[arg-type] # an id that only this test uses
        device_id="d",  # type: ignore[arg-type] # the same
        client_id="c",
        scope=frozenset(),
        bound=True,
        auth_time=0,
        acr="aal1",
        amr=(),
    )
    caller.require_acr("aal1")
    with pytest.raises(ValueError, match="aal9"):
        caller.require_acr("aal9")
