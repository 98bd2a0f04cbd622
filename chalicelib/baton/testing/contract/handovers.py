"""What a storage must do with logins that an app handed over to a browser (``lineages/ports.py``)."""

from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.lineages.model import AccountState, BrowserKey, Ended, EndReason, NoBinding, Status
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.under_test import RACERS, LineagesUnderTest, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    MINE,
    MINE_LIVE,
    NEW,
    NEW_PASSWORD_HASH,
    NEWBORN,
    NOT_BEFORE,
    NOW,
    OTHER,
    OTHER_LIVE,
    USER,
    VERSION,
    presented,
    state_with,
)

IN_BROWSER: Final = replace(
    NEWBORN,
    binding=NoBinding(),
    client=4,
    auth_time=NOW - 60,
    issued_at=NOW - 60,
    in_use_since=NOW - 60,
    parent=MINE,
)
"""The login of a browser. The app with the login ``MINE_LIVE`` handed it over a minute ago."""
BY_COOKIE: Final = replace(ACTOR, lineage=NEW, app=MINE)
"""The login ``IN_BROWSER``, on whose behalf a write is made."""
KEY: Final = BrowserKey(NOW, b"\2" + b"p" * 32)
_ENDED: Final = replace(MINE_LIVE, ended=Ended(NOW - 1, EndReason.REUSE), attempts=(bytes(8),) * 4)
APP_GONE: Final = [
    pytest.param(state_with(IN_BROWSER, OTHER_LIVE), Inactive(EndReason.REPLACED), id="removed"),
    pytest.param(state_with(_ENDED, IN_BROWSER, OTHER_LIVE), Inactive(EndReason.REUSE), id="ended"),
    pytest.param(
        replace(
            state_with(replace(MINE_LIVE, epoch=EPOCH - 1), IN_BROWSER, OTHER_LIVE),
            raised=Ended(NOW - 1, EndReason.PASSWORD_CHANGED),
        ),
        Inactive(EndReason.PASSWORD_CHANGED),
        id="of an earlier epoch",
    ),
    pytest.param(
        state_with(replace(MINE_LIVE, expires_at=NOW), IN_BROWSER, OTHER_LIVE),
        Inactive(EndReason.EXPIRED),
        id="expired",
    ),
    pytest.param(
        state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE - 1), IN_BROWSER, OTHER_LIVE),
        Inactive(EndReason.ENDED_EVERYWHERE),
        id="before the not-before time",
    ),
    pytest.param(
        state_with(replace(MINE_LIVE, auth_time=NOW, issued_at=NOW), IN_BROWSER, OTHER_LIVE),
        Inactive(EndReason.REPLACED),
        id="begun again with the same id",
    ),
    pytest.param(state_with(MINE_LIVE, replace(IN_BROWSER, parent=OTHER), OTHER_LIVE), Inactive(), id="of another app"),
    pytest.param(
        state_with(MINE_LIVE, replace(IN_BROWSER, binding=MINE_LIVE.binding), OTHER_LIVE),
        Inactive(),
        id="restored, not handed over",
    ),
]
"""Account states in which the browser may not write, although its own login has neither ended nor expired."""


