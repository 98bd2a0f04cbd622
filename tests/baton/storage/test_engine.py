"""Our own trouble is ``Unavailable``, whatever its shape; and importing and starting need no AWS."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from chalicelib.baton.accounts.ports import AddressTaken
from chalicelib.baton.effects import Done
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.lineages.model import EndReason, Status
from chalicelib.baton.lineages.rules import Exchanged, Inactive, exchange
from chalicelib.baton.policy import ASKING_MAX_S
from chalicelib.baton.proof.once_rules import OnceKey
from chalicelib.baton.storage.aws.service import (
    ATTEMPTS,
    CONFLICT_PAUSES_S,
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    AwsClient,
    ConditionFailed,
    TimeBudget,
)
from chalicelib.baton.storage.aws.small_client import ErrorResponse
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.items import Item, Value, of_account, state_item
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.mail_users import MailUsers
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NOT_BEFORE,
    NOW,
    OPERATION,
    OTHER,
    OTHER_LIVE,
    STEP_UP,
    USER,
    VERSION,
    presented,
    state_with,
)
from tests.baton.memory import MemoryLog

pytestmark = pytest.mark.guarantee(9)


def answered(code: str, status: int = 400, **members: object) -> ClientError:
    """Make the error botocore raises for an answer with this code."""
    metadata: Any = {"HTTPStatusCode": status}
    response: Any = {"Error": {"Code": code, "Message": "secret"}, "ResponseMetadata": metadata, **members}
    return ClientError(response, "AnyOperation")


def cancelled(*codes: str, item: Item | None = None) -> ClientError:
    """Make the error of a transaction that was cancelled for these reasons, one for each of its writes."""
    reasons = [{"Code": code} | ({"Item": item} if item else {}) for code in codes]
    return answered("TransactionCanceledException", CancellationReasons=reasons)


@dataclass(slots=True)
class Trouble:
    """Stands for the client: raises what it was given, one after the other, then answers as told, or nothing."""

    errors: list[Exception]
    answers: dict[str, dict[str, object]] = field(default_factory=dict)
    calls: int = 0
    requests: list[dict[str, object]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __getattr__(self, operation: str) -> Callable[..., dict[str, object]]:
        """Give any operation."""

        def call(**request: object) -> dict[str, object]:
            self.calls += 1
            self.requests.append(request)
            if self.errors:
                raise self.errors.pop(0)
            return self.answers.get(operation, {})

        return call


def engine_in(trouble: Trouble) -> DynamoDB:
    """Make an engine whose client is in trouble."""
    dynamodb = AwsClient("dynamodb", pause=trouble.pauses.append)
    dynamodb._made = trouble
    return DynamoDB(Tables("test"), dynamodb)


OUR_TROUBLE = [
    answered("ProvisionedThroughputExceededException"),
    answered("ThrottlingException"),
    answered("RequestLimitExceeded"),
    answered("ResourceNotFoundException"),
    answered("AccessDeniedException"),
    answered("ValidationException"),
    answered("UnrecognizedClientException"),
    answered("ExpiredTokenException"),
    answered("ItemCollectionSizeLimitExceededException"),
    answered("InternalServerError", 500),
    answered("ServiceUnavailable", 503),
    answered("SomethingNobodyHasHeardOf", 418),
    ClientError({}, "AnyOperation"),
    cancelled("ConditionalCheckFailed", "ThrottlingError"),
    cancelled("ValidationError", "None"),
    ConnectTimeoutError(endpoint_url="secret"),
    ReadTimeoutError(endpoint_url="secret"),
    EndpointConnectionError(endpoint_url="secret"),
    NoCredentialsError(),
    ParamValidationError(report="secret"),
    BotoCoreError(),
]

CALL = OnceKey("O#call")
VERBS: dict[str, Callable[[DynamoDB], object]] = {
    "users.find": lambda engine: Users(engine).find(USER.email_index),
    "users.get": lambda engine: Users(engine).get(ACCOUNT),
    "users.register": lambda engine: Users(engine).register(USER, state_with()),
    "users.change_password": lambda engine: Users(engine).change_password(
        ACTOR, b"new", expected=state_with(MINE_LIVE), now=NOW
    ),
    "users.rehash": lambda engine: Users(engine).rehash(
        ACCOUNT, b"new", expected_version=1, expected_password_hash=b"old"
    ),
    "users.verify_address": lambda engine: MailUsers(engine).verify_address(ACTOR, language="en", now=NOW),
    "users.reset_password": lambda engine: MailUsers(engine).reset_password(
        ACCOUNT, b"new", expected_version=1, mark=b"mark", claim=True, now=NOW
    ),
    "users.forget": lambda engine: Users(engine).forget(ACCOUNT, USER.email_index),
    "lineages.get": lambda engine: LineageStore(engine).get(ACCOUNT),
    "lineages.exchange": lambda engine: LineageStore(engine).exchange(
        presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S
    ),
    "lineages.add_lineage": lambda engine: LineageStore(engine).add_lineage(
        MINE_LIVE, expected=state_with(), replaced=(), removed=(), lineages_max=6
    ),
    "lineages.record_use": lambda engine: LineageStore(engine).record_use(
        MINE_LIVE, account=ACCOUNT, expected=MINE_LIVE, now=NOW, not_before=NOT_BEFORE
    ),
    "lineages.end": lambda engine: LineageStore(engine).end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW),
    "lineages.end_device": lambda engine: LineageStore(engine).end_device(ACTOR, OTHER, now=NOW),
    "lineages.end_all": lambda engine: LineageStore(engine).end_all(ACTOR, now=NOW),
    "lineages.delete": lambda engine: LineageStore(engine).delete(ACTOR, now=NOW),
    "lineages.set_status": lambda engine: LineageStore(engine).set_status(ACCOUNT, Status.DISABLED, now=NOW),
    "lineages.set_roles": lambda engine: LineageStore(engine).set_roles(ACCOUNT, frozenset({1}), expected=frozenset()),
    "ephemeral.consume_nonce": lambda engine: Ephemeral(engine).consume_nonce("key", "nonce", now=NOW, mark=b"mark"),
    "ephemeral.consume_ticket": lambda engine: Ephemeral(engine).consume_ticket(
        b"id", expires_at=NOW + 1, now=NOW, mark=b"mark"
    ),
    "ephemeral.store_grant": lambda engine: Ephemeral(engine).store_grant(
        "grant", lineage=MINE, operation=OPERATION, step_up=STEP_UP, credentials_version=VERSION, expires_at=NOW
    ),
    "ephemeral.consume_grant": lambda engine: Ephemeral(engine).consume_grant(
        "grant", lineage=MINE, operation=OPERATION, credentials_version=VERSION, now=NOW, mark=b"mark"
    ),
    "ephemeral.count": lambda engine: Ephemeral(engine).count("bucket", limit=1, window_s=60, now=NOW),
    "ephemeral.uncount": lambda engine: Ephemeral(engine).uncount("bucket", window_s=60, now=NOW),
    "once.claim": lambda engine: OnceCalls(engine).claim(CALL, digest=b"digest", mark=b"mark", now=NOW),
    "once.take_over": lambda engine: OnceCalls(engine).take_over(CALL, old_mark=b"old", mark=b"mark", now=NOW),
    "once.store": lambda engine: OnceCalls(engine).store(CALL, mark=b"mark", answer=b"secret", now=NOW),
    "once.release": lambda engine: OnceCalls(engine).release(CALL, mark=b"mark"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("error", OUR_TROUBLE, ids=lambda error: f"{type(error).__name__} {error}"[:60])
def test_our_own_trouble_is_unavailable(error: Exception, verb: str) -> None:
    """Promise 9: never a verdict, and the private reason quotes nothing of the request."""
    with pytest.raises(Unavailable) as raised:
        VERBS[verb](engine_in(Trouble([error])))
    assert "secret" not in raised.value.reason
    assert raised.value.__suppress_context__
    assert not raised.value.by_caller, "it must ring the alarm"


@pytest.mark.parametrize("error", OUR_TROUBLE, ids=lambda error: f"{type(error).__name__} {error}"[:60])
def test_an_event_that_cannot_be_noted_is_told_and_counted(error: Exception) -> None:
    """What happened has happened: the audit never raises, and what it tells quotes nothing of the request."""
    log = MemoryLog()
    Audit(engine_in(Trouble([error])), log).append(AuditEvent(NOW, "logged_in", ACCOUNT), event_id="a")
    ((event, facts),) = log.recorded
    assert event == "audit_write_failed"
    assert (facts["event"], facts["account"]) == ("logged_in", ACCOUNT)
    assert facts["reason"]
    assert "secret" not in str(facts)


def test_an_event_that_cannot_even_be_written_down_is_told() -> None:
    """A defect of ours in an event does not undo what happened either."""
    log = MemoryLog()
    defective: Any = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT, details=None)  # type: ignore[arg-type]
    Audit(engine_in(Trouble([])), log).append(defective, event_id="a")
    assert [(event, facts["reason"]) for event, facts in log.recorded] == [("audit_write_failed", "AttributeError")]


CONFLICTS = [
    answered("TransactionConflictException"),
    cancelled("TransactionConflict", "None"),
    cancelled("ConditionalCheckFailed", "TransactionConflict"),
]


@pytest.mark.parametrize("conflict", CONFLICTS, ids=str)
def test_a_conflict_with_a_transaction_is_waited_out(conflict: Exception) -> None:
    """The client does not send again what met a transaction; nothing was written, so we do."""
    trouble = Trouble([conflict, conflict])
    assert Users(engine_in(trouble)).register(USER, state_with()) == Done()
    assert trouble.calls == 3
    assert trouble.pauses == list(CONFLICT_PAUSES_S[:2])


@pytest.mark.parametrize("conflict", CONFLICTS, ids=str)
def test_a_conflict_that_does_not_end_is_unavailable(conflict: Exception) -> None:
    """The waiting is bounded."""
    trouble = Trouble([conflict] * 10)
    with pytest.raises(Unavailable) as raised:
        Users(engine_in(trouble)).register(USER, state_with())
    assert trouble.calls == 1 + len(CONFLICT_PAUSES_S)
    assert raised.value.by_caller, "requests sent together meet at will: no alarm"


CONFLICT_OF_EACH_CLIENT = [
    CONFLICTS[0],
    ErrorResponse({"Error": {"Code": "TransactionConflictException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}),
]


@pytest.mark.parametrize("conflict", CONFLICT_OF_EACH_CLIENT, ids=["botocore", "small client"])
def test_an_exchange_that_meets_a_transaction_is_sent_again(conflict: Exception) -> None:
    """A team's own transaction may check that a login is live while this login exchanges its token."""
    child = state_with(exchange(MINE_LIVE, presented(), now=NOW))
    trouble = Trouble([conflict] * len(CONFLICT_PAUSES_S), answers={"update_item": {"Attributes": state_item(child)}})
    assert VERBS["lineages.exchange"](engine_in(trouble)) == Exchanged(child.lineages[MINE])
    assert trouble.pauses == list(CONFLICT_PAUSES_S)


