"""The rules of second factors: codes of apps, recovery codes, required factors, and remembered devices."""

import itertools

import pytest
from msgspec.structs import replace

from chalicelib.baton.factors.enrolment import Enrolment
from chalicelib.baton.factors.model import RecoveryCodes, SecondFactors, Totp, key_id
from chalicelib.baton.factors.prove_totp import mark_of
from chalicelib.baton.factors.recovery_codes import ALPHABET, digest_of, digests_of, make_codes, same_codes
from chalicelib.baton.factors.rules import (
    Admitted,
    CannotAsk,
    EnrolmentAsked,
    FactorAsked,
    Verdict,
    is_new_key,
    is_remembered,
    judge_login,
    remember,
)
from chalicelib.baton.factors.totp import code_at, is_code_at, matching_step, otpauth_uri, shown_secret
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.rotation import make_ring, rotate_root
from chalicelib.baton.lineages.assurance import ASSURANCES, CODES, PASSWORD, PASSWORD_ON_REMEMBERED_KEY
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import (
    AccountState,
    Binding,
    Ended,
    EndReason,
    Lineage,
    NoBinding,
    SecretBinding,
)
from chalicelib.baton.policy import ACR_LEVELS, DAY_S, NEW_KEY_S, SIGNING_KEY_PUBLISHED_BEFORE_USE_S
from chalicelib.baton.testing.contract.values import MINE_LIVE, MY_KEY, NOT_BEFORE, NOW, OTHER_KEY, state_with
from tests.baton.golden.fixed import Entropy
from tests.vectors import load

ACCOUNT = AccountId("AQAAAAAAAAAAAAAA")
RING = make_ring(Entropy("ring"), now=NOW - 10)
SECRET = b"12345678901234567890"
TOTP = Totp(b"sealed", step=0, mark=bytes(16), enrolled_at=0)
RECOVERY = RecoveryCodes(frozenset({b"c" * 16}), made_at=0, mark=bytes(16))
ROW = '[client.{0}]\ncode = {1}\nmechanism = "exchange"\nform = "jwt"\nbinding = "optional"\nscope = "account"\n'
REGISTRY = (
    '[roles]\nadmin = { code = 1, second_factor = "required" }\nsupport = { code = 2 }\n'
    + ROW.format("off", 1) + 'second_factor = "off"\n'
    + ROW.format("optional", 2)
    + ROW.format("required", 3) + 'second_factor = "required"\nremember_days = 2\n'
)  # fmt: skip
CLIENTS = Clients.from_toml(REGISTRY)


# --- Codes of an app ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", load("rfc6238_totp")["cases"], ids=lambda row: row["id"])
def test_the_vectors_of_the_rfcs(row: dict[str, object]) -> None:
    """The code is SHA-1 with six digits: the last six of the eight in the RFC. Apps do not support the other hashes."""
    step = row["counter"] if row["type"] == "hotp" else int(str(row["time"])) // 30
    right = code_at(bytes.fromhex(str(row["secret_hex"])), int(str(step))) == str(row["code"])[-6:]
    assert right is (row["alg"] == "sha1")


def test_the_rows_of_the_vectors_are_all_there() -> None:
    """The test would otherwise miss a lost vector."""
    rows = load("rfc6238_totp")["cases"]
    assert (len(rows), sum(row["alg"] == "sha1" for row in rows)) == (28, 16)


@pytest.mark.parametrize("around", [-2, -1, 0, 1, 2])
def test_a_code_is_right_one_step_around(around: int) -> None:
    """A clock may be wrong by one step of 30 seconds, and not by two."""
    current = NOW // 30
    found = matching_step(SECRET, code_at(SECRET, current + around), after=-1, now=NOW)
    assert found == (current + around if abs(around) <= 1 else None)


def test_a_used_step_and_every_earlier_one_are_not_found() -> None:
    """Only codes of steps after the last used step are accepted."""
    current = NOW // 30
    for after, step in itertools.product((current - 1, current, current + 1), (current - 1, current, current + 1)):
        found = matching_step(SECRET, code_at(SECRET, step), after=after, now=NOW)
        assert found == (step if step > after else None)


