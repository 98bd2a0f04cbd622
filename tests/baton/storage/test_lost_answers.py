"""A lost answer changes no result: botocore sends again, and each method recognises its own earlier success."""

from collections.abc import Iterator

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError
from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Again, Done, Moved, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.model import FactorChange, PasskeyUse, SecondFactors
from chalicelib.baton.lineages.model import Ended, EndReason
from chalicelib.baton.lineages.rules import Retry, exchange
from chalicelib.baton.proof.once_rules import OnceKey
from chalicelib.baton.storage.aws.service import ATTEMPTS, AwsClient
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.factors import Factors
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.mail_users import MailUsers
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral
from chalicelib.baton.storage.dynamodb.outcomes import state_or_none
from chalicelib.baton.testing.contract.addresses import BACK, KEPT, PROVED
from chalicelib.baton.testing.contract.addresses import NEW as NEW_ADDRESS
from chalicelib.baton.testing.contract.factor_values import ASKED, CHANGES, CODES, PASSKEY, STEP, TOTP, by_id
from chalicelib.baton.testing.contract.mail import OF_LINK
from chalicelib.baton.testing.contract.restores import KEY
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    EPOCH,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NEWBORN,
    NOT_BEFORE,
    NOW,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    USER,
    VERSION,
    presented,
    state_with,
)
from chalicelib.baton.tokens.caller import GrantUsed, Operation
from tests.baton.storage.test_dynamodb import put_state

pytestmark = pytest.mark.guarantee(1, 2, 8)

CALL = OnceKey("O#call")
WRITES = ("UpdateItem", "PutItem", "DeleteItem", "TransactWriteItems")


class Line:
    """A connection to DynamoDB that loses answers after the write."""

    def __init__(self) -> None:
        """Start without losses."""
        self.to_lose = 0
        self.lost = 0

    def lose(self, answers: int = 1) -> None:
        """Lose the next answers."""
        self.to_lose, self.lost = answers, 0

    def __call__(self, request: AWSPreparedRequest, **_event: object) -> None:
        """Run after moto has executed the request, and lose the answer if required."""
        if self.lost < self.to_lose and _target(request).endswith(WRITES):
            self.lost += 1
            raise ConnectionClosedError(endpoint_url="https://dynamodb")