@pytest.mark.parametrize("verb", ["lineages.exchange", "lineages.add_lineage", "lineages.record_use", "lineages.end"])
@pytest.mark.parametrize("conflict", CONFLICT_OF_EACH_CLIENT, ids=["botocore", "small client"])
def test_a_write_that_keeps_meeting_transactions_is_unavailable_and_never_refused(
    conflict: Exception, verb: str
) -> None:
    """503: the login is still valid, and its app repeats the request with the same attempt."""
    trouble = Trouble([conflict] * 10)
    with pytest.raises(Unavailable) as raised:
        VERBS[verb](engine_in(trouble))
    assert trouble.calls == 1 + len(CONFLICT_PAUSES_S)
    assert raised.value.by_caller


def test_a_conflict_is_not_waited_out_by_a_call_that_has_lasted_too_long() -> None:
    """Each round may take what a call takes: four of them outlived Lambda."""
    now = iter([0.0, 0.9, 1.1, 1.2, 1.3])
    trouble = Trouble([CONFLICTS[0]] * 10)
    engine = engine_in(trouble)
    engine._dynamodb._monotonic = lambda: next(now)
    with pytest.raises(Unavailable):
        Users(engine).register(USER, state_with())
    assert trouble.calls == 2


@pytest.mark.parametrize("code", ["ThrottlingException", "TransactionInProgressException"])
def test_nothing_else_is_sent_again_by_us(code: str) -> None:
    """The client's three attempts are all there is. One in progress is known by its token, which is the client's."""
    trouble = Trouble([answered(code)] * 2)
    with pytest.raises(Unavailable):
        Users(engine_in(trouble)).register(USER, state_with())
    assert trouble.calls == 1


