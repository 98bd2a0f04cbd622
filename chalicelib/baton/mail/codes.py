"""Mail codes: eight digits that derive from their session. No I/O.

A code is HMAC(root, use, id of the session, address) modulo 10^8. Nothing is stored, and a mail that is delivered twice
has the same code. The session is encrypted, so the client that holds it cannot read its id.
"""

import hmac
from typing import Final

from chalicelib.baton.ids import Secret
from chalicelib.baton.keys.ring import derive
from chalicelib.baton.policy import MAIL_CODE_DIGITS

_MAC_BYTES_USED: Final = 16


def code_of(root: Secret, *, use: str, session_id: bytes, address: str) -> str:
    """Return the code of a session, eight digits. With 16 bytes of the MAC, the bias of the modulo is negligible."""
    message = b"".join(len(part).to_bytes(4, "big") + part for part in (use.encode(), session_id, address.encode()))
    mac = hmac.digest(derive(root, b"mail code"), message, "sha256")
    return f"{int.from_bytes(mac[:_MAC_BYTES_USED], 'big') % 10**MAIL_CODE_DIGITS:0{MAIL_CODE_DIGITS}}"


def is_code(typed: str, code: str) -> bool:
    """Check whether a typed text is this code, in constant time. Spaces in the text are ignored."""
    return hmac.compare_digest(typed.replace(" ", "").encode(), code.encode())


def spaced(code: str) -> str:
    """Write a code as people read it: ``1234 5678``."""
    return f"{code[: MAIL_CODE_DIGITS // 2]} {code[MAIL_CODE_DIGITS // 2 :]}"
