"""Each kind of server error is ``Unavailable``. Importing and starting need no AWS."""

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
from chalicelib.baton.factors.model import AddPasskey, PasskeyUse
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
from chalicelib.baton.storage.dynamodb.factors import Factors
from chalicelib.baton.storage.dynamodb.identities import StoredIdentities
from chalicelib.baton.storage.dynamodb.items import of_account, state_item
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.mail_users import MailUsers
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral
from chalicelib.baton.storage.dynamodb.values import Item, Value
from chalicelib.baton.testing.contract.addresses import BACK
from chalicelib.baton.testing.contract.addresses import NEW as NEW_ADDRESS
from chalicelib.baton.testing.contract.factor_values import PASSKEY
from chalicelib.baton.testing.contract.linked_identities import ACME, BOTH, GOOGLE, NEW_GOOGLE
from chalicelib.baton.testing.contract.restores import KEY
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
    """Make the error that botocore raises for an answer with this code."""
    metadata: Any = {"HTTPStatusCode": status}
    response: Any = {"Error": {"Code": code, "Message": "secret"}, "ResponseMetadata": metadata, **members}
    return ClientError(response, "AnyOperation")


def cancelled(*codes: str, item: Item | None = None) -> ClientError:
    """Make the error of a cancelled transaction, with one reason for each of its writes."""
    reasons = [{"Code": code} | ({"Item": item} if item else {}) for code in codes]
    return answered("TransactionCanceledException", CancellationReasons=reasons)