@pytest.mark.parametrize("verb", ["users.find", "users.get", "lineages.get"])
def test_every_read_is_strongly_consistent(verb: str) -> None:
    """Or a logout that has answered 200 could be overlooked for a moment."""
    trouble = Trouble([])
    VERBS[verb](engine_in(trouble))
    assert [request["ConsistentRead"] for request in trouble.requests] == [True]


def test_a_failed_condition_brings_the_old_item() -> None:
    """What stood there comes with the failure: never a second read."""
    item = state_item(state_with())
    with pytest.raises(ConditionFailed) as failed:
        engine_in(Trouble([answered("ConditionalCheckFailedException", Item=item)])).write("put_item")
    assert failed.value.item == item


def test_a_transaction_that_failed_on_a_claim_names_its_account() -> None:
    """The items come in the order of the writes."""
    claim: Item = {"pk": {"S": "E#ada"}, "account": {"S": "somebody"}}
    error = cancelled("ConditionalCheckFailed", "None", "None")
    error.response["CancellationReasons"][0]["Item"] = claim  # type: ignore[typeddict-item] # our codec's shape
    assert isinstance(Users(engine_in(Trouble([error]))).register(USER, state_with()), AddressTaken)


BROKEN: dict[str, Callable[[Item], object]] = {
    "no epoch": lambda item: item.pop("e"),
    "epoch not a number": lambda item: item.update(e={"S": "3"}),
    "a fraction": lambda item: item.update(e={"N": "3.5"}),
    "unknown status": lambda item: item.update(s={"N": "9"}),
    "no lineages": lambda item: item.pop("L"),
    "lineages not a map": lambda item: item.update(L={"S": ""}),
    "lineage without binding": lambda item: _mine(item).pop("b"),
    "binding of another length": lambda item: _mine(item).update(b={"B": b"12345"}),
    "three attempts": lambda item: _mine(item)["a"]["L"].pop(),
    "five attempts": lambda item: _mine(item)["a"]["L"].append({"B": b"attempt9"}),
    "unknown assurance": lambda item: _mine(item).update(k={"N": "99"}),
    "roles not a number": lambda item: item.update(r={"S": "1"}),
    "roles of no bit": lambda item: item.update(r={"N": "0"}),
    "a role below the first": lambda item: item.update(r={"N": "-1"}),
    "a role over the last": lambda item: item.update(r={"N": str(1 << 32)}),
    "unknown reason": lambda item: _mine(item).update(z={"N": "1"}, y={"N": "99"}),
}


