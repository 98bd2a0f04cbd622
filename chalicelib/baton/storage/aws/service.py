"""One AWS service: its client, its time limits, its errors told apart."""

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
    from chalicelib.baton.storage.dynamodb.items import Item


CONNECT_TIMEOUT_S: Final = 1
READ_TIMEOUT_S: Final = 2

ATTEMPTS: Final = 3
"""botocore's defaults are 60 s, 60 s, and a mode and count that changed between its releases."""

CALL_MAX_S: Final = 8
"""All sendings of a call together, by the small AWS client. (botocore knows time-outs of single steps only.)"""

CONFLICT_PAUSES_S: Final = (0.025, 0.05, 0.1)
"""A transaction holds its items for milliseconds; botocore does not send again what met one."""

CONFLICT_MAX_S: Final = 1
"""A call that met one is not made again when it has lasted so long already."""

CONFLICT: Final = "TransactionConflictException"


assert ASKING_MAX_S + CONFLICT_MAX_S + CALL_MAX_S < REQUEST_MAX_S


assert ATTEMPTS * READ_TIMEOUT_S < CALL_MAX_S


class ConditionFailed(Exception):
    """A conditional write did not happen; ``item`` is what stood there, ``None`` when nothing did."""

    def __init__(self, item: "Item | None") -> None:
        """Keep the old item."""
        super().__init__("the condition did not hold")
        self.item = item


class TransactionFailed(Exception):
    """No write of a transaction happened; ``items`` are what stood where a condition did not hold."""

    def __init__(self, items: "tuple[Item | None, ...]") -> None:
        """Keep the old items, in the order of the writes."""
        super().__init__("a condition of the transaction did not hold")
        self.items = items


class TimeBudget:
    """How long a request may go on asking: in a brown-out it answers by itself, before Lambda ends it unanswered."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Have all of it, until a request begins."""
        self._monotonic = monotonic
        self._begun: float | None = None

    def begin(self) -> None:
        """Begin a request."""
        self._begun = self._monotonic()

    def is_over(self) -> bool:
        """Tell whether the request has lasted too long to begin another call."""
        return self._begun is not None and self._monotonic() - self._begun > ASKING_MAX_S


class AwsClient:
    """One AWS service. Its client is made at the first call: importing and starting need no AWS."""

    def __init__(
        self,
        name: str,
        *,
        endpoint: Endpoint | None = None,
        time_budget: TimeBudget | None = None,
        pause: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the service. Region, credentials and endpoint come from the environment, as everywhere in AWS.

        With an ``endpoint``, the small AWS client sends the calls that it supports. ``time_budget`` is the time budget
        of the current request.
        """
        self._name = name
        self._time_budget = time_budget or TimeBudget()
        self._monotonic = monotonic
        self._small = (
            SMALL_CLIENTS[name](
                endpoint,
                connect_timeout_s=CONNECT_TIMEOUT_S,
                read_timeout_s=READ_TIMEOUT_S,
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
        """Give the client, made once."""
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = self._make()
        return self._made

    def call(self, operation: str, **request: object) -> dict[str, Any]:
        """Call an operation and give its answer.

        Raises ``ConditionFailed``, ``TransactionFailed`` or ``Unavailable``.
        """
        if self._time_budget.is_over():
            raise self._unavailable(operation, "the request has lasted too long to begin it")
        begun = self._monotonic()
        for pause_s in (*CONFLICT_PAUSES_S, None):
            try:
                small = getattr(self._small, operation, None)
                answer: dict[str, Any] = (small or getattr(self.client, operation))(**request)
            except Exception as error:  # noqa: BLE001 - told apart at once: a defect of ours goes on as it is
                response = _response_of(error)
                if response is None:
                    # Some of these messages quote the request or the answer: only the kind of the error goes on.
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
        # botocore alone: boto3 would add its resources and s3transfer to every cold start.
        import botocore.session  # noqa: PLC0415 - cold start
        from botocore.config import Config  # noqa: PLC0415 - cold start
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - cold start

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
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
        # Transactions that meet are of one account or one address: whoever sends them together causes it.
        raise self._unavailable(operation, code, by_caller=_conflicted(response)) from None

    def _unavailable(self, operation: str, code: str, *, by_caller: bool = False) -> Unavailable:
        return Unavailable(f"{self._name} {operation}: {code}", by_caller=by_caller)


def _refuse_garbled(http_response: Any, **_event: object) -> None:  # noqa: ANN401 - botocore's own
    """Refuse an answer that is not what its checksum says, and a success that is not JSON.

    botocore gives in after its last attempt, and makes an empty answer of what it cannot read: "no such item".
    """
    checksum = http_response.headers.get("x-amz-crc32")
    if checksum is not None and zlib.crc32(http_response.content) != int(checksum):
        raise ValueError("the answer is not what its checksum says")
    if http_response.status_code == HTTPStatus.OK:
        msgspec.json.decode(http_response.content)  # its error does not hold the answer, as json's would


def _response_of(error: Exception) -> Mapping[str, Any] | None:
    """Tell what the service said, in botocore's shape; ``None`` when nothing usable came back."""
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
    """Tell whether a transaction was in the way, and nothing worse: nothing was written, sending again is safe."""
    if _code(response) == "TransactionCanceledException":
        reasons = _cancellation_codes(response)
        return "TransactionConflict" in reasons and reasons <= {"None", "ConditionalCheckFailed", "TransactionConflict"}
    return _code(response) == CONFLICT


def _item(failed: Mapping[str, object]) -> "Item | None":
    """Take the old item out of a failed condition: boto3's types know the shape, ours know the codec's."""
    return cast("Item | None", failed.get("Item"))
