"""Requests to one AWS service: its client, its time limits, and its errors by their kind."""

import time
import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import msgspec

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.policy import ASKING_MAX_S, REQUEST_MAX_S
from chalicelib.baton.storage.aws.connection import NoResponse
from chalicelib.baton.storage.aws.small_client import SMALL_CLIENTS, Endpoint, ErrorResponse

if TYPE_CHECKING:
    from chalicelib.baton.storage.dynamodb.values import Item


CONNECT_TIMEOUT_S: Final = 1
READ_TIMEOUT_S: Final = 2

ATTEMPTS: Final = 3
"""The maximum number of attempts. Baton sets this limit and the two time-outs above, because botocore's defaults are
60 s for each time-out, and a number of attempts that changed between releases."""

CALL_MAX_S: Final = 8
"""The time limit of a call with all its attempts, in the small AWS client. botocore has no limit for a whole call."""

CONFLICT_PAUSES_S: Final = (0.025, 0.05, 0.1)
"""Pauses before a write is sent again after a conflict with a transaction. A transaction locks items for
milliseconds."""

CONFLICT_MAX_S: Final = 1
"""If a call has lasted this long, in seconds, it is not sent again after a conflict with a transaction."""

CONFLICT: Final = "TransactionConflictException"


assert ASKING_MAX_S + CONFLICT_MAX_S + CALL_MAX_S < REQUEST_MAX_S


assert ATTEMPTS * READ_TIMEOUT_S < CALL_MAX_S


class ConditionFailed(Exception):
    """A conditional write did not happen. ``item`` is the stored item, or ``None`` if there is none."""

    def __init__(self, item: "Item | None") -> None:
        """Keep the stored item."""
        super().__init__("the condition did not hold")
        self.item = item


class TransactionFailed(Exception):
    """No write of a transaction happened, because at least one condition failed.

    ``items`` has one entry for each write: the stored item, or ``None`` if the condition held or no item is stored.
    """

    def __init__(self, items: "tuple[Item | None, ...]") -> None:
        """Keep the stored items, in the order of the writes."""
        super().__init__("a condition of the transaction did not hold")
        self.items = items


class TimeBudget:
    """The time budget of a request. When DynamoDB is slow, Baton answers 503 before the Lambda time-out.

    Only the time of calls to AWS and to other services (``storage/fetch.py``) counts, not the time of a team's view.
    """

    def __init__(self) -> None:
        """Allow every call until a request begins."""
        self._spent_s: float | None = None

    def begin(self) -> None:
        """Begin a request with the whole time budget."""
        self._spent_s = 0.0

    def spend(self, seconds: float) -> None:
        """Count the time of a call. Before the first ``begin``, this has no effect."""
        if self._spent_s is not None:
            self._spent_s += seconds

    def is_over(self) -> bool:
        """Check whether the calls of the request have lasted too long to send another call."""
        return self._spent_s is not None and self._spent_s > ASKING_MAX_S


