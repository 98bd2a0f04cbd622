"""The login that an app hands over to a browser has what the login of the app has, and no more."""

import pytest
from msgspec.structs import replace

from chalicelib.baton.lineages.assurance import PASSWORD, PASSWORD_AND_TOTP, PROVIDER
from chalicelib.baton.lineages.login_rules import NoRoom, handed_over, removed_by_login, replaced_by_handover
from chalicelib.baton.lineages.model import NO_ATTEMPT, Assurance, Ended, EndReason, Lineage, NoBinding, PresentedToken
from chalicelib.baton.lineages.rules import Current, Inactive, ended_of, judge, may_act
from chalicelib.baton.policy import HANDED_OVER_KEPT_S, LINEAGE_KEPT_S
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    IDLE_S,
    MINE_LIVE,
    NEW,
    NOW,
    OTHER_LIVE,
    state_with,
)

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


def test_the_session_of_a_browser_is_never_exchanged() -> None:
    """Its owner would get a token that outlives the rules of the browser."""
    made = handed_over(BROWSER, MINE_LIVE, idle_s=1000)
    token = PresentedToken(ACCOUNT, made.id, made.generation, made.issued_at, made.client, made.binding, NO_ATTEMPT)
    of_no_app = replace(made, parent=None)
    assert judge(state_with(of_no_app), token, now=NOW, not_before=0, idle_s=1000) == Current(of_no_app)
    assert judge(state_with(MINE_LIVE, made), token, now=NOW, not_before=0, idle_s=1000) == Inactive()


@pytest.mark.parametrize(
    ("app", "ended"),
    [
        pytest.param(None, Ended(at=NOW, reason=EndReason.REPLACED), id="removed"),
        pytest.param(
            replace(MINE_LIVE, auth_time=NOW + 1), Ended(at=NOW, reason=EndReason.REPLACED), id="removed; its id again"
        ),
        pytest.param(replace(MINE_LIVE, auth_time=NOW), None, id="of the same second"),
        pytest.param(
            replace(MINE_LIVE, ended=Ended(at=NOW - 9, reason=EndReason.LOGOUT)),
            Ended(at=NOW - 9, reason=EndReason.LOGOUT),
            id="logged out",
        ),
    ],
)
@pytest.mark.parametrize("idle_s", [None, 1000, -1], ids=["no idle limit", "in use", "idle"])
def test_a_handed_over_login_ends_with_the_login_of_its_app(
    app: Lineage | None, ended: Ended | None, idle_s: int | None
) -> None:
    """The reason is that of the app, also if the browser is idle. A missing login of the app was removed."""
    made = replace(handed_over(BROWSER, MINE_LIVE, idle_s=1000), auth_time=NOW)
    state = state_with(made) if app is None else state_with(app, made)
    idle = Ended(at=NOW - 1, reason=EndReason.IDLE) if idle_s == -1 else None
    assert ended_of(state, made, now=NOW, not_before=0, idle_s=idle_s) == (ended or idle)


@pytest.mark.parametrize("live", [True, False])
def test_a_handed_over_login_makes_room_early_only_after_its_end(*, live: bool) -> None:
    """While it is live, a repetition of its request must find it, as with every other login."""
    began = NOW - HANDED_OVER_KEPT_S
    young = replace(handed_over(BROWSER, MINE_LIVE, idle_s=1000), auth_time=began)
    young = young if live else replace(young, ended=Ended(at=began, reason=EndReason.LOGOUT))
    mine = replace(MINE_LIVE, auth_time=began)
    made = removed_by_login(state_with(mine, young), (), now=NOW, not_before=0, idle_s_of={1: IDLE_S}, lineages_max=2)
    assert made == (NoRoom(until=NOW + LINEAGE_KEPT_S - HANDED_OVER_KEPT_S) if live else (young,))
