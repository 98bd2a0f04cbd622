"""Errors of signatures, digests, clocks and idempotency keys."""

from chalicelib.baton.errors import InvalidRequest, Refusal


class InvalidSignature(Refusal):
    """The signature of the request is missing or wrong (RFC 9421)."""

    status = 401
    error = "invalid_signature"


class SignatureRequired(InvalidSignature):
    """No signature has the required tag, or a bound login is required and the login is unbound."""

    code = "signature_required"
    detail = "The signature is missing. Sign this request (RFC 9421) with the tag `baton`."


class SignatureDefective(InvalidSignature):
    """The signature does not verify, or it breaks a rule, such as the format of ``Signature-Input``."""

    code = "invalid_signature"
    detail = "The signature does not verify. Compare `signature_base` with the signature base that your app built."


class InsufficientCoverage(InvalidSignature):
    """The signature does not cover every required component."""

    code = "insufficient_coverage"
    detail = "The signature does not cover every required component. Cover the components in `missing` too."


class SignatureEncoding(InvalidSignature):
    """The signature is in DER. RFC 9421 requires raw r and s."""

    code = "signature_encoding"
    detail = "The signature is in DER. Send r and s as 64 raw bytes, 32 each (RFC 9421 section 3.3.4)."


class WrongKey(InvalidSignature):
    """``keyid`` does not name the key of the login (exchange.md, E2) or, for a new login, the key in the body."""

    code = "wrong_key"
    detail = (
        "The signature was not made with the key of this login. This request ended no login. Sign with the key of "
        "the login."
    )


class InvalidDigest(Refusal):
    """``Content-Digest`` (RFC 9530) does not match the body, or has no valid sha-256 or sha-512 digest."""

    error = code = "invalid_digest"
    detail = "`Content-Digest` does not match the body. Send the sha-256 or sha-512 of the exact bytes."


class ClockSkew(Refusal):
    """``created`` is outside the time window, or ``expires`` has passed (exchange.md, E3). The clock may be wrong."""

    status = 401
    error = "stale_signature"
    code = "clock_skew"
    action = "sync_clock"
    detail = "`created` is outside the time window. Set your clock offset from `server_time` and sign again."


class IdempotencyKeyRequired(InvalidRequest):
    """The route runs once for each ``Idempotency-Key``, and this call has none."""

    code = "idempotency_key_required"
    detail = (
        "This route requires an `Idempotency-Key`. Create one for each operation, store it, and send it with every "
        "repetition."
    )


class IdempotencyUnsupported(InvalidRequest):
    """A state-changing call has an ``Idempotency-Key``, and the route does not support this header."""

    code = "idempotency_unsupported"
    detail = (
        "This route does not support `Idempotency-Key`. Remove the header. If an answer is lost, read the current "
        "state before you repeat the request."
    )


class IdempotencyKeyReused(InvalidRequest):
    """An earlier call to this route had the same ``Idempotency-Key``, but other path parameters, query or body."""

    status = 422
    code = "idempotency_key_reused"
    detail = "This `Idempotency-Key` was used for another request. Create a new value for a new operation."


class CallInProgress(InvalidRequest):
    """An earlier request with the same ``Idempotency-Key`` may still be running."""

    status = 409
    code = "in_progress"
    action = "retry"
    detail = "The same request is being processed. Repeat it with this `Idempotency-Key` after `Retry-After` seconds."


class CallOutcomeUnknown(InvalidRequest):
    """An earlier request with this ``Idempotency-Key`` stopped without a stored answer. It may have taken effect."""

    status = 409
    code = "outcome_unknown"
    action = "check_outcome"
    detail = (
        "An earlier request with this `Idempotency-Key` has no stored answer, and it may have taken effect. Read the "
        "current state first. If you then repeat the operation, use a new `Idempotency-Key`."
    )
