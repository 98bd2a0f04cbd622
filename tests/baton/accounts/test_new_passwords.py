"""Every route that sets a password checks it: its strength before anything else, leaks before it is hashed."""

import pytest

from chalicelib.baton import errors
from chalicelib.baton.factors.refusals import Breached, ContainsContext, TooCommon, TooShort, WeakPassword
from chalicelib.baton.policy import REGISTRATIONS_PER_SOURCE_MAX
from tests.baton.wire.conversation import NEW_PASSWORD
from tests.baton.world import EMAIL, PASSWORD, World

LEAKED = "monkey dragon football"
LIGATURE = "\ufdfa"


def change(world: World, password: str) -> None:
    """Change the password of a new account."""
    phone = world.phone()
    issued = world.register(phone)
    world.change_password(world.use(phone, issued.access_token), password)


@pytest.mark.parametrize("route", ["register", "change"])
@pytest.mark.parametrize(
    ("password", "refusal"),
    [
        ("short", TooShort),
        (LIGATURE, TooShort),
        ("111222333444555", TooCommon),
        (f"{EMAIL.partition('@')[0]} 1990 1990!!!!", ContainsContext),
        (LEAKED, Breached),
    ],
)
def test_each_rule_holds_on_every_route(world: World, route: str, password: str, refusal: type[WeakPassword]) -> None:
    """A rule that one route forgets would have no effect."""
    world.leaked.passwords = {LEAKED}
    with pytest.raises(refusal):
        world.register(world.phone(), password=password) if route == "register" else change(world, password)


def test_a_leaked_password_changes_nothing(world: World) -> None:
    """No account is made, and the old password stays."""
    world.leaked.passwords = {LEAKED}
    with pytest.raises(Breached):
        world.register(world.phone(), password=LEAKED)
    with pytest.raises(Breached):
        change(world, LEAKED)  # the address was free
    world.login(world.phone())
    with pytest.raises(errors.Refusal):
        world.login(world.phone(), password=LEAKED)


def test_the_normal_form_is_checked(world: World) -> None:
    """Baton hashes the normal form, and a thief with the list would type it."""
    world.leaked.passwords = {LEAKED}
    with pytest.raises(Breached):
        world.register(world.phone(), password=LEAKED.replace("m", "\N{FULLWIDTH LATIN SMALL LETTER M}"))


@pytest.mark.parametrize("route", ["register", "change"])
def test_a_check_that_is_not_available_lets_the_password_in(world: World, route: str) -> None:
    """The failure of another service stops no registration. An event reports the failure to the operator."""
    world.leaked.passwords, world.leaked.is_down = {LEAKED}, True
    if route == "register":
        world.register(world.phone(), password=LEAKED)
    else:
        change(world, LEAKED)
    assert ("breach_check_unavailable", {"reason": "TimeoutError"}) in world.log.recorded
    world.login(world.phone(), password=LEAKED)


def test_a_weak_password_is_not_sent_anywhere(world: World) -> None:
    """The other rules need no network, and come first."""
    with pytest.raises(TooCommon):
        world.register(world.phone(), password="passwordpassword")
    assert world.leaked.asked == []


def test_a_stranger_over_the_limit_makes_no_request(world: World) -> None:
    """The rate limit of registrations comes first: Baton must not send floods of requests to another service."""
    for number in range(REGISTRATIONS_PER_SOURCE_MAX):
        world.register(world.phone(), email=f"person{number}@example.com")
    asked = len(world.leaked.asked)
    with pytest.raises(errors.TooManyRequests):
        world.register(world.phone())
    assert len(world.leaked.asked) == asked == REGISTRATIONS_PER_SOURCE_MAX


def test_a_login_checks_no_leak(world: World) -> None:
    """A step-up checks none either. A password is checked only when it is set."""
    world.register(world.phone())
    asked = len(world.leaked.asked)
    world.leaked.passwords = {PASSWORD}
    world.login(world.phone())
    assert len(world.leaked.asked) == asked


def test_a_retry_of_a_registration_is_answered_though_the_check_is_back(world: World) -> None:
    """The first request made the account without the check. The retry must get the same tokens, and no refusal."""
    world.leaked.passwords, world.leaked.is_down = {LEAKED}, True
    phone, attempt = world.phone(), world.attempt()
    first = world.register(phone, password=LEAKED, attempt=attempt)
    world.leaked.is_down = False
    assert world.register(phone, password=LEAKED, attempt=attempt).access_token == first.access_token
    with pytest.raises(Breached):
        world.register(phone, password=LEAKED, attempt=world.attempt())
    with pytest.raises(errors.Refusal, match="exists"):
        world.register(phone, password=NEW_PASSWORD, attempt=world.attempt())