@pytest.fixture
def line(dynamodb: AwsClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Return the connection, without pauses between botocore's attempts."""
    line = Line()
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    # The handler is the last one of the general event: moto answers there, and handlers of specific events run earlier.
    events = dynamodb.client.meta.events
    events.register_last("before-send", line, unique_id="line")
    yield line
    events.unregister("before-send", line, unique_id="line")
    assert line.lost == line.to_lose, "no answer was lost"


def test_an_exchange_with_a_lost_answer_gets_the_same_child(engine: DynamoDB, line: Line) -> None:
    """The second request fails its condition, finds its own attempt in the slot (E6), and writes nothing."""
    put_state(engine, state_with(MINE_LIVE, OTHER_LIVE))
    child = exchange(MINE_LIVE, presented(), now=NOW)
    line.lose()
    assert LineageStore(engine).exchange(presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S) == Retry(child)
    assert LineageStore(engine).get(ACCOUNT) == state_with(child, OTHER_LIVE)


def test_an_exchange_with_several_lost_answers_gets_the_same_child(engine: DynamoDB, line: Line) -> None:
    """The number of attempts does not matter."""
    put_state(engine, state_with(MINE_LIVE))
    line.lose(ATTEMPTS - 1)
    answer = LineageStore(engine).exchange(presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
    assert answer == Retry(exchange(MINE_LIVE, presented(), now=NOW))


def test_a_login_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """The repetition finds that the stored lineage equals the new lineage."""
    expected = state_with(MINE_LIVE)
    put_state(engine, expected)
    line.lose()
    admitted = LineageStore(engine).add_lineage(
        NEWBORN, expected=expected, replaced=(), removed=(MINE_LIVE,), lineages_max=1
    )
    assert admitted == Done()
    assert LineageStore(engine).get(ACCOUNT) == state_with(NEWBORN)


def test_a_recorded_use_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """The repetition finds that the stored lineage equals the new lineage."""
    put_state(engine, state_with(MINE_LIVE))
    slid = replace(MINE_LIVE, issued_at=NOW)
    line.lose()
    assert (
        LineageStore(engine).record_use(slid, account=ACCOUNT, expected=MINE_LIVE, now=NOW, not_before=NOT_BEFORE)
        == Done()
    )


def test_an_end_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """An ended lineage counts as success. Its time and reason stay."""
    put_state(engine, state_with(MINE_LIVE))
    line.lose()
    LineageStore(engine).end(ACCOUNT, MINE, EndReason.REUSE, now=NOW)
    account_state = LineageStore(engine).get(ACCOUNT)
    assert account_state is not None
    assert account_state.lineages[MINE].ended == Ended(NOW, EndReason.REUSE)


def test_an_end_of_all_logins_with_a_lost_answer_happens_once(engine: DynamoDB, line: Line) -> None:
    """The epoch rises once."""
    put_state(engine, state_with(MINE_LIVE))
    line.lose()
    assert LineageStore(engine).end_all(ACTOR, now=NOW) == Done()
    account_state = LineageStore(engine).get(ACCOUNT)
    assert account_state is not None
    assert account_state.epoch == EPOCH + 1
    assert account_state.lineages[MINE].epoch == EPOCH


def test_an_end_of_a_device_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """A login that ends itself is no longer active at the second attempt, which succeeds too."""
    put_state(engine, state_with(MINE_LIVE))
    line.lose()
    assert LineageStore(engine).end_device(ACTOR, MINE, now=NOW) == Done()


def test_a_deletion_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """The login that deleted the account does not exist at the second attempt."""
    put_state(engine, state_with(MINE_LIVE))
    line.lose()
    assert LineageStore(engine).delete(ACTOR, now=NOW) == Done()


def test_a_registration_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """Since moto ignores request tokens, the second attempt fails here on the items of the first attempt."""
    line.lose()
    assert Users(engine).register(USER, state_with(MINE_LIVE)) == Done()
    second = replace(USER, account=SOMEBODY_ELSE)
    assert Users(engine).register(second, state_with(account=SOMEBODY_ELSE)) == AddressTaken(ACCOUNT)


def test_a_refused_registration_with_a_lost_answer_is_refused(engine: DynamoDB, line: Line) -> None:
    """A lost refusal does not become a success."""
    Users(engine).register(USER, state_with(MINE_LIVE))
    line.lose()
    second = replace(USER, account=SOMEBODY_ELSE)
    assert Users(engine).register(second, state_with(account=SOMEBODY_ELSE)) == AddressTaken(ACCOUNT)


def test_a_password_change_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """The stored hash and version are those of the first attempt. No number rises twice."""
    expected = state_with(MINE_LIVE)
    Users(engine).register(USER, expected)
    line.lose()
    assert Users(engine).change_password(ACTOR, b"new", expected=expected, now=NOW) == Done()
    account_state = LineageStore(engine).get(ACCOUNT)
    assert account_state is not None
    assert account_state.epoch == EPOCH + 1


def test_a_reset_whose_answer_was_lost_is_done(engine: DynamoDB, line: Line) -> None:
    """The stored mark and hash are those of this call. No number rises twice."""
    Users(engine).register(USER, state_with(MINE_LIVE))
    line.lose()
    reset = MailUsers(engine).reset_password(USER, b"new", mark=b"ours", claim=True, now=NOW)
    assert reset == Done()
    account_state = LineageStore(engine).get(ACCOUNT)
    assert account_state is not None
    assert account_state.epoch == EPOCH + 1


def test_a_proof_of_an_address_whose_answer_was_lost_is_done(engine: DynamoDB, line: Line) -> None:
    """The second sending succeeds again, and the time stays."""
    Users(engine).register(USER, state_with(MINE_LIVE))
    line.lose()
    assert MailUsers(engine).verify_address(ACTOR, language="en", now=NOW) == Done()
    user = Users(engine).get(ACCOUNT)
    assert user is not None
    assert user.verified_at == NOW


def test_a_move_and_an_undo_whose_answers_were_lost_are_done(engine: DynamoDB, line: Line) -> None:
    """The stored address, mark and ciphertext are those of these calls. No number rises twice."""
    users = MailUsers(engine)
    users.register(PROVED, state_with(MINE_LIVE))
    line.lose()
    assert users.move_address(ACTOR, PROVED, NEW_ADDRESS, kept=KEPT, language="", now=NOW) == Done()
    moved = users.get(ACCOUNT)
    assert moved is not None
    assert moved.credentials_version == VERSION + 1
    line.lose()
    assert users.undo_changes(moved, BACK, now=NOW) == Done()
    undone, account_state = users.get(ACCOUNT), LineageStore(engine).get(ACCOUNT)
    assert undone is not None
    assert account_state is not None
    assert (undone.email, undone.credentials_version) == (PROVED.email, VERSION + 2)
    assert (account_state.epoch, account_state.credentials_version) == (EPOCH + 1, VERSION + 2)


def test_the_deletion_of_an_unproved_account_whose_answer_was_lost_is_done(engine: DynamoDB, line: Line) -> None:
    """The deleted account state has the mark of this call. For another link, the result is ``Moved``."""
    users = MailUsers(engine)
    users.register(USER, state_with(MINE_LIVE))
    line.lose()
    assert users.delete_unproved(USER, mark=OF_LINK, now=NOW) == Done()
    assert users.get(ACCOUNT) is None
    assert users.find(USER.email_index) is None
    assert users.delete_unproved(USER, mark=MINE, now=NOW) == Moved()


def test_a_code_whose_answer_was_lost_is_used_by_us(engine: DynamoDB, line: Line) -> None:
    """The stored mark is that of this call. The next request with the same code is still refused."""
    Users(engine).register(ASKED, state_with(MINE_LIVE))
    store = Factors(engine)

    def use_step(mark: bytes) -> Done | Refused:
        return store.consume_totp_step(ACCOUNT, TOTP, step=STEP + 1, mark=mark, credentials_version=VERSION)

    def use_code(mark: bytes) -> Done | Refused:
        return store.consume_recovery_code(ACCOUNT, CODES[0], mark=mark, credentials_version=VERSION)

    for use in (use_step, use_code):
        line.lose()
        assert use(b"ours") == Done()
        assert use(b"theirs") == Refused()


@pytest.mark.parametrize(("change", "before", "after"), CHANGES)
def test_a_change_of_factors_whose_answer_was_lost_is_done(
    engine: DynamoDB, line: Line, change: FactorChange, before: SecondFactors, after: SecondFactors
) -> None:
    """The change is stored once, and the version is one higher."""
    Users(engine).register(replace(USER, factors=before), state_with(MINE_LIVE))
    line.lose()
    assert Factors(engine).change_factors(ACTOR, change, remember=None, now=NOW) == Done()
    assert Users(engine).get(ACCOUNT) == replace(USER, credentials_version=VERSION + 1, factors=after)


def test_the_writes_of_a_passkey_whose_answer_was_lost_are_done(engine: DynamoDB, line: Line) -> None:
    """The writes are its use and its name. The second attempt stores the same values."""
    Users(engine).register(replace(USER, factors=SecondFactors(passkeys=by_id(PASSKEY))), state_with(MINE_LIVE))
    store = Factors(engine)
    use = PasskeyUse(PASSKEY, counter=8, backup_eligible=True, backed_up=True, day=1)
    line.lose()
    assert store.use_passkey(ACCOUNT, use, credentials_version=VERSION) == Done()
    line.lose()
    assert store.rename_passkey(ACTOR, PASSKEY.id, "Work", now=NOW) == Done()
    user = Users(engine).get(ACCOUNT)
    assert user is not None
    assert user.factors.passkeys == by_id(replace(use.after, name="Work"))


def test_a_restore_key_with_a_lost_answer_is_kept_or_deleted(engine: DynamoDB, line: Line) -> None:
    """The second attempt of each write changes nothing."""
    Users(engine).register(USER, state_with(MINE_LIVE))
    for key, kept in ((KEY, {"phone": KEY}), (None, {})):
        line.lose()
        assert Factors(engine).keep_restore_key(ACTOR, "phone", key, now=NOW) == Done()
        user = Users(engine).get(ACCOUNT)
        assert user is not None
        assert user.restore == kept


def test_forgetting_an_account_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """A second deletion of an item has no effect."""
    Users(engine).register(USER, state_with())
    line.lose()
    Users(engine).forget(ACCOUNT, USER.email_index, now=NOW)
    assert Users(engine).find(USER.email_index) is None


def test_a_nonce_with_a_lost_answer_is_consumed_by_its_own_call(engine: DynamoDB, line: Line) -> None:
    """The item has the mark of this call. The next call with the nonce is refused."""
    line.lose()
    assert Ephemeral(engine).consume_nonce("key", "nonce", now=NOW, mark=b"ours") == Again()
    assert Ephemeral(engine).consume_nonce("key", "nonce", now=NOW, mark=b"theirs") == Refused()


def test_a_ticket_with_a_lost_answer_is_consumed_by_its_own_request(engine: DynamoDB, line: Line) -> None:
    """The item has the mark of this request. The next request with the ticket is refused."""
    line.lose()
    assert Ephemeral(engine).consume_ticket(b"id", expires_at=NOW + 1, now=NOW, mark=b"ours") == Again()
    assert Ephemeral(engine).consume_ticket(b"id", expires_at=NOW + 1, now=NOW, mark=b"theirs") == Refused()


def test_a_grant_with_lost_answers_is_stored_and_consumed_by_its_own_call(engine: DynamoDB, line: Line) -> None:
    """The item has the mark of this call. The next call with the grant is refused."""
    operation = Operation("POST", "/transfers", "sha-256=:YQ==:")
    step_up = GrantUsed(at=NOW, assurance=MINE_LIVE.assurance)
    store = Ephemeral(engine)
    line.lose()
    store.store_grant(
        "grant", lineage=MINE, operation=operation, step_up=step_up, credentials_version=VERSION, expires_at=NOW + 1
    )

    def spend(mark: bytes) -> GrantUsed | Refused:
        return store.consume_grant(
            "grant", lineage=MINE, operation=operation, credentials_version=VERSION, now=NOW, mark=mark
        )

    line.lose()
    assert spend(b"ours") == step_up
    assert spend(b"theirs") == Refused()


def test_a_claim_with_a_lost_answer_belongs_to_its_own_call(engine: DynamoDB, line: Line) -> None:
    """The item has the mark of this call, so the view runs. The next request finds a running call."""
    calls = OnceCalls(engine)
    line.lose()
    assert calls.claim(CALL, digest=b"digest", mark=b"ours", now=NOW).mark == b"ours"
    assert calls.claim(CALL, digest=b"digest", mark=b"theirs", now=NOW).mark == b"ours"


def test_a_take_over_with_a_lost_answer_belongs_to_its_own_call(engine: DynamoDB, line: Line) -> None:
    """The item has the mark of this call. A second take-over fails."""
    calls = OnceCalls(engine)
    calls.claim(CALL, digest=b"digest", mark=b"old", now=NOW)
    line.lose()
    for mark in (b"ours", b"theirs"):
        taken = calls.take_over(CALL, old_mark=b"old", mark=mark, now=NOW)
        assert taken is not None
        assert taken.mark == b"ours"


def test_a_stored_answer_of_a_call_with_a_lost_answer_of_dynamodb_is_kept(engine: DynamoDB, line: Line) -> None:
    """Equal bytes are those of the first attempt. Other bytes are refused."""
    calls = OnceCalls(engine)
    calls.claim(CALL, digest=b"digest", mark=b"ours", now=NOW)
    line.lose()
    assert calls.store(CALL, mark=b"ours", answer=b"answer", now=NOW) == Done()
    assert calls.store(CALL, mark=b"ours", answer=b"another", now=NOW) == Refused()


def test_a_release_with_a_lost_answer_succeeds(engine: DynamoDB, line: Line) -> None:
    """A deleted item needs no release."""
    calls = OnceCalls(engine)
    calls.claim(CALL, digest=b"digest", mark=b"ours", now=NOW)
    line.lose()
    calls.release(CALL, mark=b"ours")
    assert calls.claim(CALL, digest=b"digest", mark=b"theirs", now=NOW).mark == b"theirs"


def _target(request: AWSPreparedRequest) -> str:
    """Return the operation of a request. botocore has it as bytes or text."""
    target = request.headers["X-Amz-Target"]
    return target.decode() if isinstance(target, bytes) else str(target)


def test_an_item_without_attributes_is_damaged_and_not_missing() -> None:
    """The answer is 503. "No account" would be a verdict on a login that may live."""
    assert state_or_none(None) is None
    with pytest.raises(Unavailable, match="malformed account state"):
        state_or_none({})
