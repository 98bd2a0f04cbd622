"""The login that an app hands over to a browser has what the login of the app has, and no more."""

import pytest
from msgspec.structs import replace

from chalicelib.baton.lineages.assurance import PASSWORD, PASSWORD_AND_TOTP, PROVIDER
from chalicelib.baton.lineages.login_rules import handed_over, replaced_by_handover
from chalicelib.baton.lineages.model import Assurance, NoBinding
from chalicelib.baton.lineages.rules import Inactive, may_act
from chalicelib.baton.testing.contract.values import ACTOR, EPOCH, MINE_LIVE, NEW, NOW, OTHER_LIVE, state_with

BROWSER = replace(OTHER_LIVE, id=NEW, binding=NoBinding(), assurance=PASSWORD, issued_at=NOW, expires_at=NOW + 1000)


@pytest.mark.parametrize("assurance", [PASSWORD_AND_TOTP, PROVIDER])
def test_the_level_is_that_of_the_app(assurance: Assurance) -> None:
    """Label and provider are those of the app too. The person proved nothing to the browser."""
    app = replace(MINE_LIVE, assurance=assurance, label="of the app", provider=3)
    made = handed_over(BROWSER, app, idle_s=1000)
    assert (made.assurance, made.label, made.provider) == (assurance, "of the app", 3)
    assert (made.parent, made.id) == (app.id, BROWSER.id)


@pytest.mark.parametrize(
    ("own", "of_the_app", "idle", "expires_in"),
    [
        pytest.param(5, 9, 9, 5, id="its own expiry"),
        pytest.param(9, 5, 9, 5, id="the expiry of the app"),
        pytest.param(9, 9, 5, 5, id="the idle limit of the app"),
    ],
)
def test_it_ends_with_the_earliest_of_three_times(own: int, of_the_app: int, idle: int, expires_in: int) -> None:
    """The times are its own expiry, and the expiry and the idle limit of the login of the app."""
    app = replace(MINE_LIVE, issued_at=NOW, expires_at=NOW + of_the_app)
    assert handed_over(replace(BROWSER, expires_at=NOW + own), app, idle_s=idle).expires_at == NOW + expires_in


def test_only_live_logins_are_ended() -> None:
    """A login of an earlier epoch has ended already, and a second end would give it another reason."""
    made = handed_over(BROWSER, MINE_LIVE, idle_s=1000)
    earlier = replace(OTHER_LIVE, epoch=EPOCH - 1)
    assert replaced_by_handover(state_with(MINE_LIVE, earlier), made, over=earlier.id) == ()
    assert replaced_by_handover(state_with(MINE_LIVE, OTHER_LIVE), made, over=OTHER_LIVE.id) == (OTHER_LIVE,)


def test_a_handed_over_login_acts_only_with_the_login_of_its_app() -> None:
    """The condition of a write compares the login of the app that the actor names. A write without it has no effect."""
    made = handed_over(BROWSER, MINE_LIVE, idle_s=1000)
    account_state = state_with(MINE_LIVE, made)
    actor = replace(ACTOR, lineage=made.id)
    assert may_act(account_state, replace(actor, app=MINE_LIVE.id), now=NOW) == made
    assert may_act(account_state, actor, now=NOW) == Inactive()
    assert may_act(account_state, replace(ACTOR, app=made.id), now=NOW) == Inactive()
