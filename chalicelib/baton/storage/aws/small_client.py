"""The small AWS client: signed requests (SigV4) over kept-alive TLS connections, with the standard library.

The client has the method names, arguments and errors of botocore's clients. Its answers have only the members that
Baton reads. A call takes a ninth of the CPU time that botocore takes. Loading botocore adds 100 ms to a cold start, and
this client avoids these 100 ms.

The client supports `GetItem`, `Query`, single writes and transactions of DynamoDB, `Decrypt` of KMS for the key ring,
and `SendMessage` of SQS. It requires the access keys of Lambda, and answers of a known length. ``service.py`` sends all
other requests with botocore. The client has no quota of retries: a time limit bounds the retries.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypedDict
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

from chalicelib.baton.access_key import AccessKey
from chalicelib.baton.storage.aws.connection import NoResponse, _Connection, _left
from chalicelib.baton.storage.aws.credentials import Source
from chalicelib.baton.storage.dynamodb.values import Item

PAUSE_S: Final = 0.05
"""The longest pause before the first retry, in seconds. This maximum doubles with each retry.

Each pause is a random part of its maximum (full jitter).
"""

_CHANCE: Final = secrets.SystemRandom()
"""A random generator without a state. With a state, all environments that are restored from one snapshot would get the
same random numbers."""

_OK: Final = 200
_OUR_SIDE: Final = 500

AGAIN: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""Error codes after which a request is sent again, as in botocore's standard mode. Each 5xx answer is retried too."""


class Endpoint(Struct, frozen=True):
    """The URL of a service, its region, and the source of the access key."""

    url: str
    region: str
    key: Source


class ErrorResponse(Exception):
    """An error answer of the service. ``response`` is as in botocore's ``ClientError``, without the message."""

    def __init__(self, response: dict[str, Any]) -> None:
        """Keep the response."""
        super().__init__(response["Error"]["Code"])
        self.response = response


class _Stored(TypedDict, total=False):
    Item: Item
    Attributes: Item


class _Page(TypedDict, total=False):
    Items: list[Item]
    LastEvaluatedKey: Item


class _Decrypted(TypedDict):
    Plaintext: bytes


class _Queued(TypedDict):
    MessageId: str


class _Reason(TypedDict, total=False):
    Code: str
    Item: Item


class _No(Struct, rename={"type": "__type", "item": "Item", "reasons": "CancellationReasons"}):
    type: str = ""
    item: Item | None = None
    reasons: list[_Reason] | None = None


_SIGNED: Final = "content-type;host;x-amz-date;x-amz-target"

_SIGNED_WITH_TOKEN: Final = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"  # noqa: S105 - names
"""The signed header fields, sorted by name. No value may have a space after a colon, because `_signed` would remove the
space."""