class HandoversContract(LineagesUnderTest):
    """The tests of logins that an app handed over to a browser, and of the method ``bind_browser``."""

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("verb", ["end_device", "end_all", "delete"])
    def test_a_browser_acts_while_its_app_is_logged_in(self, storage: StorageUnderTest, verb: str) -> None:
        """The browser may end another device, end all logins (also the app's login), and delete the account."""
        storage.seed(state_with(MINE_LIVE, IN_BROWSER, OTHER_LIVE))
        arguments = (OTHER,) if verb == "end_device" else ()
        assert getattr(storage.lineages, verb)(BY_COOKIE, *arguments, now=NOW) == Done()

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("gone", "verdict"), APP_GONE)
    @pytest.mark.parametrize("verb", ["end_device", "end_all", "delete", "bind_browser"])
    def test_no_write_on_behalf_of_a_browser_whose_app_is_not_live(
        self, storage: StorageUnderTest, verb: str, gone: AccountState, verdict: object
    ) -> None:
        """The write checks the app's login. Nothing changes. The result has the reason."""
        storage.seed(gone)
        arguments = {"end_device": (OTHER,), "bind_browser": (KEY,)}.get(verb, ())
        assert getattr(storage.lineages, verb)(BY_COOKIE, *arguments, now=NOW) == verdict
        assert self.account_state(storage) == gone

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("gone", "verdict"), APP_GONE)
    def test_no_password_is_changed_on_behalf_of_a_browser_whose_app_is_not_live(
        self, storage: StorageUnderTest, gone: AccountState, verdict: object
    ) -> None:
        """The transaction checks the app's login too. The result is ``Moved``, and nothing is written."""
        assert may_act(gone, BY_COOKIE, now=NOW) == verdict
        storage.accounts.register(USER, state_with(MINE_LIVE))
        storage.seed(gone)
        change = storage.accounts.change_password
        assert change(BY_COOKIE, NEW_PASSWORD_HASH, expected=gone, now=NOW) == Moved()
        assert storage.accounts.get(ACCOUNT) == USER

    @pytest.mark.guarantee(6)
    def test_a_browser_changes_the_password_while_its_app_is_logged_in(self, storage: StorageUnderTest) -> None:
        """The change ends the app's login, so the browser's login ends too."""
        live = state_with(MINE_LIVE, IN_BROWSER)
        storage.accounts.register(USER, state_with(MINE_LIVE))
        storage.seed(live)
        change = storage.accounts.change_password
        assert change(BY_COOKIE, NEW_PASSWORD_HASH, expected=live, now=NOW) == Done()
        assert storage.lineages.end_all(replace(BY_COOKIE, credentials_version=VERSION + 1), now=NOW) == Inactive(
            EndReason.PASSWORD_CHANGED
        )

    @pytest.mark.guarantee(6, 7)
    @pytest.mark.parametrize(("gone", "verdict"), APP_GONE[:6])
    def test_no_use_is_stored_of_a_browser_whose_app_is_not_live(
        self, storage: StorageUnderTest, gone: AccountState, verdict: object
    ) -> None:
        """Nothing is written. Otherwise, the list of devices would show the browser as live."""
        del verdict
        storage.seed(gone)
        read = gone.lineages[NEW]
        used = replace(read, issued_at=NOW)
        record = partial(storage.lineages.record_use, account=ACCOUNT, now=NOW, not_before=NOT_BEFORE)
        assert record(used, expected=read) == Moved()
        assert self.account_state(storage) == gone
        storage.seed(state_with(MINE_LIVE, IN_BROWSER))
        assert record(replace(IN_BROWSER, issued_at=NOW), expected=IN_BROWSER) == Done()

    @pytest.mark.guarantee(1)
    def test_the_session_of_a_browser_is_never_exchanged(self, storage: StorageUnderTest) -> None:
        """The result is ``Inactive``. The same login without a parent is exchanged: no app handed it over."""
        storage.seed(state_with(MINE_LIVE, IN_BROWSER))
        assert self.exchange(storage, presented(lineage=IN_BROWSER)) == Inactive()
        alone = replace(IN_BROWSER, parent=None)
        storage.seed(state_with(alone))
        assert type(self.exchange(storage, presented(lineage=alone))).__name__ == "Exchanged"

    @pytest.mark.guarantee(7)
    def test_a_handover_and_the_end_of_its_app_race(self, storage: StorageUnderTest) -> None:
        """If the app's login ends first, the browser gets no login. Otherwise both logins end together."""
        for _ in range(RACERS):
            state = state_with(MINE_LIVE, OTHER_LIVE)
            storage.seed(state)
            begun = replace(IN_BROWSER, auth_time=NOW, issued_at=NOW, in_use_since=NOW)
            add = partial(storage.lineages.add_lineage, expected=state, replaced=(), removed=(), lineages_max=6)
            racers: list[Callable[[], Done | Moved | Refused]] = [
                partial(add, begun),
                lambda: storage.lineages.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW),
            ]
            handed_over, ended = race(racers)
            assert ended == Done()
            assert (NEW in self.account_state(storage).lineages) == (handed_over == Done())
            assert isinstance(may_act(self.account_state(storage), BY_COOKIE, now=NOW), Inactive)

    @pytest.mark.parametrize("actor", [ACTOR, BY_COOKIE], ids=["own login", "handed over"])
    def test_a_browser_is_bound_to_one_key(self, storage: StorageUnderTest, actor: object) -> None:
        """The first key stays. A repeated call with the first key returns ``Done``, and another key is refused."""
        by = BY_COOKIE if actor is BY_COOKIE else ACTOR
        storage.seed(state_with(MINE_LIVE, IN_BROWSER))
        for at in (NOW, NOW + 1):
            assert storage.lineages.bind_browser(by, replace(KEY, at=at), now=at) == Done()
        other = BrowserKey(NOW, b"\3" + b"p" * 32)
        assert storage.lineages.bind_browser(by, other, now=NOW) == Refused()
        bound = self.account_state(storage).lineages[by.lineage]
        assert bound == replace(IN_BROWSER if by is BY_COOKIE else MINE_LIVE, browser_key=KEY)

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_browser_is_bound_on_behalf_of_a_login_that_is_not_live(
        self, storage: StorageUnderTest, inactive: AccountState, verdict: object
    ) -> None:
        """After the end of the login or a change of credentials, no key is stored. The result has the reason."""
        storage.seed(inactive)
        assert storage.lineages.bind_browser(ACTOR, KEY, now=NOW) == verdict
        assert self.account_state(storage) == inactive
        assert storage.lineages.bind_browser(replace(ACTOR, credentials_version=VERSION + 9), KEY, now=NOW) in (
            verdict,
            ProofOutdated(),
        )

    def test_of_two_keys_one_wins(self, storage: StorageUnderTest) -> None:
        """Eight calls bind different keys to one login at the same time. One key is bound. Seven calls are refused."""
        for _ in range(RACERS):
            storage.seed(state_with(MINE_LIVE))
            keys = [BrowserKey(NOW, bytes([2 + number % 2]) + bytes([number]) * 32) for number in range(RACERS)]
            racers: list[Callable[[], object]] = [
                partial(storage.lineages.bind_browser, ACTOR, key, now=NOW) for key in keys
            ]
            said = race(racers)
            assert [said.count(outcome) for outcome in (Done(), Refused())] == [1, RACERS - 1]
            assert self.account_state(storage).lineages[MINE].browser_key == keys[said.index(Done())]

    def test_a_disabled_account_has_no_browser(self, storage: StorageUnderTest) -> None:
        """If the account is disabled, the store refuses the writes of a browser's login, even if no login has ended."""
        storage.seed(state_with(MINE_LIVE, IN_BROWSER, status=Status.DISABLED))
        assert storage.lineages.end_all(BY_COOKIE, now=NOW) == Inactive()