def test_the_newest_of_two_steps_with_the_same_code_is_found() -> None:
    """An older step would let the same code be used a second time."""
    rfc_secret = b"12345678901234567890"
    older, newer = 58261606, 58261608
    assert code_at(rfc_secret, older) == code_at(rfc_secret, newer)
    assert matching_step(rfc_secret, code_at(rfc_secret, older), after=-1, now=(older + 1) * 30) == newer


def test_a_code_is_compared_as_text() -> None:
    """Leading zeros are part of the code."""
    step = next(step for step in itertools.count() if code_at(SECRET, step)[0] == "0")
    assert is_code_at(SECRET, step, code_at(SECRET, step))
    assert not is_code_at(SECRET, step, code_at(SECRET, step).lstrip("0"))


def test_an_app_reads_the_secret_from_the_uri() -> None:
    """Every character that has a meaning in a URI is encoded."""
    assert shown_secret(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    uri = otpauth_uri(SECRET, email="a+b&c@example.com", product="Ex: &ample")
    assert uri == (
        "otpauth://totp/Ex%3A%20%26ample:a%2Bb%26c@example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        "&issuer=Ex%3A%20%26ample&algorithm=SHA1&digits=6&period=30"
    )


# --- Recovery codes -----------------------------------------------------------------------------------------------


def test_recovery_codes_are_ten_and_all_different() -> None:
    """Each has 120 bits in six groups. Another account, seed or root gives other codes."""
    codes = make_codes(RING, ACCOUNT, b"seed", now=NOW)
    assert len(codes) == len(set(codes)) == 10
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4] * 6
        assert set(code) <= {*ALPHABET, "-"}
    others = [
        make_codes(RING, AccountId("B" * 16), b"seed", now=NOW),
        make_codes(RING, ACCOUNT, b"another", now=NOW),
        make_codes(make_ring(Entropy("another"), now=NOW - 10), ACCOUNT, b"seed", now=NOW),
    ]
    assert all(set(codes).isdisjoint(other) for other in others)


def test_a_person_may_type_a_code_in_many_ways() -> None:
    """By Crockford's rules, O is 0, and I and L are 1. Case, hyphens and spaces do not matter."""
    code = "0123-4567-89AB-CDEF-GHJK-MN10"
    right = digest_of(ACCOUNT, code)
    assert right is not None
    assert len(right) == 16
    for typed in (code.lower(), code.replace("-", " "), code.replace("-", ""), "oi23-4567-89ab-cdef-ghjk-mnLO"):
        assert digest_of(ACCOUNT, typed) == right
    assert digest_of(AccountId("B" * 16), code) != right


@pytest.mark.parametrize(
    "typed", ["", "0123", "0123-4567-89AB-CDEF-GHJK-MN1", "0123-4567-89AB-CDEF-GHJK-MN100", "U" * 24]
)
def test_what_is_no_recovery_code_has_no_digest(typed: str) -> None:
    """The text has the wrong length, or a letter that Crockford's alphabet does not have."""
    assert digest_of(ACCOUNT, typed) is None


def test_the_same_codes_are_made_again_after_a_rotation() -> None:
    """A repeated request gets them under any root of the ring, if none of the codes was used."""
    codes = make_codes(RING, ACCOUNT, b"seed", now=NOW)
    stored = RecoveryCodes(digests_of(ACCOUNT, codes), made_at=NOW, mark=bytes(16))
    rotated = rotate_root(RING, Entropy("next"), now=NOW)
    assert same_codes(rotated, ACCOUNT, b"seed", stored) == codes
    later = NOW + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    assert make_codes(rotated, ACCOUNT, b"seed", now=later) != codes
    used = replace(stored, digests=frozenset(list(stored.digests)[1:]))
    assert same_codes(rotated, ACCOUNT, b"seed", used) is None
    assert same_codes(rotated, ACCOUNT, b"another", stored) is None


def test_marks_are_of_their_effect_and_attempt() -> None:
    """A mark identifies an effect and its attempt. Different effects or attempts never have the same mark."""
    marks = {mark_of(attempt, effect) for attempt in ("a", "b") for effect in ("1", "2")}
    marks |= {Enrolment(bytes([one]) * 16, NOW, ACCOUNT, MINE_LIVE.id, SECRET, 1).mark for one in (1, 2)}
    assert len(marks) == 6
    assert {len(mark) for mark in marks} == {16}


