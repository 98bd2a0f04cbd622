"""The AWS access key and endpoints that the environment names. Only ``settings`` reads the environment. No I/O."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from chalicelib.baton.ids import Secret

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
"""What somebody who sets it counts on, and the small AWS client does not know."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


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
    """Find the access key, or who hands one out; ``None`` where only botocore has what is needed.

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
