"""Read the client data of a WebAuthn ceremony strictly (WebAuthn Level 3, section 5.8.1). No I/O.

The library that verifies signatures also reads this JSON, but less strictly. The library accepts a member that is given
twice: two programs can read different values from such a member. The library also does not check ``crossOrigin``. So
this module reads the JSON first. This module refuses a member that is given twice, and a ceremony inside a page of
another origin.
"""

import json

from msgspec import Struct

from chalicelib.baton.keys.strict_json import read_object

CLIENT_DATA_BYTES_MAX = 2048
"""The maximum length of client data, in bytes. A browser writes about 200."""


class ClientData(Struct, frozen=True):
    """What the browser or the phone states about a ceremony: its kind (``type``), the challenge and the origin."""

    type: str
    challenge: str
    origin: str


def read_client_data(value: bytes) -> ClientData:
    """Read client data.

    Raises ``ValueError``, whose text the client gets, in these cases:

    - the data are too long, or not a JSON object in UTF-8;
    - a member is missing, given twice or of the wrong type;
    - the ceremony took place inside a page of another origin.
    """
    if len(value) > CLIENT_DATA_BYTES_MAX:
        raise ValueError(f"longer than {CLIENT_DATA_BYTES_MAX} bytes")
    try:
        members = read_object(value)
        # JSON can escape half of a surrogate pair. An answer or a log line cannot contain such a half.
        json.dumps(members, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise ValueError("not UTF-8") from None
    ceremony, challenge, origin = (members.get(name) for name in ("type", "challenge", "origin"))
    if not (isinstance(ceremony, str) and isinstance(challenge, str) and isinstance(origin, str)):
        raise ValueError("`type`, `challenge` and `origin` must be texts")  # noqa: TRY004 - of the content
    if members.get("crossOrigin", False) is not False or "topOrigin" in members:
        raise ValueError("the ceremony took place inside a page of another origin (`crossOrigin`, `topOrigin`)")
    return ClientData(ceremony, challenge, origin)
