"""Time-based one-time passwords (TOTP, RFC 6238): the codes of authenticator apps. No I/O.

The codes use SHA-1, six digits and steps of 30 seconds, because many authenticator apps support nothing else. The clock
of a phone can be wrong, so the codes of the previous and the next step are accepted too. A code can be used once: the
server stores the step of the last used code, and accepts only codes of later steps. Exception: a repeated request may
send the last used code again (`prove_totp.step_of`).

Source: RFC 6238, RFC 4226; "Key Uri Format" of Google Authenticator for `otpauth_uri`.
"""

import hmac
from base64 import b32encode
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1

from chalicelib.baton.policy import TOTP_DIGITS, TOTP_STEP_S, TOTP_STEPS_AROUND


def step_at(now: int) -> int:
    """Return the number of the time step at ``now`` (Unix time, in seconds)."""
    return now // TOTP_STEP_S


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a time step. ``secret`` has 20 bytes if Baton made it, at least 10 if it was imported."""
    from cryptography.hazmat.primitives.twofactor.totp import TOTP  # noqa: PLC0415 - cold start

    # SHA-1 is the hash of RFC 6238 that apps support. HMAC needs no collision resistance (RFC 6194 3.3).
    totp = TOTP(secret, TOTP_DIGITS, SHA1(), TOTP_STEP_S, enforce_key_length=False)  # noqa: S303 # nosec B303 - the reason is above
    return totp.generate(step * TOTP_STEP_S).decode()


def is_code_at(secret: bytes, step: int, code: str) -> bool:
    """Compare a code with the code of a step, in constant time."""
    return hmac.compare_digest(code_at(secret, step).encode(), code.encode())


def matching_step(secret: bytes, code: str, *, after: int, now: int) -> int | None:
    """Return the newest accepted step that has this code and is later than ``after``.

    ``after`` is the step of the last used code. Return ``None`` if no step matches: the code is wrong or was used.
    """
    current = step_at(now)
    steps = range(current + TOTP_STEPS_AROUND, current - TOTP_STEPS_AROUND - 1, -1)
    matching = [step for step in steps if is_code_at(secret, step, code)]  # always the same number of comparisons
    return next((step for step in matching if step > after), None)


def shown_secret(secret: bytes) -> str:
    """Return the secret as a person types it into an app: base32 (RFC 4648 section 6)."""
    return b32encode(secret).decode().rstrip("=")


def otpauth_uri(secret: bytes, *, email: str, product: str) -> str:
    """Return the URI of the QR code from which an app reads the secret. ``product`` names the service in the app."""
    parameters = {
        "secret": shown_secret(secret),
        "issuer": product,
        "algorithm": "SHA1",
        "digits": TOTP_DIGITS,
        "period": TOTP_STEP_S,
    }
    return f"otpauth://totp/{quote(product, safe='')}:{quote(email, safe='@')}?{urlencode(parameters, quote_via=quote)}"