class AwsClient:
    """A client of one AWS service. The constructor opens no connection and does not load botocore."""

    def __init__(
        self,
        name: str,
        *,
        endpoint: Endpoint | None = None,
        read_timeout_s: int = READ_TIMEOUT_S,
        time_budget: TimeBudget | None = None,
        pause: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the service with this name. botocore reads region, credentials and endpoint from the environment.

        With an ``endpoint``, the small AWS client sends the calls that it supports. ``time_budget`` is the time budget
        of the current request.
        """
        self._name = name
        self._read_timeout_s = read_timeout_s
        self._time_budget = time_budget or TimeBudget()
        self._monotonic = monotonic
        self._small = (
            SMALL_CLIENTS[name](
                endpoint,
                connect_timeout_s=CONNECT_TIMEOUT_S,
                read_timeout_s=read_timeout_s,
                attempts=ATTEMPTS,
                within_s=CALL_MAX_S,
                pause=pause,
            )
            if endpoint
            else None
        )
        self._pause = pause
        self._making = Lock()
        self._made: Any = None

    @property
    def client(self) -> Any:  # noqa: ANN401 - botocore makes its clients' methods at run time
        """The botocore client, made at the first read. Raises ``Unavailable`` if botocore cannot make the client."""
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = self._make()
        return self._made

    def call(self, operation: str, **request: object) -> dict[str, Any]:
        """Call an operation and return its answer.

        Raises ``ConditionFailed``, ``TransactionFailed`` or ``Unavailable``.
        """
        if self._time_budget.is_over():
            raise self._unavailable(operation, "the time of this request for calls is used up")
        begun = self._monotonic()
        try:
            return self._send(operation, request, begun)
        finally:
            self._time_budget.spend(self._monotonic() - begun)

    def _send(self, operation: str, request: Mapping[str, object], begun: float) -> dict[str, Any]:
        for pause_s in (*CONFLICT_PAUSES_S, None):
            try:
                small = getattr(self._small, operation, None)
                answer: dict[str, Any] = (small or getattr(self.client, operation))(**request)
            except Exception as error:  # noqa: BLE001 - `_response_of` raises unknown errors again
                response = _response_of(error)
                if response is None:
                    # The message of such an error may quote the request or the answer. So only its type is kept.
                    kind = str(error) if isinstance(error, NoResponse) else type(error).__name__
                    raise self._unavailable(operation, kind) from None
                lasted = self._monotonic() - begun > CONFLICT_MAX_S
                if pause_s is None or lasted or not _conflicted(response):
                    self._translate(operation, response)
                self._pause(pause_s)
            else:
                return answer
        raise AssertionError  # the last round returns or raises

    def _make(self) -> object:
        # Use botocore directly. boto3 also imports s3transfer, which slows the cold start.
        import botocore.session  # noqa: PLC0415 - cold start
        from botocore.config import Config  # noqa: PLC0415 - cold start
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - cold start

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=self._read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        try:
            client = botocore.session.get_session().create_client(self._name, config=config)
        except BotoCoreError as error:
            raise self._unavailable("client", type(error).__name__) from None
        if "json" in client.meta.service_model.resolved_protocol:  # IAM answers in XML
            client.meta.events.register("after-call", _refuse_garbled)
        return client

    def _translate(self, operation: str, response: Mapping[str, Any]) -> NoReturn:
        code = _code(response)
        if code == "ConditionalCheckFailedException":
            raise ConditionFailed(_item(response)) from None
        if code == "TransactionCanceledException":
            reasons = _cancellation_codes(response)
            if "ConditionalCheckFailed" in reasons and reasons <= {"None", "ConditionalCheckFailed"}:
                raise TransactionFailed(tuple(_item(reason) for reason in response["CancellationReasons"])) from None
            code = f"{code}: {', '.join(sorted(reasons))}"
        # Conflicting transactions concern one account or one address, so a caller can cause them.
        raise self._unavailable(operation, code, by_caller=_conflicted(response)) from None

    def _unavailable(self, operation: str, code: str, *, by_caller: bool = False) -> Unavailable:
        return Unavailable(f"{self._name} {operation}: {code}", by_caller=by_caller)


def _refuse_garbled(http_response: Any, **_event: object) -> None:  # noqa: ANN401 - botocore's own
    """Refuse an answer with a wrong checksum, and a successful answer that is not JSON.

    If botocore cannot read the answer of its last attempt, it returns an empty answer. Without this function,
    Baton would take the empty answer for "no item".
    """
    checksum = http_response.headers.get("x-amz-crc32")
    if checksum is not None and zlib.crc32(http_response.content) != int(checksum):
        raise ValueError("the answer does not match its checksum")
    if http_response.status_code == HTTPStatus.OK:
        msgspec.json.decode(http_response.content)  # unlike `json`, msgspec does not put the answer into its error


def _response_of(error: Exception) -> Mapping[str, Any] | None:
    """Return the error response of the service in the form of botocore, or ``None`` if there was no usable answer."""
    if isinstance(error, ErrorResponse):
        return error.response
    if isinstance(error, NoResponse | ValueError):
        return None
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - cold start

    if isinstance(error, ClientError):
        return cast("Mapping[str, Any]", error.response)
    if isinstance(error, BotoCoreError):
        return None
    raise error


def _code(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Code", "unknown"))


def _cancellation_codes(response: Mapping[str, Any]) -> set[str]:
    return {str(reason.get("Code", "None")) for reason in response.get("CancellationReasons", ())}


def _conflicted(response: Mapping[str, Any]) -> bool:
    """Check whether AWS refused a write or a transaction because a transaction of another request used the same item.

    Nothing was written, and a retry is safe. If a transaction was refused, a condition in it may have failed too.
    """
    if _code(response) == "TransactionCanceledException":
        reasons = _cancellation_codes(response)
        return "TransactionConflict" in reasons and reasons <= {"None", "ConditionalCheckFailed", "TransactionConflict"}
    return _code(response) == CONFLICT


def _item(failed: Mapping[str, object]) -> "Item | None":
    """Return the stored item of a failed condition."""
    return cast("Item | None", failed.get("Item"))