def _mine(item: Item) -> dict[str, Value]:
    return item["L"]["M"][MINE]["M"]


@pytest.mark.parametrize("broken", BROKEN)
def test_an_account_state_that_cannot_be_read_is_our_own_trouble(engine: DynamoDB, broken: str) -> None:
    """Never "unknown", never "ended": nobody is logged out by a malformed item."""
    item = state_item(state_with(MINE_LIVE))
    BROKEN[broken](item)
    engine.write("put_item", TableName=engine.tables.lineages, Item=item)
    with pytest.raises(Unavailable, match="malformed account state"):
        LineageStore(engine).get(ACCOUNT)
    with pytest.raises(Unavailable, match="malformed account state"):
        LineageStore(engine).exchange(presented(2), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)


def test_users_and_claims_that_cannot_be_read_are_our_own_trouble(engine: DynamoDB) -> None:
    """The same holds in the other tables."""
    engine.write("put_item", TableName=engine.tables.users, Item=of_account(ACCOUNT))
    engine.write("put_item", TableName=engine.tables.users, Item={"pk": {"S": f"E#{USER.email_index}"}})
    with pytest.raises(Unavailable, match="malformed user"):
        Users(engine).get(ACCOUNT)
    with pytest.raises(Unavailable, match="malformed e-mail index entry"):
        Users(engine).find(USER.email_index)
    with pytest.raises(Unavailable, match="malformed user"):
        Users(engine).register(USER, state_with())


