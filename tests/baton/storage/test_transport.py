"""The small AWS client equals botocore's client in names, arguments, answers, errors and signatures."""

import base64
import contextlib
import datetime as dt
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.retries import standard

from chalicelib.baton.access_key import AccessKey, Vended
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import Secret
from chalicelib.baton.storage.aws import connection as connection_module
from chalicelib.baton.storage.aws.connection import NoResponse
from chalicelib.baton.storage.aws.credentials import source_of
from chalicelib.baton.storage.aws.service import ATTEMPTS, AwsClient, ConditionFailed
from chalicelib.baton.storage.aws.small_client import (
    AGAIN,
    SMALL_CLIENTS,
    Endpoint,
    ErrorResponse,
    SmallClient,
    SmallDynamoDB,
    SmallKMS,
)
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.items import of_account
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.testing.contract import StorageContract, StorageUnderTest
from chalicelib.baton.testing.contract.values import ACCOUNT, MINE_LIVE, OTHER_LIVE, state_with
from tests.baton.storage.test_dynamodb import put_state, storage_over
from tools.dev.certificate import self_signed

NOW = 1_750_000_000
KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TEST_KEY = source_of(AccessKey("test", Secret(b"test"), Secret(b"")))
REQUEST = {"TableName": "t", "Key": {"pk": {"S": "é/+ "}}, "ConsistentRead": True}


Small = TypeVar("Small", bound=SmallClient)


def client_of(kind: type[Small], endpoint: str, *, token: str = "", **named: Any) -> Small:
    """Make a client that does not pause."""
    region = str(named.pop("region", "eu-central-1"))
    key = AccessKey("AKIDEXAMPLE", Secret(KEY.encode()), Secret(token.encode()))
    access = Endpoint(endpoint, region, source_of(key))
    options: dict[str, Any] = {"connect_timeout_s": 1, "read_timeout_s": 0.3, "attempts": ATTEMPTS, "within_s": 5}
    return kind(access, **{**options, "clock": lambda: NOW, "pause": lambda _: None, **named})


def client(endpoint: str, **named: Any) -> SmallDynamoDB:
    """Make a client of DynamoDB."""
    return client_of(SmallDynamoDB, endpoint, **named)


