"""What the store ``attestations`` must do (``attestation/ports.py``)."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.attestation.model import AttestedKey, RevokedList
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.lineages.model import Attestation, Ended, EndReason, Lineage
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    MINE,
    MINE_LIVE,
    NOW,
    OTHER_LIVE,
    VERSION,
    state_with,
)

KEY: Final = b"k" * 32
PHONE: Final = AttestedKey(
    Attestation.APP,
    "TEAM123456.com.example.app",
    at=NOW,
    expires_at=NOW + 1000,
    apple_key=b"a" * 32,
    point=b"\x04" + bytes(64),
)
ANDROID: Final = AttestedKey(Attestation.STRONGBOX, "com.example.app", at=NOW, expires_at=NOW + 1000)
ATTEMPT: Final = b"attempt!"
OTHER_ATTEMPT: Final = b"another!"


class AttestationsContract(Contract):
    """The tests of the store ``attestations``: `attestation.ports.Attestations`."""

    @pytest.mark.parametrize("known", [PHONE, ANDROID], ids=["apple", "android"])
    def test_evidence_is_found_by_client_and_key_until_it_expires(
        self, storage: StorageUnderTest, known: AttestedKey
    ) -> None:
        """Evidence is found until it expires. Another client or another key has no evidence."""
        store = storage.attestations
        assert store.get(1, KEY, now=NOW) is None
        store.keep(1, KEY, known, now=NOW)
        assert store.get(1, KEY, now=NOW + 999) == known
        assert store.get(1, KEY, now=NOW + 1000) is None
        assert store.get(2, KEY, now=NOW) is None
        assert store.get(1, b"o" * 32, now=NOW) is None

    def test_evidence_of_another_kind_or_key_replaces_the_old(self, storage: StorageUnderTest) -> None:
        """New evidence with another App Attest key, or from another platform, replaces the stored evidence."""
        store = storage.attestations
        for known in (PHONE, replace(PHONE, apple_key=b"b" * 32), ANDROID, replace(ANDROID, at=NOW + 1), PHONE):
            store.keep(1, KEY, known, now=NOW)
            assert store.get(1, KEY, now=NOW) == known

    def test_the_same_app_attest_key_never_counts_from_zero_again(self, storage: StorageUnderTest) -> None:
        """A repeated attestation of the same key does not reset the stored counter.

        A client can send an attestation again for 24 hours. After each repetition, used counters are still refused.
        """
        store = storage.attestations
        store.keep(1, KEY, PHONE, now=NOW)
        assert store.count(1, KEY, PHONE, counter=5, attempt=ATTEMPT, now=NOW + 1) == Done()
        store.keep(1, KEY, replace(PHONE, at=NOW + 2), now=NOW + 2)
        assert store.get(1, KEY, now=NOW + 2) == replace(PHONE, counter=5, attempt=ATTEMPT, at=NOW + 1)
        assert store.count(1, KEY, PHONE, counter=4, attempt=OTHER_ATTEMPT, now=NOW + 3) == Refused()

    def test_a_counter_rises_or_is_of_the_same_attempt(self, storage: StorageUnderTest) -> None:
        """Only a counter above the stored counter, or a repetition of the last request, is accepted."""
        store = storage.attestations
        store.keep(1, KEY, PHONE, now=NOW)
        counted = [
            store.count(1, KEY, PHONE, counter=counter, attempt=attempt, now=NOW)
            for counter, attempt in (
                (0, ATTEMPT),
                (1, ATTEMPT),
                (1, ATTEMPT),
                (1, OTHER_ATTEMPT),
                (9, OTHER_ATTEMPT),
                (1, ATTEMPT),
            )
        ]
        assert counted == [Refused(), Done(), Done(), Refused(), Done(), Refused()]

    def test_nothing_is_counted_for_another_key_or_without_evidence(self, storage: StorageUnderTest) -> None:
        """The call is refused, for example if the App Attest key was replaced between read and write."""
        store = storage.attestations
        assert store.count(1, KEY, PHONE, counter=1, attempt=ATTEMPT, now=NOW) == Refused()
        store.keep(1, KEY, replace(PHONE, apple_key=b"b" * 32), now=NOW)
        assert store.count(1, KEY, PHONE, counter=1, attempt=ATTEMPT, now=NOW) == Refused()
        store.keep(1, KEY, ANDROID, now=NOW)
        assert store.count(1, KEY, PHONE, counter=1, attempt=ATTEMPT, now=NOW) == Refused()

    def test_of_racing_assertions_with_one_counter_one_wins(self, storage: StorageUnderTest) -> None:
        """Eight assertions have the same counter. The write compares counters: one call succeeds, seven are refused."""
        store = storage.attestations
        store.keep(1, KEY, PHONE, now=NOW)

        def counting(number: int) -> Callable[[], Done | Refused]:
            return lambda: store.count(1, KEY, PHONE, counter=7, attempt=bytes([number] * 8), now=NOW)

        assert race([counting(number) for number in range(RACERS)]).count(Done()) == 1

    def test_the_end_of_evidence_can_be_moved(self, storage: StorageUnderTest) -> None:
        """``extend`` replaces the expiry of stored evidence. Without stored evidence, nothing is written."""
        store = storage.attestations
        store.extend(1, KEY, expires_at=NOW + 5000)
        assert store.get(1, KEY, now=NOW) is None
        store.keep(1, KEY, PHONE, now=NOW)
        store.extend(1, KEY, expires_at=NOW + 5000)
        assert store.get(1, KEY, now=NOW + 4999) == replace(PHONE, expires_at=NOW + 5000)

    def test_a_live_login_is_attested(self, storage: StorageUnderTest) -> None:
        """Only the attestation of the login changes, and a repetition is safe."""
        storage.seed(state_with(MINE_LIVE, OTHER_LIVE))
        for _ in range(2):
            done = storage.attestations.attest(ACTOR, Attestation.TEE, expected=MINE_LIVE, now=NOW)
            assert done == Done()
            attested = replace(MINE_LIVE, attestation=Attestation.TEE)
            assert storage.lineages.get(ACCOUNT) == state_with(attested, OTHER_LIVE)
        renewed = storage.attestations.attest(ACTOR, Attestation.APP, expected=attested, now=NOW)
        assert renewed == Done()
        moved = storage.attestations.attest(ACTOR, Attestation.STRONGBOX, expected=attested, now=NOW)
        assert moved == Moved(), "another request attested it meanwhile"

    @pytest.mark.parametrize(
        "mine",
        [
            replace(MINE_LIVE, ended=Ended(NOW - 1, EndReason.LOGOUT)),
            replace(MINE_LIVE, epoch=MINE_LIVE.epoch - 1),
            replace(MINE_LIVE, expires_at=NOW),
            replace(MINE_LIVE, auth_time=ACTOR.not_before - 1),
        ],
        ids=["ended", "earlier epoch", "expired", "before the not-before time"],
    )
    def test_no_login_is_attested_that_is_not_live(self, storage: StorageUnderTest, mine: Lineage) -> None:
        """The result is ``Inactive``, and nothing is written."""
        storage.seed(state_with(mine))
        before = storage.lineages.get(ACCOUNT)
        outcome = storage.attestations.attest(ACTOR, Attestation.TEE, expected=mine, now=NOW)
        assert isinstance(outcome, Inactive)
        assert storage.lineages.get(ACCOUNT) == before

    def test_no_login_is_attested_after_its_credentials_changed(self, storage: StorageUnderTest) -> None:
        """Nothing is written. The result is ``ProofOutdated``, or ``Inactive`` if the account does not exist."""
        absent = storage.attestations.attest(ACTOR, Attestation.TEE, expected=MINE_LIVE, now=NOW)
        assert isinstance(absent, Inactive)
        storage.seed(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1))
        outdated = storage.attestations.attest(ACTOR, Attestation.TEE, expected=MINE_LIVE, now=NOW)
        assert outdated == ProofOutdated()
        stored = storage.lineages.get(ACCOUNT)
        assert stored is not None
        assert stored.lineages[MINE].attestation is Attestation.NONE

    def test_the_newest_list_of_revoked_certificates_stays(self, storage: StorageUnderTest) -> None:
        """Two jobs may run at the same time. A job with an older list must not replace a newer list."""
        store = storage.attestations
        assert store.revoked() is None
        empty, listed = RevokedList(NOW, frozenset()), RevokedList(NOW + 1, frozenset({b"12345678", b"abcdefgh"}))
        assert store.replace_revoked(empty) == Done()
        assert store.revoked() == empty
        assert store.replace_revoked(listed) == Done()
        assert store.replace_revoked(empty) == Refused()
        assert store.replace_revoked(listed) == Done()
        assert store.revoked() == listed

    def test_a_list_of_forty_thousand_certificates_is_stored(self, storage: StorageUnderTest) -> None:
        """The storage must accept a list of 320 KB. An item of DynamoDB can have 400 KB."""
        listed = RevokedList(NOW, frozenset(number.to_bytes(8, "big") for number in range(40_000)))
        assert storage.attestations.replace_revoked(listed) == Done()
        assert storage.attestations.revoked() == listed

    def test_switches_are_replaced(self, storage: StorageUnderTest) -> None:
        """Each call replaces all switches of the operator (`model.Switches`). The storage cannot decrypt them."""
        assert storage.attestations.switches() == ""
        for sealed in ("sw.one", "sw.two"):
            storage.attestations.replace_switches(sealed)
            assert storage.attestations.switches() == sealed