class SmallClient:
    """The base class of the small clients. It reuses idle connections. Concurrent calls use different connections."""

    _SERVICE: ClassVar[str]
    _CONTENT_TYPE: ClassVar[str]
    _TARGET: ClassVar[str]

    def __init__(  # noqa: PLR0913 - keyword arguments
        self,
        endpoint: Endpoint,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        attempts: int,
        within_s: float,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep the settings. The first call opens a connection.

        ``read_timeout_s`` limits one answer. ``within_s`` limits a call with all its attempts.
        """
        self._endpoint = endpoint
        self._within_s = within_s
        self._attempts = attempts
        self._clock = clock
        self._pause = pause
        self._timeouts_s = (connect_timeout_s, read_timeout_s)
        self._url = urlsplit(endpoint.url)
        self._idle: list[_Connection] = []
        self._signing: tuple[str, AccessKey | None, hmac.HMAC | None] = ("", None, None)

    def _call(self, operation: str, request: dict[str, object], answers: Decoder[Any]) -> dict[str, Any]:
        """Send a request. Retry it after a temporary error, because every write of Baton is safe to repeat."""
        body = msgspec.json.encode(request)
        until = time.monotonic() + self._within_s
        for attempt in range(self._attempts):
            last = attempt == self._attempts - 1
            try:
                return dict(answers.decode(self._once(operation, body, until)))
            except ErrorResponse as no:
                status = no.response["ResponseMetadata"]["HTTPStatusCode"]
                if last or not (status >= _OUR_SIDE or no.response["Error"]["Code"] in AGAIN):
                    raise
            except (OSError, ValueError) as error:  # ValueError: not an answer, or a wrong checksum
                if last or time.monotonic() >= until:
                    raise NoResponse(type(error).__name__) from None
            self._pause(_CHANCE.random() * PAUSE_S * 2**attempt)
        raise AssertionError  # the last attempt returns or raises

    def _once(self, operation: str, body: bytes, until: float) -> bytes:
        connect_s, read_s = self._timeouts_s
        connection = self._kept() or _Connection(self._url.scheme, self._address(), min(connect_s, _left(until)))
        try:
            status, answer = connection.exchange(self._signed(operation, body), within_s=min(read_s, _left(until)))
        except BaseException:
            connection.close()
            raise
        if connection.kept:
            self._idle.append(connection)
        else:
            connection.close()
        if status != _OK:
            raise ErrorResponse(_no(status, answer))
        return answer

    def _kept(self) -> "_Connection | None":
        """Return an idle connection that received nothing since its last answer, or ``None``.

        Close each idle connection that received something, and take the next idle connection.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_quiet():
                return connection
            connection.close()

    def _address(self) -> tuple[str, int]:
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        return self._url.hostname or "", port

    def _signed(self, operation: str, body: bytes) -> bytes:
        """Return the bytes of the request with its signature (AWS Signature Version 4)."""
        key = self._endpoint.key()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        token = key.session_token.reveal().decode()
        head = (
            f"content-type: {self._CONTENT_TYPE}\r\nhost: {self._url.netloc}\r\nx-amz-date: {stamp}\r\n"
            + (f"x-amz-security-token: {token}\r\n" if token else "")
            + f"x-amz-target: {self._TARGET}.{operation}\r\n"
        )
        fields = head.replace("\r\n", "\n").replace(": ", ":")
        names = _SIGNED_WITH_TOKEN if token else _SIGNED
        canonical = f"POST\n/\n\n{fields}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/{self._endpoint.region}/{self._SERVICE}/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        mac = self._mac_of(stamp[:8], key)
        mac.update(to_sign.encode())
        signature = mac.hexdigest()
        return (
            f"POST / HTTP/1.1\r\n{head}content-length: {len(body)}\r\nauthorization: AWS4-HMAC-SHA256 "
            f"Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n"
        ).encode() + body

    def _mac_of(self, day: str, access_key: AccessKey) -> hmac.HMAC:
        """Return a MAC with the signing key, which is derived once for each day and access key."""
        known_day, known_for, mac = self._signing
        if mac is None or known_day != day or known_for is not access_key:
            key = b"AWS4" + access_key.secret.reveal()
            for part in (day, self._endpoint.region, self._SERVICE, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            mac = hmac.new(key, digestmod="sha256")
            self._signing = (day, access_key, mac)
        return mac.copy()


class SmallDynamoDB(SmallClient):
    """The operations of DynamoDB that Baton calls while it answers a request of a client."""

    _SERVICE = "dynamodb"
    _CONTENT_TYPE = "application/x-amz-json-1.0"
    _TARGET = "DynamoDB_20120810"

    def get_item(self, **request: object) -> dict[str, Any]:
        """Call ``GetItem``."""
        return self._call("GetItem", request, _STORED)

    def query(self, **request: object) -> dict[str, Any]:
        """Call ``Query``."""
        return self._call("Query", request, _PAGE)

    def put_item(self, **request: object) -> dict[str, Any]:
        """Call ``PutItem``."""
        return self._call("PutItem", request, _STORED)

    def update_item(self, **request: object) -> dict[str, Any]:
        """Call ``UpdateItem``."""
        return self._call("UpdateItem", request, _STORED)

    def delete_item(self, **request: object) -> dict[str, Any]:
        """Call ``DeleteItem``."""
        return self._call("DeleteItem", request, _STORED)

    def transact_write_items(self, **request: object) -> dict[str, Any]:
        """Call ``TransactWriteItems``. Its ``ClientRequestToken`` identifies a retry, as with botocore."""
        return self._call("TransactWriteItems", {"ClientRequestToken": secrets.token_hex(16), **request}, _STORED)


class SmallKMS(SmallClient):
    """The operation of KMS that decrypts the key ring's data key."""

    _SERVICE = "kms"
    _CONTENT_TYPE = "application/x-amz-json-1.1"
    _TARGET = "TrentService"

    def decrypt(self, **request: object) -> dict[str, Any]:
        """Call ``Decrypt``."""
        return self._call("Decrypt", request, _DECRYPTED)


class SmallSQS(SmallClient):
    """The operation of SQS that Baton calls while it answers a request of a client."""

    _SERVICE = "sqs"
    _CONTENT_TYPE = "application/x-amz-json-1.0"
    _TARGET = "AmazonSQS"

    def send_message(self, **request: object) -> dict[str, Any]:
        """Call ``SendMessage``."""
        return self._call("SendMessage", request, _QUEUED)


SMALL_CLIENTS: Final[Mapping[str, type[SmallClient]]] = {"dynamodb": SmallDynamoDB, "kms": SmallKMS, "sqs": SmallSQS}
"""The services that the small AWS client supports."""

_STORED = Decoder(_Stored)
_PAGE = Decoder(_Page)
_DECRYPTED = Decoder(_Decrypted)
_QUEUED = Decoder(_Queued)
_NOS = Decoder(_No)


def _no(status: int, body: bytes) -> dict[str, Any]:
    """Read an error answer as botocore does. If the answer cannot be read, the error code is the HTTP status."""
    try:
        no = _NOS.decode(body)
    except ValueError:
        no = _No(type=str(status))
    code = no.type.rpartition("#")[2] or str(status)
    told: dict[str, Any] = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    if no.item is not None:
        told["Item"] = no.item
    if no.reasons is not None:
        told["CancellationReasons"] = no.reasons
    return told