# --- Who is asked -------------------------------------------------------------------------------------------------

NOTHING, ON = SecondFactors(), SecondFactors(on=True, totp=TOTP, recovery=RECOVERY)
REMEMBERED = replace(ON, remembered={str(key_id(MY_KEY)): NOW - 10})
PLAIN = state_with(MINE_LIVE)
ADMIN, BY_OPERATOR = replace(PLAIN, roles=frozenset({1})), replace(PLAIN, second_factor_required=True)
BOTH = FactorAsked(("totp", "recovery_code"))
ENROL = EnrolmentAsked(("totp",))


@pytest.mark.guarantee(14)
@pytest.mark.parametrize(
    ("client", "state", "factors", "verdict"),
    [
        ("optional", PLAIN, NOTHING, Admitted(PASSWORD)),
        ("off", PLAIN, NOTHING, Admitted(PASSWORD)),
        ("required", PLAIN, NOTHING, ENROL),
        ("optional", ADMIN, NOTHING, ENROL),
        ("optional", replace(PLAIN, roles=frozenset({2})), NOTHING, Admitted(PASSWORD)),
        ("optional", BY_OPERATOR, NOTHING, ENROL),
        ("off", ADMIN, NOTHING, CannotAsk()),
        ("off", BY_OPERATOR, NOTHING, CannotAsk()),
        ("off", PLAIN, ON, CannotAsk()),
        ("off", PLAIN, REMEMBERED, CannotAsk()),
        ("optional", PLAIN, ON, BOTH),
        ("required", PLAIN, ON, BOTH),
        ("optional", PLAIN, replace(ON, on=False), Admitted(PASSWORD)),
        ("required", PLAIN, replace(ON, on=False), BOTH),
        ("optional", BY_OPERATOR, replace(ON, on=False), BOTH),
        ("required", PLAIN, SecondFactors(recovery=RECOVERY), FactorAsked(("recovery_code",))),
        ("required", PLAIN, SecondFactors(recovery=replace(RECOVERY, digests=frozenset())), ENROL),
        ("optional", PLAIN, replace(ON, recovery=None), FactorAsked(("totp",))),
        ("optional", PLAIN, REMEMBERED, Admitted(PASSWORD_ON_REMEMBERED_KEY)),
        ("required", ADMIN, REMEMBERED, Admitted(PASSWORD_ON_REMEMBERED_KEY)),
        ("optional", PLAIN, replace(REMEMBERED, on=False), Admitted(PASSWORD)),
    ],
)
def test_the_table_of_the_rule(client: str, state: AccountState, factors: SecondFactors, verdict: Verdict) -> None:
    """If client, operator, role or owner requires a factor, the login needs a second factor, at every client."""
    row = CLIENTS.get(client)
    assert row is not None
    assert judge_login(CLIENTS, row, state, factors, binding=MY_KEY, now=NOW, not_before=NOT_BEFORE) == verdict


def ended(reason: EndReason, *, at: int = NOW - 5) -> Lineage:
    """End a login of this key."""
    return replace(MINE_LIVE, ended=Ended(at, reason))


@pytest.mark.guarantee(14)
@pytest.mark.parametrize(
    ("state", "binding", "remembered"),
    [
        (PLAIN, MY_KEY, True),
        (PLAIN, OTHER_KEY, False),
        (PLAIN, SecretBinding(), False),
        (PLAIN, NoBinding(), False),
        (state_with(), MY_KEY, False),
        (state_with(replace(MINE_LIVE, binding=OTHER_KEY)), MY_KEY, False),
        *((state_with(ended(reason)), MY_KEY, True) for reason in (EndReason.LOGOUT, EndReason.REPLACED)),
        (state_with(replace(MINE_LIVE, expires_at=NOW - 1)), MY_KEY, True),
        *(
            (state_with(ended(reason)), MY_KEY, False)
            for reason in EndReason
            if reason not in {EndReason.LOGOUT, EndReason.REPLACED, EndReason.IDLE, EndReason.EXPIRED}
        ),
        # A harmless login of the key does not outweigh a theft. A proof after the theft does.
        (state_with(ended(EndReason.REUSE), replace(MINE_LIVE, id="other")), MY_KEY, False),
        (state_with(ended(EndReason.REUSE, at=NOW - 11), replace(MINE_LIVE, id="other")), MY_KEY, True),
        (state_with(ended(EndReason.REUSE, at=NOW - 10), replace(MINE_LIVE, id="other")), MY_KEY, False),
        (replace(PLAIN, epoch=9, raised=Ended(NOW - 5, EndReason.ENDED_EVERYWHERE)), MY_KEY, False),
    ],
)
def test_which_device_is_remembered(state: AccountState, binding: Binding, *, remembered: bool) -> None:
    """The key of the device proved a factor, and no login of the key ended in a harmful way."""
    assert is_remembered(REMEMBERED, state, binding, remember_days=30, now=NOW, not_before=NOT_BEFORE) is remembered


