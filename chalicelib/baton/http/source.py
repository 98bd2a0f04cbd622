"""The IP address of the client, if a request comes through a CDN. API Gateway then sees only the CDN's address."""

import hmac
from collections.abc import Mapping, Sequence

from chalicelib.baton.ids import Secret

_SECRET, _VIEWER = "baton-origin-secret", "cloudfront-viewer-address"


def viewer_of(fields: Mapping[str, Sequence[str]], secret: Secret) -> str:
    """Return the IP address in ``CloudFront-Viewer-Address``, or ``""`` without the right ``Baton-Origin-Secret``.

    A client that bypasses the CDN can send any ``CloudFront-Viewer-Address``. Only the CDN has the secret.
    """
    sent, viewer = fields.get(_SECRET), fields.get(_VIEWER)
    if sent is None or viewer is None or len(sent) != 1 or len(viewer) != 1:
        return ""
    if not hmac.compare_digest(sent[0].encode(), secret.reveal()):
        return ""
    import ipaddress  # noqa: PLC0415 - cold start: only behind a CDN

    try:
        return str(ipaddress.ip_address(viewer[0].rpartition(":")[0].strip("[]")))  # without the port
    except ValueError:
        return ""
