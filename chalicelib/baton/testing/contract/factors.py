"""What the store ``factors`` must do (``factors/ports.py``)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.factors.model import (
    EnrolTotp,
    FactorChange,
    Remember,
    RemoveTotp,
    ReplaceRecoveryCodes,
    SecondFactors,
    SwitchSecondFactor,
    Totp,
    User,
)
from chalicelib.baton.lineages.model import AccountState, Actor, UnfinishedLogin
from chalicelib.baton.lineages.rules import may_act
from chalicelib.baton.testing.contract.ends import INACTIVE
from chalicelib.baton.testing.contract.factor_values import (
    CHANGES,
    CODES,
    EACH_CHANGE,
    FACTORS,
    LOGIN,
    MOVED,
    OTHER_TOTP,
    PHONE,
    RECOVERY,
    STEP,
    TOTP,
)
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    MINE_LIVE,
    NOW,
    OTHER_LIVE,
    OTHER_MARK,
    SOMEBODY_ELSE,
    USER,
    VERSION,
    state_with,
)


class FactorsContract(Contract):
    """The tests of the store ``factors``: `factors.ports.FactorStore`."""

    def registered(self, storage: StorageUnderTest, factors: SecondFactors = FACTORS) -> AccountState:
        """Register a person with these factors and two devices, and return the account state."""
        account_state = state_with(MINE_LIVE, OTHER_LIVE)
        assert storage.accounts.register(replace(USER, factors=factors), account_state) == Done()
        return account_state

    def factors(self, storage: StorageUnderTest) -> SecondFactors:
        """Read the factors."""
        return self.user(storage).factors

    def user(self, storage: StorageUnderTest) -> User:
        """Read the user, who must exist."""
        user = storage.accounts.get(ACCOUNT)
        assert user is not None
        return user

    def use_step(
        self,
        storage: StorageUnderTest,
        step: int = STEP + 1,
        *,
        totp: Totp = TOTP,
        mark: bytes = OTHER_MARK,
        version: int = VERSION,
        remember: Remember | None = None,
    ) -> Done | Refused:
        """Use the code of the authenticator app for a time step."""
        return storage.factors.consume_totp_step(
            ACCOUNT, totp, step=step, mark=mark, credentials_version=version, remember=remember
        )

    def use_code(
        self, storage: StorageUnderTest, digest: bytes = CODES[0], *, mark: bytes = OTHER_MARK, version: int = VERSION
    ) -> Done | Refused:
        """Use a recovery code."""
        return storage.factors.consume_recovery_code(ACCOUNT, digest, mark=mark, credentials_version=version)

    @pytest.mark.parametrize("factors", [SecondFactors(), FACTORS, *(after for _, _, after in CHANGES)])
    def test_factors_are_read_as_they_were_stored(self, storage: StorageUnderTest, factors: SecondFactors) -> None:
        """A read returns the factors as they were stored, also for an account without factors."""
        self.registered(storage, factors)
        assert self.factors(storage) == factors

    @pytest.mark.guarantee(8)
    def test_a_step_is_used_once(self, storage: StorageUnderTest) -> None:
        """A use changes only step and mark. The same or an earlier step is then refused, a later step accepted."""
        self.registered(storage)
        assert self.use_step(storage) == Done()
        assert self.factors(storage) == replace(FACTORS, totp=replace(TOTP, step=STEP + 1, mark=OTHER_MARK))
        assert self.use_step(storage, mark=b"a third mark") == Refused()
        assert self.use_step(storage, STEP) == Refused()
        assert self.use_step(storage, STEP + 2) == Done()

    @pytest.mark.guarantee(2, 8)
    def test_a_step_used_again_by_the_same_request_is_done(self, storage: StorageUnderTest) -> None:
        """The mark derives from the attempt. So a repetition by the app or the server has the same mark."""
        self.registered(storage)
        for _ in range(3):
            assert self.use_step(storage) == Done()

    @pytest.mark.parametrize(("totp", "version"), [(OTHER_TOTP, VERSION), (TOTP, VERSION - 1), (TOTP, VERSION + 1)])
    def test_a_step_of_another_app_or_version_is_refused(
        self, storage: StorageUnderTest, totp: Totp, version: int
    ) -> None:
        """If the secret, a factor or the password changed between the read and the write, the code is refused."""
        self.registered(storage)
        assert self.use_step(storage, totp=totp, version=version) == Refused()
        assert self.factors(storage) == FACTORS

    @pytest.mark.parametrize("factors", [SecondFactors(), SecondFactors(recovery=RECOVERY)])
    def test_a_step_of_an_account_without_an_app_is_refused(
        self, storage: StorageUnderTest, factors: SecondFactors
    ) -> None:
        """The authenticator app was removed meanwhile. Nothing is written."""
        self.registered(storage, factors)
        assert self.use_step(storage) == Refused()
        assert self.factors(storage) == factors

    @pytest.mark.guarantee(8)
    def test_one_of_many_uses_a_step(self, storage: StorageUnderTest) -> None:
        """Eight requests use the same code at the same time. One is accepted."""
        self.registered(storage)

        def using(mark: bytes) -> Callable[[], Done | Refused]:
            return lambda: self.use_step(storage, mark=mark)

        answers = race([using(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Refused()) == RACERS - 1

    def test_a_device_is_remembered_with_the_step(self, storage: StorageUnderTest) -> None:
        """The write remembers the device, and forgets the devices ``forgotten``. A refused code changes no device."""
        self.registered(storage)
        assert self.use_step(storage, STEP, remember=PHONE) == Refused()
        assert self.factors(storage) == FACTORS
        assert self.use_step(storage, remember=PHONE) == Done()
        assert self.factors(storage).remembered == {"tablet": NOW - 900, "phone": NOW}
        later = Remember("phone", at=NOW + 60, forgotten=("tablet", "one that is not there"))
        assert self.use_step(storage, STEP + 2, remember=later) == Done()
        assert self.factors(storage).remembered == {"phone": NOW + 60}

    @pytest.mark.guarantee(8)
    def test_a_recovery_code_is_used_once(self, storage: StorageUnderTest) -> None:
        """The write moves the digest of the code from ``digests`` to ``used``. All other codes stay valid."""
        self.registered(storage)
        for place, code in enumerate(CODES):
            assert self.use_code(storage, code) == Done()
            left = replace(RECOVERY, digests=frozenset(CODES[place + 1 :]), used=code, mark=OTHER_MARK)
            assert self.factors(storage) == replace(FACTORS, recovery=left)
            assert self.use_code(storage, code, mark=b"a third mark") == Refused()

    @pytest.mark.guarantee(2, 8)
    def test_a_recovery_code_used_again_by_the_same_request_is_done(self, storage: StorageUnderTest) -> None:
        """A repetition with the same code and mark returns ``Done``. Another code with the same mark is refused."""
        self.registered(storage)
        for _ in range(3):
            assert self.use_code(storage) == Done()
        assert self.use_code(storage, b"never a code of.") == Refused()

    @pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
    def test_a_recovery_code_of_another_version_is_refused(self, storage: StorageUnderTest, version: int) -> None:
        """If a factor or the password changed between the read and the write, the code is refused."""
        self.registered(storage)
        assert self.use_code(storage, version=version) == Refused()
        assert self.factors(storage) == FACTORS

    @pytest.mark.parametrize("factors", [SecondFactors(), SecondFactors(on=True, totp=TOTP)])
    def test_a_recovery_code_of_an_account_without_codes_is_refused(
        self, storage: StorageUnderTest, factors: SecondFactors
    ) -> None:
        """The code is refused, and nothing is written."""
        self.registered(storage, factors)
        assert self.use_code(storage) == Refused()
        assert self.factors(storage) == factors

    @pytest.mark.guarantee(8)
    def test_one_of_many_uses_a_recovery_code(self, storage: StorageUnderTest) -> None:
        """Eight requests use one code at the same time. One is accepted."""
        self.registered(storage)

        def using(mark: bytes) -> Callable[[], Done | Refused]:
            return lambda: self.use_code(storage, mark=mark)

        answers = race([using(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Refused()) == RACERS - 1

    @pytest.mark.guarantee(8)
    def test_many_codes_used_at_the_same_time_are_each_used_once(self, storage: StorageUnderTest) -> None:
        """Eight requests use eight different codes. No write undoes another write."""
        self.registered(storage)

        def using(code: bytes) -> Callable[[], Done | Refused]:
            return lambda: self.use_code(storage, code, mark=code)

        assert race([using(code) for code in CODES[:RACERS]]) == [Done()] * RACERS
        recovery = self.factors(storage).recovery
        assert recovery is not None
        assert recovery.digests == frozenset(CODES[RACERS:])

    def test_codes_of_an_unknown_account_are_refused_and_make_no_user(self, storage: StorageUnderTest) -> None:
        """A user who was deleted meanwhile is not created again."""
        assert self.use_step(storage) == Refused()
        assert self.use_code(storage) == Refused()
        assert (
            storage.factors.change_factors(
                replace(ACTOR, account=SOMEBODY_ELSE), ReplaceRecoveryCodes(RECOVERY), remember=None, now=NOW
            )
            == Moved()
        )
        assert storage.accounts.get(ACCOUNT) is None
        assert storage.accounts.get(SOMEBODY_ELSE) is None

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("by", [ACTOR, LOGIN], ids=["a login", "a login under way"])
    @EACH_CHANGE
    def test_a_change_moves_the_credentials_version_in_both_items(
        self,
        storage: StorageUnderTest,
        by: Actor | UnfinishedLogin,
        change: FactorChange,
        before: SecondFactors,
        after: SecondFactors,
    ) -> None:
        """Remembered devices are forgotten. No login ends. A repeated change is ``Done``, and raises no version."""
        account_state = self.registered(storage, replace(before, remembered={"tablet": NOW - 1}))
        for _ in range(2):
            assert storage.factors.change_factors(by, change, remember=None, now=NOW) == Done()
            assert self.user(storage) == replace(USER, credentials_version=VERSION + 1, factors=after)
            assert storage.lineages.get(ACCOUNT) == replace(account_state, credentials_version=VERSION + 1)

    @EACH_CHANGE
    def test_the_device_that_proved_the_factor_stays_remembered(
        self, storage: StorageUnderTest, change: FactorChange, before: SecondFactors, after: SecondFactors
    ) -> None:
        """The change forgets every other remembered device."""
        self.registered(storage, replace(before, remembered={"tablet": NOW - 1, "phone": NOW - 1}))
        assert storage.factors.change_factors(ACTOR, change, remember=PHONE, now=NOW) == Done()
        assert self.factors(storage) == replace(after, remembered={"phone": NOW})

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    @EACH_CHANGE
    def test_no_factor_is_changed_on_behalf_of_a_login_that_is_not_live(
        self,
        storage: StorageUnderTest,
        change: FactorChange,
        before: SecondFactors,
        after: SecondFactors,
        inactive: AccountState,
        verdict: object,
    ) -> None:
        """The login ended, or a credential changed, between the read and the write. Nothing is written."""
        del after
        assert may_act(inactive, ACTOR, now=NOW) == verdict
        self.registered(storage, before)
        storage.seed(inactive)
        assert storage.factors.change_factors(ACTOR, change, remember=PHONE, now=NOW) == Moved()
        assert self.user(storage) == replace(USER, factors=before)
        assert storage.lineages.get(ACCOUNT) == inactive

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("moved", MOVED)
    def test_a_login_under_way_changes_nothing_once_its_proof_is_outdated(
        self, storage: StorageUnderTest, moved: AccountState
    ) -> None:
        """Since the proof, the account was disabled, its logins ended, or a credential changed. Nothing is written."""
        self.registered(storage, SecondFactors())
        storage.seed(moved)
        assert storage.factors.change_factors(LOGIN, EnrolTotp(TOTP, RECOVERY), remember=PHONE, now=NOW) == Moved()
        assert self.user(storage) == USER
        assert storage.lineages.get(ACCOUNT) == moved

    @EACH_CHANGE
    def test_a_user_that_moved_stops_a_change(
        self, storage: StorageUnderTest, change: FactorChange, before: SecondFactors, after: SecondFactors
    ) -> None:
        """The account state has the actor's credentials version, but the user's item does not. Nothing is written."""
        del after
        user = replace(USER, credentials_version=VERSION + 2, factors=before)
        storage.accounts.register(user, state_with(MINE_LIVE))
        assert storage.factors.change_factors(ACTOR, change, remember=None, now=NOW) == Moved()
        assert self.user(storage) == user
        assert storage.lineages.get(ACCOUNT) == state_with(MINE_LIVE)

    @pytest.mark.parametrize(
        ("change", "stored"),
        [
            (EnrolTotp(OTHER_TOTP, None), FACTORS),
            (RemoveTotp(OTHER_TOTP), FACTORS),
            (RemoveTotp(TOTP), SecondFactors()),
            (SwitchSecondFactor(on=True), FACTORS),
            (SwitchSecondFactor(on=False), SecondFactors(totp=TOTP)),
        ],
    )
    def test_a_change_that_does_not_fit_is_not_made(
        self, storage: StorageUnderTest, change: FactorChange, stored: SecondFactors
    ) -> None:
        """A second app, a removal of an app that is not stored, and a switch to the stored value get ``Moved``."""
        account_state = self.registered(storage, stored)
        assert storage.factors.change_factors(ACTOR, change, remember=None, now=NOW) == Moved()
        assert self.factors(storage) == stored
        assert storage.lineages.get(ACCOUNT) == account_state

    @pytest.mark.guarantee(8)
    def test_one_of_many_enrolments_is_made(self, storage: StorageUnderTest) -> None:
        """Eight devices read the same state and enrol an app each. One app is enrolled, and the version rises once."""
        self.registered(storage, SecondFactors())

        def enrolling(secret: bytes) -> Callable[[], object]:
            change = EnrolTotp(replace(TOTP, sealed=secret), None)
            return lambda: storage.factors.change_factors(ACTOR, change, remember=None, now=NOW)

        secrets = [b"secret %d" % number for number in range(RACERS)]
        answers = race([enrolling(secret) for secret in secrets])
        totp = self.factors(storage).totp
        assert totp is not None
        assert [secret for secret, answer in zip(secrets, answers, strict=True) if answer == Done()] == [totp.sealed]
        assert self.user(storage).credentials_version == VERSION + 1

    @pytest.mark.guarantee(6)
    def test_a_switch_that_another_request_moved_is_not_ours(self, storage: StorageUnderTest) -> None:
        """Two requests switch the second factor on, with different recovery codes. The second gets ``Moved``."""
        self.registered(storage, replace(FACTORS, on=False, recovery=None))
        mine = SwitchSecondFactor(on=True, recovery=RECOVERY)
        others = SwitchSecondFactor(on=True, recovery=replace(RECOVERY, mark=OTHER_MARK))
        assert storage.factors.change_factors(ACTOR, others, remember=None, now=NOW) == Done()
        assert storage.factors.change_factors(ACTOR, others, remember=None, now=NOW) == Done()
        assert storage.factors.change_factors(ACTOR, mine, remember=None, now=NOW) == Moved()

    def test_changing_the_password_forgets_every_device_and_keeps_the_factors(self, storage: StorageUnderTest) -> None:
        """A login on a device that was remembered needs a second factor again."""
        expected = self.registered(storage)
        assert storage.accounts.change_password(ACTOR, b"new", expected=expected, now=NOW) == Done()
        assert self.factors(storage) == replace(FACTORS, remembered={})
