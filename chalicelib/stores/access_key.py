"""Where AWS is, and by which access key it is asked: the one that Lambda sets, or those it hands out under SnapStart.

What stands here of the environment is given: ``settings`` alone reads it.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from chalicelib.core.model import Secret

RENEWED_BEFORE_S: Final = 300
"""How long before one ends the next is asked for."""

AGAIN_AFTER_S: Final = 10
"""When whoever handed out nothing is asked again, while the key there is still serves."""

_REGION: Final = re.compile(r"(us-gov|cn|[a-z]{2})-(north|south|east|west|central)[a-z]*-\d+\Z")
"""A region of AWS, AWS in China or GovCloud; the partitions beside them have hosts of other names."""

_ONLY_BOTOCORE: Final = (
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "HTTPS_PROXY",
    "https_proxy",
)
"""What somebody who sets it counts on, and the lean transport does not know."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ASKING_S: Final = 1
_BYTES_MAX: Final = 64 * 1024


class AccessKey(Struct, frozen=True):
    """An access key of AWS, and the token of the session it belongs to."""

    id: str
    secret: Secret
    session_token: Secret


class Vended(Struct, frozen=True):
    """Where access keys are handed out, on loopback, and by which authorization.

    Lambda names the two ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` and ``AWS_CONTAINER_AUTHORIZATION_TOKEN`` (AWS SDKs
    and Tools, "Container credential provider").
    """

    url: str
    authorization: Secret


def endpoint_of(environ: Mapping[str, str], service: str, region: str) -> str:
    """Name a service's address: the region's own, unless the environment names another."""
    regional = f"https://{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    return environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environ.get("AWS_ENDPOINT_URL") or regional


def under_snapstart(environ: Mapping[str, str]) -> bool:
    """Tell whether Lambda keeps a snapshot of what starts here (Lambda, "Improving startup performance")."""
    return environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def access_key_of(environ: Mapping[str, str], region: str) -> AccessKey | Vended | None:
    """Find the access key, or who hands one out; ``None`` where botocore has to know what the lean transport does not.

    A snapshot must hold no key: every environment restored from it would share that.
    """
    if any(environ.get(name) for name in _ONLY_BOTOCORE) or not _REGION.match(region):
        return None
    key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if key_id and secret and not under_snapstart(environ):
        return AccessKey(key_id, Secret(secret.encode()), Secret(environ.get("AWS_SESSION_TOKEN", "").encode()))
    url = urlsplit(environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""))
    if url.scheme != "http" or url.hostname not in _LOOPBACK or url.query:
        return None
    return Vended(url.geturl(), Secret(environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "").encode()))


Source = Callable[[], AccessKey]
"""Gives the access key of now. Raises ``OSError`` or ``ValueError`` where none can be had."""


def source_of(given: AccessKey | Vended) -> Source:
    """Make the source for what the environment gives."""
    return Vendor(given) if isinstance(given, Vended) else lambda: given


class _Handed(Struct):
    id: str = msgspec.field(name="AccessKeyId")
    secret: str = msgspec.field(name="SecretAccessKey")
    session_token: str = msgspec.field(name="Token")
    expiration: str = msgspec.field(name="Expiration")


class Vendor:
    """Access keys as they are handed out: asked for when one is first needed, and shortly before it ends."""

    def __init__(self, vended: Vended, *, clock: Callable[[], float] = time.time) -> None:
        """Ask nobody yet: a snapshot of the start holds no key."""
        self._vended = vended
        self._clock = clock
        self._known: AccessKey | None = None
        self._ends_at = 0.0
        self._ask_at = 0.0

    def __call__(self) -> AccessKey:
        """Give it. Where a new one cannot be had, the old one serves until it ends."""
        now = self._clock()
        if self._known is None or now >= self._ask_at:
            try:
                self._ask()
                self._ask_at = self._ends_at - RENEWED_BEFORE_S
            except (OSError, ValueError):
                if self._known is None or now >= self._ends_at:
                    raise
                self._ask_at = min(now + AGAIN_AFTER_S, self._ends_at)
        assert self._known is not None
        return self._known

    def _ask(self) -> None:
        import http.client  # noqa: PLC0415 - cold start: under SnapStart alone, and in its snapshot

        url = urlsplit(self._vended.url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_ASKING_S)
        try:
            connection.request("GET", url.path, headers={"authorization": self._vended.authorization.reveal().decode()})
            answer = connection.getresponse()
            body = answer.read(_BYTES_MAX)
        except http.client.HTTPException as error:
            raise ValueError(type(error).__name__) from None
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise ValueError("no access key is handed out")
        handed = _HANDED.decode(body)
        self._ends_at = datetime.fromisoformat(handed.expiration).timestamp()
        self._known = AccessKey(handed.id, Secret(handed.secret.encode()), Secret(handed.session_token.encode()))


_HANDED = msgspec.json.Decoder(_Handed)