def test_an_item_with_nothing_in_it_is_not_an_absent_one() -> None:
    """It was: whoever met one was told "log in", or "wrong password"."""
    for verb in ("users.find", "users.get", "lineages.get"):
        with pytest.raises(Unavailable, match="malformed"):
            VERBS[verb](engine_in(Trouble([], answers={"get_item": {"Item": {}}})))
    nothing = answered("ConditionalCheckFailedException", Item={})
    with pytest.raises(Unavailable, match="malformed account state"):
        VERBS["lineages.exchange"](engine_in(Trouble([nothing])))


@pytest.mark.parametrize("reasons", [[], [{"Code": "ConditionalCheckFailed"}]], ids=["none", "too few"])
def test_a_transaction_cancelled_without_its_reasons_is_our_own_trouble(reasons: list[object]) -> None:
    """It was a defect, 500: there was nothing to take apart."""
    error = answered("TransactionCanceledException", CancellationReasons=reasons)
    if not reasons:
        del error.response["CancellationReasons"]
    for verb in ("users.register", "users.change_password"):
        with pytest.raises(Unavailable):
            VERBS[verb](engine_in(Trouble([error])))


def test_a_grant_that_was_spent_and_cannot_be_read_is_our_own_trouble() -> None:
    """It was refused, 401: the condition had held, so it was good."""
    spent = Trouble([], answers={"update_item": {"Attributes": {"pk": {"S": "G#grant"}}}})
    with pytest.raises(Unavailable, match="malformed grant"):
        VERBS["ephemeral.consume_grant"](engine_in(spent))


