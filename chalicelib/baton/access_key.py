"""The AWS access key and endpoints that the environment names. Only ``settings`` reads the environment. No I/O."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from chalicelib.baton.ids import Secret

_REGION: Final = re.compile(r"(us-gov|cn|[a-z]{2})-(north|south|east|west|central)[a-z]*-\d+\Z")
"""A region of AWS, of AWS in China or of GovCloud. Other partitions have other host names."""

_ONLY_BOTOCORE: Final = (
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "HTTPS_PROXY",
    "https_proxy",
)
"""Variables that the small AWS client does not support. If any of these is set, botocore sends all requests."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class AccessKey(Struct, frozen=True):
    """An access key of AWS, and its session token."""

    id: str
    secret: Secret
    session_token: Secret


class Vended(Struct, frozen=True):
    """A container endpoint on loopback that issues access keys, and the authorization token that it requires.

    Under SnapStart, Lambda sets ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` and ``AWS_CONTAINER_AUTHORIZATION_TOKEN``.
    Source: AWS SDKs and Tools, "Container credential provider".
    """

    url: str
    authorization: Secret


def endpoint_of(environ: Mapping[str, str], service: str, region: str) -> str:
    """Return the URL of an AWS service: the URL in the environment, otherwise the usual URL in the region."""
    regional = f"https://{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    return environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environ.get("AWS_ENDPOINT_URL") or regional


def under_snapstart(environ: Mapping[str, str]) -> bool:
    """Check whether Lambda takes a snapshot of this process (Lambda, "Improving startup performance")."""
    return environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def access_key_of(environ: Mapping[str, str], region: str) -> AccessKey | Vended | None:
    """Return the access key, or the endpoint that issues access keys.

    ``None`` means that botocore must send the requests.

    Under SnapStart, the result is never an access key. Otherwise, all environments that Lambda restores from the
    snapshot would share the key.
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