@pytest.mark.parametrize("token", ["", "a session token/+="])
@pytest.mark.parametrize("service", SMALL_CLIENTS)
@pytest.mark.parametrize("address", ["https://{}.eu-central-1.amazonaws.com", "http://127.0.0.1:8000"])
@pytest.mark.parametrize("body", [b"{}", json.dumps(REQUEST).encode(), b"\0" * 70_000])
def test_its_signatures_equal_those_of_botocore(
    service: str, address: str, token: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same headers give the same Authorization."""
    endpoint = address.format(service)
    small = client_of(SMALL_CLIENTS[service], endpoint, token=token)
    head, _, sent = small._signed("UpdateItem", body).partition(b"\r\n\r\n")
    request_line, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert request_line == "POST / HTTP/1.1"
    assert sent == body
    assert headers.pop("content-length") == str(len(body))
    ours = headers.pop("authorization")
    given = {name: value for name, value in headers.items() if name not in {"x-amz-date", "x-amz-security-token"}}
    theirs = AWSRequest("POST", f"{endpoint}/", headers=given, data=body)
    credentials = Credentials("AKIDEXAMPLE", KEY, token or None)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: dt.datetime.fromtimestamp(NOW, dt.UTC))
    SigV4Auth(credentials, service, "eu-central-1").add_auth(theirs)
    assert theirs.headers["X-Amz-Date"] == headers["x-amz-date"]
    assert ours == theirs.headers["Authorization"]


def test_the_signing_key_is_derived_for_each_day() -> None:
    """A key is derived once a day, and the key of one day is never used for another."""
    now = [NOW]
    small = client("http://127.0.0.1:1", clock=lambda: now[0])
    first = small._signed("GetItem", b"{}")
    assert small._signed("GetItem", b"{}") == first
    now[0] += 86_400
    second = small._signed("GetItem", b"{}")
    fresh = client("http://127.0.0.1:1", clock=lambda: now[0])
    assert first != second == fresh._signed("GetItem", b"{}")


def test_the_signing_key_is_derived_for_each_access_key() -> None:
    """An access key expires, and the derived key is then no longer used."""
    keys = [AccessKey(name, Secret(name.encode()), Secret(b"")) for name in ("first", "second")]
    small = SmallDynamoDB(
        Endpoint("http://127.0.0.1:1", "eu-central-1", lambda: keys[0]),
        connect_timeout_s=1,
        read_timeout_s=1,
        attempts=1,
        within_s=1,
        clock=lambda: NOW,
    )
    first = small._signed("GetItem", b"{}")
    del keys[0]
    second = small._signed("GetItem", b"{}")
    assert b"Credential=first/" in first
    assert b"Credential=second/" in second
    assert first.rpartition(b"Signature=")[2] != second.rpartition(b"Signature=")[2]


def test_the_repr_of_an_access_key_is_masked() -> None:
    """An access key can therefore be in a log or a traceback."""
    key = AccessKey("id", Secret(b"to be hidden"), Secret(b"to be hidden too"))
    vended = Vended("http://127.0.0.1:1/", Secret(b"to be hidden"))
    for one in (key, vended, Endpoint("https://x", "r", source_of(key)), Endpoint("https://x", "r", source_of(vended))):
        assert "hidden" not in f"{one!r} {list(one.__rich_repr__())}"


def test_a_connection_with_connection_close_is_not_kept(line: Callable[..., "Line"]) -> None:
    """The server no longer reads from it, although it may not be closed yet."""
    other = line(answer(connection="close"), answer())
    small = client(other.address)
    for _ in range(2):
        assert small.get_item(**REQUEST) == ITEM
    assert (other.requests, other.connections) == (2, 2)


# The whole contract, over HTTP.


@pytest.fixture
def small_engine(tables: Tables, endpoint: str) -> DynamoDB:
    """Return a DynamoDB whose frequent calls use the small AWS client."""
    return DynamoDB(tables, AwsClient("dynamodb", endpoint=Endpoint(endpoint, "us-east-1", TEST_KEY)))


class TestSmallClient(StorageContract):
    """The contract, with its races. The frequent calls use the small AWS client."""

    @pytest.fixture
    def storage(self, small_engine: DynamoDB, dynamodb: AwsClient) -> StorageUnderTest:
        """Return the storage over new, empty tables."""
        return storage_over(small_engine, dynamodb)


def test_its_answers_and_errors_equal_those_of_botocore(tables: Tables, endpoint: str) -> None:
    """Items, old items and error codes are compared."""
    engine = DynamoDB(tables, AwsClient("dynamodb"))
    put_state(engine, state_with(MINE_LIVE, OTHER_LIVE))
    small = client(endpoint, region="us-east-1", read_timeout_s=5, clock=time.time)
    stock = botocore.session.get_session().create_client("dynamodb")
    key = {"TableName": tables.lineages, "Key": of_account(ACCOUNT)}
    fails = {
        **key,
        "UpdateExpression": "SET s = :s",
        "ConditionExpression": "s = :t",
        "ExpressionAttributeValues": {":s": {"N": "1"}, ":t": {"N": "9"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    absent_key = {"Key": {"pk": {"S": "nobody"}}}
    absent = {**key, **absent_key}
    check = {**key, "ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    put = {"Put": {"TableName": tables.users, "Item": {"pk": {"S": "x"}}}}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("transact_write_items", {"TransactItems": [put, {"ConditionCheck": check}]}),
        (
            "transact_write_items",
            {
                "TransactItems": [
                    {"ConditionCheck": {**check, "ConditionExpression": "attribute_exists(pk)", **absent_key}},
                    put,
                ]
            },
        ),
        ("transact_write_items", {"TransactItems": [put]}),
        ("transact_write_items", {"TransactItems": [put, put]}),
        ("delete_item", {**key, "ConditionExpression": "attribute_not_exists(pk)"}),
        ("delete_item", {**key, **absent_key}),
        ("get_item", key),
        ("get_item", absent),
        ("get_item", {**key, "TableName": "no-such-table"}),
        ("get_item", {**key, "Key": {"wrong": {"S": "key"}}}),
        ("update_item", fails),
        ("update_item", {**fails, **absent_key}),
        ("update_item", {**fails, "ConditionExpression": "s = :s", "ReturnValues": "ALL_NEW"} | _values(":s")),
    ]
    for operation, request in asked:
        said = [_outcome(getattr(one, operation), request) for one in (stock, small)]
        assert said[0] == said[1], (operation, request)


def _values(*names: str) -> dict[str, Any]:
    return {"ExpressionAttributeValues": {key: {"N": "1"} for key in names}}


def _outcome(call: Callable[..., Any], request: dict[str, Any]) -> object:
    try:
        answer = call(**request)
    except (ClientError, ErrorResponse) as error:
        response = error.response
        # Each reason also has a message, which Baton does not use.
        reasons = [(one["Code"], one.get("Item")) for one in response.get("CancellationReasons", ())]
        return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response.get("Item"), reasons
    return {name: value for name, value in answer.items() if name in {"Item", "Attributes", "Plaintext"}}


@pytest.mark.parametrize("context", [{"purpose": "a"}, {"purpose": "b"}], ids=["opens", "another context"])
def test_its_calls_of_kms_equal_those_of_botocore(endpoint: str, context: dict[str, str]) -> None:
    """Headers except the signature, body, and answer or error are compared."""
    stock: Any = botocore.session.get_session().create_client("kms")
    key_id = stock.create_key()["KeyMetadata"]["KeyId"]
    sealed = stock.encrypt(KeyId=key_id, Plaintext=b"\0\xff" * 16, EncryptionContext={"purpose": "a"})
    request = {"KeyId": key_id, "CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": context}
    small = client_of(SmallKMS, endpoint, region="us-east-1", read_timeout_s=5, clock=time.time)
    sent: list[Any] = []
    stock.meta.events.register("before-send.kms.Decrypt", lambda request, **_: sent.append(request))
    said = [_outcome(one.decrypt, request) for one in (stock, small)]
    assert said[0] == said[1]
    head, _, body = small._signed("Decrypt", msgspec.json.encode(request)).decode().partition("\r\n\r\n")
    assert f"content-type: {_text(sent[0].headers['Content-Type'])}" in head
    assert f"x-amz-target: {_text(sent[0].headers['X-Amz-Target'])}" in head
    assert json.loads(body) == json.loads(sent[0].body)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


# A faulty connection.

OK = json.dumps({"Item": {"pk": {"S": "x"}, "b": {"B": base64.b64encode(b"\0\xff").decode()}}}).encode()
ITEM = {"Item": {"pk": {"S": "x"}, "b": {"B": b"\0\xff"}}}


def answer(body: bytes = OK, status: int = 200, **headers: str) -> bytes:
    """Write an answer as DynamoDB does."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"content-length": str(len(body)), "x-amz-crc32": str(zlib.crc32(body)), **changed}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


def error_answer(code: str, status: int = 400) -> bytes:
    """Write an error answer as DynamoDB does."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "said"}).encode()
    return answer(body, status)


class Line:
    """Answers each request with the next bytes. ``None`` closes the connection, and ``...`` never answers."""

    def __init__(self, *answers: Any) -> None:
        """Listen on loopback."""
        self.answers = list(answers)
        self.tls: ssl.SSLContext | None = None
        self.connections = 0
        self.requests = 0
        self.bodies: list[bytes] = []
        self.open: list[socket.socket] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                self.connections += 1
                self.open.append(connection)
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), self._secured(connection) as open_one:
            while self._answered(open_one):
                pass

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self.tls.wrap_socket(connection, server_side=True) if self.tls else connection

    def _answered(self, connection: socket.socket) -> bool:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return False
            received += piece
        self.requests += 1
        self.bodies.append(received.partition(b"\r\n\r\n")[2])
        given = self.answers.pop(0) if self.answers else None
        if given is ...:
            connection.recv(1)  # until the client gives up
            return False
        if given is None:
            return False
        for part in given if isinstance(given, tuple) else (given,):
            connection.sendall(part)
            time.sleep(0.01)
        return given[-1] != b"" if isinstance(given, tuple) else True

    def send_unrequested(self, unasked: bytes) -> None:
        """Send bytes without a request on the last connection, and close it."""
        self.open[-1].sendall(unasked)
        self.close_all()

    def close_all(self, expected: int = 1) -> None:
        """Wait for ``expected`` connections, close all, and wait until the client can see it."""
        for _ in range(500):
            if len(self.open) >= expected:
                break
            time.sleep(0.01)
        assert len(self.open) >= expected
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        time.sleep(0.05)

    def close(self) -> None:
        """Stop listening."""
        self.listening.close()


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    """Make servers, and stop them afterwards."""
    made: list[Line] = []

    def make(*answers: Any) -> Line:
        made.append(Line(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("answers", "requests", "connections"),
    [
        pytest.param([answer()], 1, 1, id="immediately"),
        pytest.param([answer(x_amz_crc32="")], 1, 1, id="without a checksum"),
        pytest.param([(answer()[:20], answer()[20:90], answer()[90:])], 1, 1, id="in pieces"),
        pytest.param([None, answer()], 2, 2, id="after a connection that ended"),
        pytest.param([..., answer()], 2, 2, id="after one that never answered"),
        pytest.param([(answer()[:-5], b""), answer()], 2, 2, id="after half an answer"),
        pytest.param([answer(x_amz_crc32="1"), answer()], 2, 2, id="after one with a wrong checksum"),
        pytest.param([answer(b"{"), answer()], 2, 1, id="after one that is not JSON"),
        pytest.param([answer(b"[]"), answer()], 2, 1, id="after one that is no object"),
        pytest.param([answer(b'{"Item": {"b": {"B": "?"}}}'), answer()], 2, 1, id="after one that is no item"),
        pytest.param([answer(content_length=""), answer()], 2, 2, id="after one of unknown length"),
        pytest.param(
            [answer(transfer_encoding="chunked", content_length=""), answer()], 2, 2, id="after one in chunks"
        ),
        pytest.param([answer(content_length="-1"), answer()], 2, 2, id="after one of impossible length"),
        pytest.param([answer(content_length="99999999999"), answer()], 2, 2, id="after one of monstrous length"),
        pytest.param([answer() + b"x", answer()], 2, 2, id="after one with more than an answer"),
        pytest.param([answer().replace(b"HTTP/1.1", b"HTTP/1.0"), answer()], 2, 2, id="after another protocol"),
        pytest.param([answer(content_length="5\r9"), answer()], 2, 2, id="after one of half a length"),
        pytest.param([answer(x_content_length="1")], 1, 1, id="with a field of nearly that name"),
        pytest.param(
            [answer(b"<html>\r\ncontent-length: 1\r\n", 503), answer()], 2, 1, id="after words like a field in a body"
        ),
        pytest.param([b"x" * 40_000, answer()], 2, 2, id="after an endless head"),
        pytest.param([error_answer("InternalServerError", 500), answer()], 2, 1, id="after a server error"),
        pytest.param(
            [answer(b"<html>", 503), None, answer()], 3, 2, id="after a proxy's page, and a closed connection"
        ),
        pytest.param(
            [error_answer("ProvisionedThroughputExceededException"), answer()], 2, 1, id="after being throttled"
        ),
    ],
)
def test_a_call_is_repeated_until_it_gets_an_answer(
    line: Callable[..., Line], answers: list[Any], requests: int, connections: int
) -> None:
    """The number of attempts is that of data.md. The repetition uses a new or checked connection."""
    other = line(*answers)
    assert client(other.address).get_item(**REQUEST) == ITEM
    assert (other.requests, other.connections) == (requests, connections)


@pytest.mark.parametrize("broken", [None, ..., (answer()[:-5], b""), answer(b"{"), answer(x_amz_crc32="1")], ids=repr)
def test_a_call_fails_after_three_attempts(line: Callable[..., Line], broken: Any) -> None:
    """The result is then unknown, and never counts as "no such item"."""
    other = line(*[broken] * 9)
    pauses: list[float] = []
    with pytest.raises(NoResponse):
        client(other.address, pause=pauses.append).get_item(**REQUEST)
    assert other.requests == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1
    assert all(0 <= pause <= 0.05 * 2**number for number, pause in enumerate(pauses))


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerError"])
def test_a_lasting_error_is_raised(line: Callable[..., Line], code: str) -> None:
    """The exception has the code of the error. All attempts are used."""
    other = line(*[error_answer(code, 500 if code.startswith("Internal") else 400)] * 9)
    with pytest.raises(ErrorResponse) as refused:
        client(other.address).get_item(**REQUEST)
    assert refused.value.response["Error"]["Code"] == code
    assert other.requests == ATTEMPTS


@pytest.mark.parametrize(
    "code", ["ConditionalCheckFailedException", "ValidationException", "TransactionConflictException"]
)
def test_a_refusal_is_not_repeated(line: Callable[..., Line], code: str) -> None:
    """The request is sent once."""
    other = line(error_answer(code), answer())
    with pytest.raises(ErrorResponse) as refused:
        client(other.address).update_item(**REQUEST)
    assert refused.value.response["Error"]["Code"] == code
    assert other.requests == 1


def test_connections_are_kept_and_a_closed_one_is_replaced(line: Callable[..., Line]) -> None:
    """The server may have closed a kept connection. The request on it is sent again."""
    other = line(answer(), answer(), None, answer())
    small = client(other.address)
    for _ in range(3):
        assert small.get_item(**REQUEST) == ITEM
    assert (other.requests, other.connections) == (4, 2)


def test_an_answer_without_the_decrypted_key_is_not_accepted(line: Callable[..., Line]) -> None:
    """The answer is a success, but the key is missing."""
    other = line(*[answer(b'{"KeyId": "a"}')] * ATTEMPTS)
    with pytest.raises(NoResponse):
        client_of(SmallKMS, other.address).decrypt(CiphertextBlob=b"x")
    assert other.requests == ATTEMPTS


@pytest.mark.parametrize(
    "unasked",
    [
        pytest.param(b"", id="closed"),
        pytest.param(answer(b'{"Item": {"pk": {"S": "of somebody else"}}}'), id="an answer without a request"),
        pytest.param(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", id="a time-out message"),
    ],
)
def test_unrequested_bytes_on_a_kept_connection_are_not_an_answer(line: Callable[..., Line], unasked: bytes) -> None:
    """The bytes are not returned to the next request. The connection is closed, and this costs no attempt."""
    other = line(answer(), answer())
    pauses: list[float] = []
    small = client(other.address, pause=pauses.append)
    assert small.get_item(**REQUEST) == ITEM
    other.send_unrequested(unasked)
    assert small.get_item(**REQUEST) == ITEM
    assert (other.requests, other.connections, pauses) == (2, 2, [])


def test_connections_that_were_closed_while_idle_cost_no_attempt(
    line: Callable[..., Line],
) -> None:
    """The request is sent once, on a new connection."""
    other = line(*[answer()] * 5)
    small = client(other.address)
    connections = [connection_module._Connection("http", small._address(), 1) for _ in range(4)]
    small._idle += connections
    other.close_all(4)
    assert small.get_item(**REQUEST) == ITEM
    assert (other.requests, other.connections) == (1, 5)


def test_an_answer_that_arrives_too_slowly_times_out(line: Callable[..., Line]) -> None:
    """The time-out is for the whole answer, not for each part of it."""
    pieces = answer()
    other = line(tuple(pieces[place : place + 1] for place in range(len(pieces))), answer())
    small = client(other.address, read_timeout_s=0.3)
    assert small.get_item(**REQUEST) == ITEM
    assert other.connections == 2


def test_a_call_has_a_total_time_limit(line: Callable[..., Line]) -> None:
    """All attempts of a call share it."""
    other = line(*[...] * ATTEMPTS)
    with pytest.raises(NoResponse, match="TimeoutError"):
        client(other.address, within_s=0.4).get_item(**REQUEST)
    assert other.requests < ATTEMPTS


def test_it_repeats_the_same_errors_as_botocore() -> None:
    """The errors are throttling errors, transient errors, and errors that the service model marks as retryable."""
    session = botocore.session.get_session()
    modelled = {
        shape.name
        for service in SMALL_CLIENTS
        for operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "Decrypt")
        if operation in (model := session.get_service_model(service)).operation_names
        for shape in model.operation_model(operation).error_shapes
        if shape.metadata.get("retryable")
    }
    throttled: Any = standard.ThrottledRetryableChecker
    transient: Any = standard.TransientRetryableChecker
    assert {*throttled._THROTTLED_ERROR_CODES, *transient._TRANSIENT_ERROR_CODES, *modelled} == AGAIN


def test_an_unreachable_server_is_a_server_error() -> None:
    """The port is closed. The call is made through DynamoDB's adapter."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    access = Endpoint(address, "us-east-1", TEST_KEY)
    engine = DynamoDB(Tables("test"), AwsClient("dynamodb", endpoint=access, pause=lambda _: None))
    with pytest.raises(Unavailable) as refused:
        LineageStore(engine).get(ACCOUNT)
    assert refused.value.reason == "dynamodb get_item: ConnectionRefusedError"


def test_a_failed_condition_reaches_the_store_with_the_old_item(line: Callable[..., Line]) -> None:
    """With botocore the store gets the old item too."""
    body = json.dumps({"__type": "x#ConditionalCheckFailedException", "Item": {"pk": {"S": "U#a"}}}).encode()
    other = line(answer(body, 400))
    access = Endpoint(other.address, "us-east-1", TEST_KEY)
    engine = DynamoDB(Tables("test"), AwsClient("dynamodb", endpoint=access))
    with pytest.raises(ConditionFailed) as failed:
        engine.write("put_item", TableName="t", Item={})
    assert failed.value.item == {"pk": {"S": "U#a"}}


def test_a_repeated_transaction_has_the_same_token(line: Callable[..., Line]) -> None:
    """DynamoDB recognises the repetition by this token. Another transaction has another token."""
    other = line(None, answer(b"{}"), answer(b"{}"))
    small = client(other.address)
    for _ in range(2):
        small.transact_write_items(TransactItems=[])
    tokens = [json.loads(body)["ClientRequestToken"] for body in other.bodies]
    assert len(tokens) == 3
    assert tokens[0] == tokens[1] != tokens[2]
    assert 1 <= len(tokens[0]) <= 36


# TLS.


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a self-signed certificate of 127.0.0.1, with its key."""
    return self_signed(tmp_path)


@pytest.fixture
def secured(line: Callable[..., Line], certificate: Path) -> Line:
    """Return a server with TLS and this certificate."""
    made = line(*[answer()] * ATTEMPTS)
    made.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.tls.load_cert_chain(certificate)
    made.address = made.address.replace("http:", "https:")
    return made


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> Iterator[None]:
    """Trust only this certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    connection_module._tls.cache_clear()
    yield
    connection_module._tls.cache_clear()


@pytest.mark.usefixtures("trusting")
def test_it_connects_by_tls_to_a_trusted_server(secured: Line) -> None:
    """The connection is kept too."""
    small = client(secured.address)
    assert [small.get_item(**REQUEST), small.get_item(**REQUEST)] == [ITEM, ITEM]
    assert (secured.requests, secured.connections) == (2, 1)


@pytest.mark.parametrize("by_name", [False, True], ids=["not trusted", "of another host"])
def test_it_sends_nothing_to_an_untrusted_server(
    secured: Line, *, by_name: bool, request: pytest.FixtureRequest
) -> None:
    """No request is sent before the certificate is verified for the host."""
    if by_name:
        request.getfixturevalue("trusting")
    else:
        connection_module._tls.cache_clear()
    host = "localhost" if by_name else "127.0.0.1"
    with pytest.raises(NoResponse, match="SSLCertVerificationError"):
        client(secured.address.replace("127.0.0.1", host)).get_item(**REQUEST)
    assert (secured.requests, secured.connections) == (0, ATTEMPTS)


def test_operations_that_it_does_not_support_use_botocore(tables: Tables, endpoint: str) -> None:
    """No request needs these operations."""
    service = AwsClient("dynamodb", endpoint=Endpoint(endpoint, "us-east-1", TEST_KEY))
    assert service.call("describe_table", TableName=tables.users)["Table"]["TableName"] == tables.users
