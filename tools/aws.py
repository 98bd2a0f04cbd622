"""Check the environment of commands that call AWS, and describe errors of AWS in one line with the remedy."""

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Final, ParamSpec

from chalicelib.baton.errors import Unavailable

CREDENTIALS: Final = "run `aws sso login`, or set AWS_PROFILE"
UNSUPPORTED: Final = frozenset({
    "404",
    "501",
    "InvalidAction",
    "NotImplemented",
    "Unknown",
    "UnknownOperation",
    "UnknownOperationException",
    "UnsupportedOperation",
})  # fmt: skip
"""The error codes of an emulator that lacks a call, or of a server that is not AWS."""
UNKNOWN_CREDENTIALS: Final = (
    "ExpiredToken",
    "InvalidClientTokenId",
    "InvalidSignature",
    "UnrecognizedClient",
    "SignatureDoesNotMatch",
)

P = ParamSpec("P")


class NotReady(Exception):
    """The environment lacks a region or credentials. The message says what to set."""


def require_account() -> None:
    """Check that a region and credentials are set. A command calls this first. Raises ``NotReady``."""
    import botocore.session  # noqa: PLC0415 - slow to import

    session = botocore.session.get_session()
    if not session.get_config_variable("region"):
        raise NotReady(
            "Set AWS_DEFAULT_REGION: no region is set. For example: export AWS_DEFAULT_REGION=eu-central-1, "
            "with the region of the deployment"
        )
    if session.get_credentials() is None:
        raise NotReady(f"Set AWS credentials: none are set. To get them, {CREDENTIALS}")


def failures() -> tuple[type[Exception], ...]:
    """Return the base classes of botocore's exceptions, for an ``except`` clause."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow to import
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - slow to import

    return BotoCoreError, ClientError, ResponseParserError


def _operation(error: BaseException) -> str:
    """Return the failed call, such as ``lambda GetPolicy``, or ``a call`` if the traceback does not have it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_make_api_call":
            service = frame.f_locals["self"].meta.service_model.service_name
            return f"{service} {frame.f_locals['operation_name']}"
    return "a call"


def said(error: BaseException) -> str | None:
    """Describe an error of AWS in one line: the call, the code and the remedy. ``None`` for every other error."""
    from botocore import exceptions as of  # noqa: PLC0415 - slow to import
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - slow to import

    match error:
        case NotReady():
            return str(error)
        case of.NoRegionError():
            return "Set AWS_DEFAULT_REGION: no region is set."
        case (
            of.NoCredentialsError()
            | of.PartialCredentialsError()
            | of.CredentialRetrievalError()
            | of.ProfileNotFound()
        ):
            text = f"AWS credentials are missing: {error}"
            remedy = CREDENTIALS
        case of.SSOError() | of.TokenRetrievalError():
            text, remedy = f"AWS credentials are not valid: {error}", CREDENTIALS
        case of.ClientError():
            text, remedy = _refused(error)
        case ResponseParserError():
            text = f"{_operation(error)}: the answer is not one of AWS, so the engine may lack this call"
            remedy = "unset AWS_ENDPOINT_URL to use AWS, or use an engine that has this call"
        case of.HTTPClientError() | of.ConnectionError():
            text = f"{_operation(error)}: {error}"
            remedy = "check the network, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL, and run the command again"
        case of.BotoCoreError():
            text, remedy = f"{_operation(error)}: {error}", "correct this, and run the command again"
        case Unavailable():
            text, remedy = str(error.reason), "make doctor, with the same STAGE, names the cause"
        case _:
            return None
    return f"error: {' '.join(text.split()).rstrip('.')}. remedy: {remedy}"


def _refused(error: BaseException) -> tuple[str, str]:
    """Return two texts about an error answer: the call with the error code, and the remedy."""
    answer = getattr(error, "response", {})
    code = str(answer.get("Error", {}).get("Code", "Unknown"))
    message = str(answer.get("Error", {}).get("Message", ""))
    text = f"{_operation(error)} was refused: {code}" + ("" if message in {"", code} else f": {message}")
    if code in UNSUPPORTED:
        return (
            f"{_operation(error)}: the engine lacks this call ({code})",
            "unset AWS_ENDPOINT_URL to use AWS, or use an engine that has this call",
        )
    if code.startswith(UNKNOWN_CREDENTIALS):
        return text, CREDENTIALS
    if "AccessDenied" in code or code == "UnauthorizedOperation":
        return text, "use credentials that are allowed to make this call"
    return text, "correct this, and run the command again"


def in_one_line(main: Callable[P, int]) -> Callable[P, int]:
    """Decorate a ``main``: after an error of AWS, it prints one line instead of a traceback, and returns 1."""

    @functools.wraps(main)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except Exception as error:
            if (line := said(error)) is None:
                raise
            print(line, file=sys.stderr)
            return 1

    return guarded