@pytest.mark.parametrize("said", [b'{"Item": {"pk": {"S', b"", b'{"Item": {"pk": {"B": "A"}}}'], ids=str)
def test_an_answer_that_cannot_be_read_is_not_an_empty_one(
    engine: DynamoDB, dynamodb: AwsClient, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or botocore makes an empty answer of half a one, and of that the stores make "no such account"."""
    from moto.dynamodb.responses import DynamoHandler

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(DynamoHandler, "call_action", lambda _: (200, {}, said))
    with pytest.raises(Unavailable):
        LineageStore(engine).get(ACCOUNT)


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("lineages.get", (200, {"x-amz-crc32": "1"}, b"{}")),
        ("lineages.exchange", (400, {"x-amz-crc32": "1"}, b'{"__type": "x#ConditionalCheckFailedException"}')),
    ],
)
def test_an_answer_that_is_not_what_its_checksum_says_is_not_believed(
    engine: DynamoDB, dynamodb: AwsClient, verb: str, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was, after botocore had asked three times: as "no such account", of one that is there."""
    from moto.dynamodb.responses import DynamoHandler

    asked = []

    def call_action(handler: DynamoHandler) -> object:
        asked.append(handler)
        return answer

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(DynamoHandler, "call_action", call_action)
    with pytest.raises(Unavailable):
        VERBS[verb](engine)
    assert len(asked) == ATTEMPTS


def test_a_service_that_answers_in_xml_can_be_read(embedded_engine: None) -> None:
    """As IAM does: its answers are not JSON, and not garbled."""
    del embedded_engine
    assert AwsClient("iam").call("list_account_aliases")["AccountAliases"] == []


def test_a_condition_that_disagrees_with_the_rule_is_our_own_trouble() -> None:
    """Should the two ever differ, nothing is granted and nobody is called a thief."""
    error = answered("ConditionalCheckFailedException", Item=state_item(state_with(MINE_LIVE)))
    with pytest.raises(Unavailable, match="disagree"):
        LineageStore(engine_in(Trouble([error]))).exchange(presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)


@pytest.mark.parametrize("verb", ["lineages.end_all", "lineages.delete"])
def test_a_write_on_behalf_of_a_login_without_an_account_is_refused(verb: str) -> None:
    """The item is gone, so there is no login: refused, and no defect."""
    assert VERBS[verb](engine_in(Trouble([answered("ConditionalCheckFailedException")]))) == Inactive()


@pytest.mark.parametrize("verb", ["lineages.end_all", "lineages.delete"])
def test_a_write_on_behalf_of_a_live_login_that_did_not_happen_is_our_own_trouble(verb: str) -> None:
    """The item that comes with the failure says that the login lives: then nobody is told that it has ended."""
    item = state_item(state_with(MINE_LIVE, OTHER_LIVE))
    trouble = Trouble([answered("ConditionalCheckFailedException", Item=item)])
    with pytest.raises(Unavailable, match="disagree"):
        VERBS[verb](engine_in(trouble))


def test_the_client_is_made_once_with_limits_stated(dynamodb: AwsClient) -> None:
    """Defaults changed between releases of botocore: ours are explicit."""
    config = dynamodb.client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == ATTEMPTS
    assert dynamodb.client is dynamodb.client


def test_no_region_is_our_own_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that cannot be made is no different from one that gets no answer."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(Unavailable, match="NoRegionError"):
        LineageStore(DynamoDB(Tables("test"))).get(ACCOUNT)


def test_importing_the_stores_imports_no_aws() -> None:
    """`app.py` runs on the deploying machine too, and a cold start pays for what it imports."""
    program = (
        "import sys\n"
        "from chalicelib.baton.storage.dynamodb import accounts, audit, database, key_ring\n"
        "from chalicelib.baton.storage.dynamodb import key_wrapping, lineages, one_time\n"
        "lineages.LineageStore(database.DynamoDB(database.Tables('test')))\n"
        "key_wrapping.KmsWrapper('key')\n"
        "assert not {'boto3', 'botocore'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_request_whose_calls_have_lasted_too_long_sends_no_more() -> None:
    """A brown-out made a login outlive Lambda's time-out: it ended without an answer, and its slots stayed taken."""
    now, call_s = [0.0], [0.0]

    class Slow(Trouble):
        def __getattr__(self, operation: str) -> Callable[..., dict[str, object]]:
            now[0] += call_s[0]
            return super().__getattr__(operation)

    trouble = Slow([])
    time_budget = TimeBudget()
    service = AwsClient("dynamodb", time_budget=time_budget, monotonic=lambda: now[0])
    service._made = trouble
    engine = DynamoDB(Tables("test"), service)
    for _ in range(3):
        call_s[0] = ASKING_MAX_S
        engine.read("lineages", {"pk": {"S": "x"}})  # no request has begun: nothing is limited
    for _ in range(2):
        time_budget.begin()
        engine.read("lineages", {"pk": {"S": "x"}})
        call_s[0] = 0.1
        trouble.errors.append(answered("ThrottlingException"))
        with pytest.raises(Unavailable):  # a call that fails takes time too
            engine.read("lineages", {"pk": {"S": "x"}})
        asks: list[Callable[[], object]] = [
            lambda: engine.read("lineages", {"pk": {"S": "x"}}),
            lambda: engine.write("put_item", TableName="lineages", Item={}),
            lambda: engine.transact({"Put": {"TableName": "lineages", "Item": {}}}),
            lambda: AwsClient("kms", time_budget=time_budget).call("decrypt"),
        ]
        for ask in asks:
            with pytest.raises(Unavailable, match="too long"):
                ask()
        call_s[0] = ASKING_MAX_S
    assert trouble.calls == 7


def test_the_time_of_a_view_is_not_that_of_the_storage() -> None:
    """After six seconds at a payment provider no answer was stored, no key released, and no event audited."""
    now = [0.0]
    time_budget = TimeBudget()
    service = AwsClient("dynamodb", time_budget=time_budget, monotonic=lambda: now[0])
    service._made = Trouble([])
    time_budget.begin()
    now[0] += 2 * ASKING_MAX_S
    DynamoDB(Tables("test"), service).write("put_item", TableName="ephemeral", Item={})