@pytest.mark.parametrize(
    ("age", "days", "not_before", "remembered"),
    [
        (30 * DAY_S - 1, 30, 0, True),
        (30 * DAY_S, 30, 0, False),
        (0, 0, 0, False),
        (DAY_S - 1, 1, 0, True),
        (10, 30, NOW - 10, True),
        (10, 30, NOW - 9, False),
    ],
)
def test_a_device_is_remembered_for_some_days(age: int, days: int, not_before: int, *, remembered: bool) -> None:
    """A factor that was proved before the not-before time does not count."""
    factors = replace(ON, remembered={str(key_id(MY_KEY)): NOW - age})
    state = state_with(replace(MINE_LIVE, auth_time=NOW))
    assert is_remembered(factors, state, MY_KEY, remember_days=days, now=NOW, not_before=not_before) is remembered


def test_keys_without_a_login_are_forgotten() -> None:
    """The write that adds a key removes them. A client with zero days and a device without a key are not remembered."""
    client, never = CLIENTS.get("optional"), replace(CLIENTS.get("optional"), remember_days=0)  # type: ignore[type-var] # it exists
    factors = replace(ON, remembered={str(key_id(MY_KEY)): 1, "gone": 2})
    kept = remember(factors, PLAIN, OTHER_KEY, client, now=NOW)
    assert kept is not None
    assert (kept.key, kept.at, kept.forgotten) == (key_id(OTHER_KEY), NOW, ("gone",))
    assert remember(factors, PLAIN, OTHER_KEY, never, now=NOW) is None
    assert remember(factors, PLAIN, OTHER_KEY, None, now=NOW) is None
    assert remember(factors, PLAIN, SecretBinding(), client, now=NOW) is None


@pytest.mark.parametrize(
    ("lineage", "binding", "new"),
    [
        (replace(MINE_LIVE, auth_time=NOW - NEW_KEY_S), MY_KEY, False),
        (replace(MINE_LIVE, auth_time=NOW - NEW_KEY_S + 1), MY_KEY, True),
        (replace(MINE_LIVE, auth_time=0), OTHER_KEY, True),
        (replace(MINE_LIVE, auth_time=0, binding=SecretBinding()), SecretBinding(), False),
        (replace(MINE_LIVE, auth_time=0, binding=NoBinding()), NoBinding(), True),
        (replace(MINE_LIVE, auth_time=0, ended=Ended(at=1, reason=EndReason.REPLACED)), MY_KEY, False),
        (replace(MINE_LIVE, auth_time=0, ended=Ended(at=1, reason=EndReason.ENDED_BY_OWNER)), MY_KEY, True),
        (replace(MINE_LIVE, auth_time=0, ended=Ended(at=1, reason=EndReason.REUSE)), MY_KEY, True),
        (replace(MINE_LIVE, auth_time=0, epoch=MINE_LIVE.epoch - 1), MY_KEY, True),
    ],
)
def test_which_key_is_new(lineage: Lineage, binding: Binding, *, new: bool) -> None:
    """A key or HMAC login that is at least seven days old is not new, unless it was ended as the login of a thief."""
    assert is_new_key(state_with(lineage), binding, MINE_LIVE.id, now=NOW) is new


def test_every_way_of_authentication_has_a_level_and_a_code() -> None:
    """The stored codes are 1 to 13, and every level is used. Each way has another code."""
    assert list(ASSURANCES) == list(range(1, 14))
    assert {one.acr for one in ASSURANCES.values()} == set(ACR_LEVELS)
    assert len(CODES) == len(ASSURANCES)