@dataclass(slots=True)
class FailingClient:
    """A client that raises each of its errors in turn, and then returns the given answer or an empty answer."""

    errors: list[Exception]
    answers: dict[str, dict[str, object]] = field(default_factory=dict)
    calls: int = 0
    requests: list[dict[str, object]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __getattr__(self, operation: str) -> Callable[..., dict[str, object]]:
        """Return any operation."""

        def call(**request: object) -> dict[str, object]:
            self.calls += 1
            self.requests.append(request)
            if self.errors:
                raise self.errors.pop(0)
            return self.answers.get(operation, {})

        return call


def engine_with(failing_client: FailingClient) -> DynamoDB:
    """Make a DynamoDB with this client."""
    dynamodb = AwsClient("dynamodb", pause=failing_client.pauses.append)
    dynamodb._made = failing_client
    return DynamoDB(Tables("test"), dynamodb)


SERVER_ERRORS = [
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
    "users.set_first_password": lambda engine: Users(engine).set_first_password(
        USER, b"new", expected=state_with(), verified=True, demands=True, now=NOW
    ),
    "users.verify_address": lambda engine: MailUsers(engine).verify_address(ACTOR, language="en", now=NOW),
    "users.reset_password": lambda engine: MailUsers(engine).reset_password(
        USER, b"new", mark=b"mark", claim=True, now=NOW
    ),
    "factors.use_passkey": lambda engine: Factors(engine).use_passkey(
        ACCOUNT, PasskeyUse(PASSKEY, 8, backup_eligible=True, backed_up=True, day=1), credentials_version=VERSION
    ),
    "factors.keep_restore_key": lambda engine: Factors(engine).keep_restore_key(ACTOR, "phone", KEY, now=NOW),
    "factors.rename_passkey": lambda engine: Factors(engine).rename_passkey(ACTOR, PASSKEY.id, "name", now=NOW),
    "factors.change_factors": lambda engine: Factors(engine).change_factors(
        ACTOR, AddPasskey(PASSKEY), remember=None, now=NOW
    ),
    "users.move_address": lambda engine: MailUsers(engine).move_address(
        ACTOR, USER, NEW_ADDRESS, kept=(), language="", now=NOW
    ),
    "users.undo_changes": lambda engine: MailUsers(engine).undo_changes(USER, BACK, now=NOW),
    "users.delete_unproved": lambda engine: MailUsers(engine).delete_unproved(USER, mark=OTHER, now=NOW),
    "users.forget": lambda engine: Users(engine).forget(ACCOUNT, USER.email_index, now=NOW),
    "identities.get": lambda engine: StoredIdentities(engine).get(GOOGLE.index),
    "identities.sign_up": lambda engine: StoredIdentities(engine).sign_up(BOTH, state_with(), GOOGLE, ACME),
    "identities.link": lambda engine: StoredIdentities(engine).link(ACTOR, USER, NEW_GOOGLE, remember=None, now=NOW),
    "identities.unlink": lambda engine: StoredIdentities(engine).unlink(
        ACTOR, BOTH, 2, expected=state_with(), remember=None, now=NOW
    ),
    "identities.forget": lambda engine: StoredIdentities(engine).forget(GOOGLE.index, ACCOUNT, now=NOW),
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
@pytest.mark.parametrize("error", SERVER_ERRORS, ids=lambda error: f"{type(error).__name__} {error}"[:60])
def test_every_server_error_is_unavailable(error: Exception, verb: str) -> None:
    """Guarantee 9: a server error is never a verdict. The private reason contains nothing of the request."""
    with pytest.raises(Unavailable) as raised:
        VERBS[verb](engine_with(FailingClient([error])))
    assert "secret" not in raised.value.reason
    assert raised.value.__suppress_context__
    assert not raised.value.by_caller, "it must raise the alarm"


@pytest.mark.parametrize("error", SERVER_ERRORS, ids=lambda error: f"{type(error).__name__} {error}"[:60])
def test_an_audit_event_that_cannot_be_stored_is_logged_and_counted(error: Exception) -> None:
    """The audited action has already succeeded, so no exception is raised. The log contains nothing of the request."""
    log = MemoryLog()
    Audit(engine_with(FailingClient([error])), log).append(AuditEvent(NOW, "logged_in", ACCOUNT), event_id="a")
    ((event, facts),) = log.recorded
    assert event == "audit_write_failed"
    assert (facts["event"], facts["account"]) == ("logged_in", ACCOUNT)
    assert facts["reason"]
    assert "secret" not in str(facts)


def test_an_invalid_audit_event_is_logged() -> None:
    """A defect in an event does not undo the audited action either."""
    log = MemoryLog()
    defective: Any = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT, details=None)  # type: ignore[arg-type]
    Audit(engine_with(FailingClient([])), log).append(defective, event_id="a")
    assert [(event, facts["reason"]) for event, facts in log.recorded] == [("audit_write_failed", "AttributeError")]


CONFLICTS = [
    answered("TransactionConflictException"),
    cancelled("TransactionConflict", "None"),
    cancelled("ConditionalCheckFailed", "TransactionConflict"),
]


@pytest.mark.parametrize("conflict", CONFLICTS, ids=str)
def test_a_conflict_with_a_transaction_is_repeated(conflict: Exception) -> None:
    """The AWS client does not repeat it. Nothing was written, so Baton repeats it."""
    failing_client = FailingClient([conflict, conflict])
    assert Users(engine_with(failing_client)).register(USER, state_with()) == Done()
    assert failing_client.calls == 3
    assert failing_client.pauses == list(CONFLICT_PAUSES_S[:2])


@pytest.mark.parametrize("conflict", CONFLICTS, ids=str)
def test_a_lasting_conflict_is_unavailable(conflict: Exception) -> None:
    """The number of repetitions is limited."""
    failing_client = FailingClient([conflict] * 10)
    with pytest.raises(Unavailable) as raised:
        Users(engine_with(failing_client)).register(USER, state_with())
    assert failing_client.calls == 1 + len(CONFLICT_PAUSES_S)
    assert raised.value.by_caller, "a caller can cause conflicts: no alarm"


CONFLICT_OF_EACH_CLIENT = [
    CONFLICTS[0],
    ErrorResponse({"Error": {"Code": "TransactionConflictException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}),
]


@pytest.mark.parametrize("conflict", CONFLICT_OF_EACH_CLIENT, ids=["botocore", "small client"])
def test_an_exchange_in_conflict_with_a_transaction_is_repeated(conflict: Exception) -> None:
    """A team's own transaction may check that a login is active while this login exchanges its token."""
    child = state_with(exchange(MINE_LIVE, presented(), now=NOW))
    failing_client = FailingClient(
        [conflict] * len(CONFLICT_PAUSES_S), answers={"update_item": {"Attributes": state_item(child)}}
    )
    assert VERBS["lineages.exchange"](engine_with(failing_client)) == Exchanged(child.lineages[MINE])
    assert failing_client.pauses == list(CONFLICT_PAUSES_S)


@pytest.mark.parametrize("verb", ["lineages.exchange", "lineages.add_lineage", "lineages.record_use", "lineages.end"])
@pytest.mark.parametrize("conflict", CONFLICT_OF_EACH_CLIENT, ids=["botocore", "small client"])
def test_a_write_in_lasting_conflict_is_503_and_never_refused(conflict: Exception, verb: str) -> None:
    """The login is still valid, and its app repeats the request with the same attempt."""
    failing_client = FailingClient([conflict] * 10)
    with pytest.raises(Unavailable) as raised:
        VERBS[verb](engine_with(failing_client))
    assert failing_client.calls == 1 + len(CONFLICT_PAUSES_S)
    assert raised.value.by_caller


def test_a_conflict_is_not_repeated_after_a_long_call() -> None:
    """Each repetition can take as long as a call. Four repetitions could take longer than Lambda's time-out."""
    now = iter([0.0, 0.9, 1.1, 1.2, 1.3])
    failing_client = FailingClient([CONFLICTS[0]] * 10)
    engine = engine_with(failing_client)
    engine._dynamodb._monotonic = lambda: next(now)
    with pytest.raises(Unavailable):
        Users(engine).register(USER, state_with())
    assert failing_client.calls == 2


@pytest.mark.parametrize("code", ["ThrottlingException", "TransactionInProgressException"])
def test_no_other_error_is_repeated_by_baton(code: str) -> None:
    """The AWS client already makes three attempts. It recognises its own running transaction by its token."""
    failing_client = FailingClient([answered(code)] * 2)
    with pytest.raises(Unavailable):
        Users(engine_with(failing_client)).register(USER, state_with())
    assert failing_client.calls == 1


@pytest.mark.parametrize("verb", ["users.find", "users.get", "lineages.get"])
def test_every_read_is_strongly_consistent(verb: str) -> None:
    """A call shortly after a logout must not succeed."""
    failing_client = FailingClient([])
    VERBS[verb](engine_with(failing_client))
    assert [request["ConsistentRead"] for request in failing_client.requests] == [True]


def test_a_failed_condition_returns_the_stored_item() -> None:
    """No second read is necessary."""
    item = state_item(state_with())
    with pytest.raises(ConditionFailed) as failed:
        engine_with(FailingClient([answered("ConditionalCheckFailedException", Item=item)])).write("put_item")
    assert failed.value.item == item


def test_a_registration_of_a_used_address_returns_its_account() -> None:
    """The items are in the order of the writes."""
    claim: Item = {"pk": {"S": "E#ada"}, "account": {"S": "somebody"}}
    error = cancelled("ConditionalCheckFailed", "None", "None")
    error.response["CancellationReasons"][0]["Item"] = claim  # type: ignore[typeddict-item] # our codec's shape
    assert isinstance(Users(engine_with(FailingClient([error]))).register(USER, state_with()), AddressTaken)


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
    "a role above the last": lambda item: item.update(r={"N": str(1 << 32)}),
    "unknown reason": lambda item: _mine(item).update(z={"N": "1"}, y={"N": "99"}),
}


def _mine(item: Item) -> dict[str, Value]:
    return item["L"]["M"][MINE]["M"]


@pytest.mark.parametrize("broken", BROKEN)
def test_an_unreadable_account_state_is_a_server_error(engine: DynamoDB, broken: str) -> None:
    """Such an account state never counts as missing or ended, so a malformed item logs no user out."""
    item = state_item(state_with(MINE_LIVE))
    BROKEN[broken](item)
    engine.write("put_item", TableName=engine.tables.lineages, Item=item)
    with pytest.raises(Unavailable, match="malformed account state"):
        LineageStore(engine).get(ACCOUNT)
    with pytest.raises(Unavailable, match="malformed account state"):
        LineageStore(engine).exchange(presented(2), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)


def test_unreadable_users_and_index_entries_are_a_server_error(engine: DynamoDB) -> None:
    """The rule also holds for users and e-mail index entries."""
    engine.write("put_item", TableName=engine.tables.users, Item=of_account(ACCOUNT))
    engine.write("put_item", TableName=engine.tables.users, Item={"pk": {"S": f"E#{USER.email_index}"}})
    with pytest.raises(Unavailable, match="malformed user"):
        Users(engine).get(ACCOUNT)
    with pytest.raises(Unavailable, match="malformed e-mail index entry"):
        Users(engine).find(USER.email_index)
    with pytest.raises(Unavailable, match="malformed user"):
        Users(engine).register(USER, state_with())


def test_an_empty_item_is_not_a_missing_item() -> None:
    """As a missing item, it would cause `log_in` or a wrong password."""
    for verb in ("users.find", "users.get", "lineages.get"):
        with pytest.raises(Unavailable, match="malformed"):
            VERBS[verb](engine_with(FailingClient([], answers={"get_item": {"Item": {}}})))
    nothing = answered("ConditionalCheckFailedException", Item={})
    with pytest.raises(Unavailable, match="malformed account state"):
        VERBS["lineages.exchange"](engine_with(FailingClient([nothing])))


@pytest.mark.parametrize("reasons", [[], [{"Code": "ConditionalCheckFailed"}]], ids=["none", "too few"])
def test_a_cancelled_transaction_without_its_reasons_is_a_server_error(reasons: list[object]) -> None:
    """The error is `Unavailable`, and not a defect."""
    error = answered("TransactionCanceledException", CancellationReasons=reasons)
    if not reasons:
        del error.response["CancellationReasons"]
    for verb in ("users.register", "users.change_password"):
        with pytest.raises(Unavailable):
            VERBS[verb](engine_with(FailingClient([error])))


def test_a_consumed_but_unreadable_grant_is_a_server_error() -> None:
    """The condition of the write held, so the grant was valid and must not be refused with 401."""
    spent = FailingClient([], answers={"update_item": {"Attributes": {"pk": {"S": "G#grant"}}}})
    with pytest.raises(Unavailable, match="malformed grant"):
        VERBS["ephemeral.consume_grant"](engine_with(spent))


@pytest.mark.parametrize("said", [b'{"Item": {"pk": {"S', b"", b'{"Item": {"pk": {"B": "A"}}}'], ids=str)
def test_an_unreadable_answer_is_not_an_empty_answer(
    engine: DynamoDB, dynamodb: AwsClient, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of an answer is an empty answer for botocore, and the stores would return "no such account"."""
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
def test_an_answer_with_a_wrong_checksum_is_refused(
    engine: DynamoDB, dynamodb: AwsClient, verb: str, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this check, botocore would return the answer after three attempts, and an account would seem missing."""
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


def test_an_answer_in_xml_can_be_read(embedded_engine: None) -> None:
    """IAM answers in XML instead of JSON."""
    del embedded_engine
    assert AwsClient("iam").call("list_account_aliases")["AccountAliases"] == []


def test_a_condition_that_disagrees_with_the_rule_is_a_server_error() -> None:
    """Nothing is granted and no reuse is reported."""
    error = answered("ConditionalCheckFailedException", Item=state_item(state_with(MINE_LIVE)))
    with pytest.raises(Unavailable, match="disagree"):
        LineageStore(engine_with(FailingClient([error]))).exchange(
            presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S
        )


@pytest.mark.parametrize("verb", ["lineages.end_all", "lineages.delete"])
def test_a_write_on_behalf_of_a_login_without_an_account_is_refused(verb: str) -> None:
    """The item is missing, so there is no login. This is a refusal and not a defect."""
    assert VERBS[verb](engine_with(FailingClient([answered("ConditionalCheckFailedException")]))) == Inactive()


@pytest.mark.parametrize("verb", ["lineages.end_all", "lineages.delete"])
def test_a_failed_write_of_an_active_login_is_a_server_error(verb: str) -> None:
    """The stored item shows an active login, so the client is not told that it has ended."""
    item = state_item(state_with(MINE_LIVE, OTHER_LIVE))
    failing_client = FailingClient([answered("ConditionalCheckFailedException", Item=item)])
    with pytest.raises(Unavailable, match="disagree"):
        VERBS[verb](engine_with(failing_client))


def test_the_client_is_made_once_with_explicit_limits(dynamodb: AwsClient) -> None:
    """The defaults of botocore changed between releases."""
    config = dynamodb.client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == ATTEMPTS
    assert dynamodb.client is dynamodb.client


def test_a_missing_region_is_a_server_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that cannot be made counts as a client without an answer."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(Unavailable, match="NoRegionError"):
        LineageStore(DynamoDB(Tables("test"))).get(ACCOUNT)


def test_importing_the_stores_imports_no_aws() -> None:
    """`app.py` also runs on the deploying machine, and each import slows the cold start."""
    program = (
        "import sys\n"
        "from chalicelib.baton.storage.dynamodb import accounts, audit, database, key_ring\n"
        "from chalicelib.baton.storage.dynamodb import key_wrapping, lineages, one_time\n"
        "lineages.LineageStore(database.DynamoDB(database.Tables('test')))\n"
        "key_wrapping.KmsWrapper('key')\n"
        "assert not {'boto3', 'botocore'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_request_over_its_time_budget_sends_no_more_calls() -> None:
    """Without the budget, a login could exceed Lambda's time-out when DynamoDB is slow.

    It would get no answer, and would stay counted in the rate limits.
    """
    now, call_s = [0.0], [0.0]

    class Slow(FailingClient):
        def __getattr__(self, operation: str) -> Callable[..., dict[str, object]]:
            now[0] += call_s[0]
            return super().__getattr__(operation)

    failing_client = Slow([])
    time_budget = TimeBudget()
    service = AwsClient("dynamodb", time_budget=time_budget, monotonic=lambda: now[0])
    service._made = failing_client
    engine = DynamoDB(Tables("test"), service)
    for _ in range(3):
        call_s[0] = ASKING_MAX_S
        engine.read("lineages", {"pk": {"S": "x"}})  # no request has begun, so there is no limit
    for _ in range(2):
        time_budget.begin()
        engine.read("lineages", {"pk": {"S": "x"}})
        call_s[0] = 0.1
        failing_client.errors.append(answered("ThrottlingException"))
        with pytest.raises(Unavailable):  # a failed call takes time too
            engine.read("lineages", {"pk": {"S": "x"}})
        asks: list[Callable[[], object]] = [
            lambda: engine.read("lineages", {"pk": {"S": "x"}}),
            lambda: engine.write("put_item", TableName="lineages", Item={}),
            lambda: engine.transact({"Put": {"TableName": "lineages", "Item": {}}}),
            lambda: AwsClient("kms", time_budget=time_budget).call("decrypt"),
        ]
        for ask in asks:
            with pytest.raises(Unavailable, match="is used up"):
                ask()
        call_s[0] = ASKING_MAX_S
    assert failing_client.calls == 7


def test_the_time_of_a_view_does_not_count_as_storage_time() -> None:
    """After a slow view, the answer must be stored, the key released and the event audited."""
    now = [0.0]
    time_budget = TimeBudget()
    service = AwsClient("dynamodb", time_budget=time_budget, monotonic=lambda: now[0])
    service._made = FailingClient([])
    time_budget.begin()
    now[0] += 2 * ASKING_MAX_S
    DynamoDB(Tables("test"), service).write("put_item", TableName="ephemeral", Item={})
