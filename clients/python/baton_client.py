"""Baton for Python: register, log in, call, exchange, step up. This file needs only the package `cryptography`.

    client = BatonClient("https://api.example.com/api", "mobile", FileStorage("~/.config/example/session.json"))
    client.login("ada@example.com", password, device_name="Ada's laptop")
    transfer, key = {"to": "bob", "amount": 10}, secrets.token_urlsafe(16)  # store both before the request
    client.call("POST", "/transfers", json=transfer, idempotency_key=key, confirm=lambda refusal: ask_for_password())

This client keeps the nine rules below. Therefore no lost answer, crash or second process logs a person out. A complete
copy of the device works at most until the owner's next exchange. "Rule n" marks each place that keeps a rule. A port to
another language keeps each rule in the same place.

1. Keep one storage record (token, attempt), and write it atomically and durably. A write must survive a power failure.
   Otherwise the device holds an old record, as after the restore of a backup. The attempt is random, at least 128 bits.
   Make the attempt when you store the token, and never make another attempt for the same token.
2. Read the clock for `created` first, then read storage, then sign. Repeat these steps each time you send a request. If
   a process freezes between these steps, the server refuses its late signature, and no login ends. Have one exchange
   in flight per process. Several processes that share the record need no lock: for the same token, they send the same
   attempt and get the same child.
3. After an answer, compare and set: store the child, with a new attempt, only if storage still holds the parent.
   Otherwise discard the child and read storage again.
4. Persist the child before using it.
5. After a time-out, without a network, or after 503: repeat with the same attempt, with exponential back-off and
   jitter. A network error is never a logout.
6. Act on `action`, and treat an unknown action as `fix_request`. `sync_clock`: set the offset and sign again, once.
   `check_outcome`: do not repeat, because the call may have been carried out. If `code` is `superseded`, read storage
   again. Apart from rule 8, only two failures end a login. The first is the loss of the device's key. The second is an
   error about the login's own token, with action `log_in` and `error` `invalid_token` or `invalid_grant`.
7. Exchange when a token is needed, not on a timer.
8. If the answer is `superseded` a second time, at least one second after the first, and storage still holds the same
   token, revoke the login. Another holder of this record has exchanged the token: a copy of the device or a restored
   backup. In one write, delete the login and the device's key, and store the token and this key as a revocation. Then
   send the revocation, signed with this key. Inform the app, and log in again with a new key. Keep the revocation until
   Baton answers it with a success, or with an error that ends a login (rule 6). A logout also deletes the login
   immediately, and keeps a revocation in the same way.
9. Treat an answer that is not Baton's as a lost answer: an answer without `Baton-Request-Id`, an answer that is not
   JSON, a redirect, or a cached copy of an answer that no cache may store. A lost answer is never a success and never
   ends a login. An answer with `Age` does not set the clock.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import io
import ipaddress
import json as json_codec
import os
import random as random_numbers
import re
import secrets
import selectors
import socket
import ssl
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

__version__ = "0.1.0"

EARLY_S = 10  # A token that expires within this time is exchanged before a call: it could expire on the way.
DEADLINE_S = 30.0  # The time that a caller waits for an answer by default.
SEND_TIMEOUT_S = 10.0  # The time after which one request counts as lost.
BACKOFF_FIRST_S, BACKOFF_LONGEST_S = 0.5, 30.0
MOMENT_S = 1.0  # The minimum wait before a second `superseded` counts (rule 8).
REVOCATION_S = 10.0  # The maximum wait for the answer to a revocation. Without an answer it is sent again later.
REVOCATION_REST_S = 30.0  # The minimum time until an unanswered revocation is sent again.
REVOCATION_LIFE_S = 30 * 86_400  # After this time the unused login has ended without a revocation.
REVOCATIONS_MAX = 8
STEP_LIFE_S = 600  # The life of a login that needs a second factor, unless the server states another.
WRONG_PROOFS_MAX = 5  # After this many wrong codes, `login` raises. Otherwise a program could send wrong codes forever.
DEFECTS_MAX = 3  # After this number of `server_error` in a row, waiting longer does not help.
ANSWER_MAX_BYTES = 1 << 20
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MEDIA_TYPES = frozenset({"application/json", "application/problem+json"})
SIGNED_FIELDS = ("content-digest", "authorization", "idempotency-key", "baton-grant")

Binding = Literal["key", "hmac", "none"]
KeyAlgorithm = Literal["p256", "ed25519"]
T = TypeVar("T")


# --- Errors -----------------------------------------------------------------------------------------------------------


class BatonError(Exception):
    """The base class of the errors of this client.

    BatonError
    ├── NotLoggedIn            no login is stored: show the login screen
    │   └── LoggedOut          the login has ended: show `reason` and the login screen
    ├── Offline                no answer in time, the login is kept: try again later
    ├── AnswerLost             the outcome of a call is unknown: check it before you repeat the call
    ├── StorageUnavailable     the record cannot be read or written now, the login is kept: try again later
    ├── BrokenStorage          the record cannot be parsed, or a newer client wrote it
    └── Refused                the server returned an error: switch on `code`

    `kind` is the name of the error in Baton's clients for all languages.
    """

    kind = "error"


class NotLoggedIn(BatonError):
    """The storage has no login, or a login in progress can no longer be finished.

    In the second case, the storage may have a login that another call or another process has stored.
    """

    kind = "not_logged_in"


class LoggedOut(NotLoggedIn):
    """The login has ended, and the client has removed it from the storage.

    - `reason`: the server's end reason, such as `password_changed`, or its error code if it gave no reason. This client
      sets `reuse` if it detected a copy of the device (rule 8), and `key_lost` if the device's key is missing.
    - `confirmed`: false if the server has not yet confirmed the end of the login.
    """

    kind = "logged_out"

    def __init__(self, reason: str | None, *, confirmed: bool = True) -> None:
        """Store the reason, and whether the server confirmed the end."""
        super().__init__(f"This login has ended ({reason or 'no reason given'}). Log in again.")
        self.reason = reason
        self.confirmed = confirmed


class _Unanswered(BatonError):
    def __init__(self, message: str, last: object = "") -> None:
        """Store `last`: a text about what came instead of an answer, such as a network error."""
        super().__init__(message)
        self.last = str(last)


class Offline(_Unanswered):
    """Before the caller's deadline, Baton did not answer, or sent only errors such as 503. The login is kept.

    `last` describes the last error, or the answer that was not from Baton.
    """

    kind = "offline"


class AnswerLost(_Unanswered):
    """The call was sent, and there is no answer that says whether it took effect. The login is kept.

    A repeated call could take effect twice. Check the outcome first, or send an `idempotency_key` with the call if the
    route supports it.

    - `__cause__`: a `Refused`, if the server sent an error with the action `retry` or `check_outcome`.
    - `last`: describes the error of the server, or what came instead, such as the page of a firewall.
    """

    kind = "answer_lost"


class StorageUnavailable(BatonError):
    """The record cannot be read or written at this moment: the disk is full, or locked. The login is kept.

    A request may already have been sent. If it was an exchange, the next call repeats it with the same attempt.
    `__cause__` is the error of the storage.
    """

    kind = "storage_unavailable"


class BrokenStorage(BatonError):
    """The record cannot be parsed, or a newer client wrote it. It was not changed."""

    kind = "broken_storage"


class Refused(BatonError):
    """The server returned an error. Switch on `code`: errors.md lists the codes. `problem` is the whole answer."""

    kind = "refused"

    def __init__(self, answer: "Answer") -> None:
        """Read an error answer. If a route of your own API sends no `code` or `action`, derive them from the status."""
        self.status = answer.status
        self.problem = answer.members()
        self.error = str(self.problem.get("error", ""))
        self.code = str(self.problem.get("code", f"http_{self.status}"))
        passing = self.status == 429 or self.status >= 500
        self.action = str(self.problem.get("action", "retry" if passing else "fix_request"))
        factors = self.problem.get("factors")
        self.factors: tuple[str, ...] = tuple(factors) if isinstance(factors, list) else ()  # The factors to prove.
        self.retry_after_s = _seconds(answer.headers.get("retry-after")) or 0
        self.untouched = self.status == 429  # Refused before any effect.
        self.defect = self.code == "server_error"
        said = self.problem.get("detail") or self.problem.get("error_description") or "the server gave no explanation"
        quotable = f" [request {self.problem['request_id']}]" if "request_id" in self.problem else ""
        super().__init__(f"{self.status} {self.code} ({self.action}): {said}{quotable}")


# --- The storage record -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's private key. `data` is PKCS #8 in base64.

    If `store` is not `pkcs8`, `data` is only a handle of the key, and this client cannot use the key.
    """

    data: str = field(repr=False)
    store: str = "pkcs8"
    public: Mapping[str, str] | None = field(default=None, compare=False)  # The JWK of a key in another store.

    def __post_init__(self) -> None:
        """Check that the key can be parsed, or raise `BrokenStorage`. A key in another store is not checked."""
        if self.opens:
            _private_key(self.data)

    @property
    def opens(self) -> bool:
        """Whether this client can sign with the key."""
        return self.store == "pkcs8"

    @classmethod
    def generate(cls, algorithm: KeyAlgorithm) -> "DeviceKey":
        """Make a new key."""
        p256 = algorithm == "p256"
        private = ec.generate_private_key(ec.SECP256R1()) if p256 else ed25519.Ed25519PrivateKey.generate()
        encoded = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return cls(base64.b64encode(encoded).decode())

    def jwk(self) -> dict[str, str]:
        """Return the public key as a JWK: the members that RFC 7638 requires, in the order of that RFC.

        For a key in another store, return the stored JWK, or an empty dictionary if the record has none.
        """
        if not self.opens:
            return dict(sorted((self.public or {}).items()))
        private = _private_key(self.data)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
        point = private.public_key().public_numbers()
        x, y = _base64url(point.x.to_bytes(32)), _base64url(point.y.to_bytes(32))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    def thumbprint(self) -> str:
        """Return the JWK thumbprint of the key (RFC 7638, SHA-256)."""
        return _base64url(hashlib.sha256(_json_bytes(self.jwk())).digest())

    def sign(self, message: bytes) -> bytes:
        """Sign a message. A P-256 signature is raw r and s (RFC 9421 section 3.3.4), not the DER of libraries."""
        private = _private_key(self.data)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(message)
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


@dataclass(frozen=True, slots=True)
class Session:
    """One login: its tokens, and the attempt for the exchange of these tokens (rule 1).

    - `refresh_token`: with the mechanism `exchange`, the same string as `access_token`. With `long_lived`, `None`.
    - `expires_at`: the time at which the access token expires, in seconds of the server's clock.
    - `key_id`: the thumbprint of the key, or the server's id of the HMAC secret. `None` for an unbound login.
    - `secret`: only for an HMAC login.
    """

    device_id: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: int
    attempt: str = field(repr=False)
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)

    @property
    def done(self) -> bool:
        """Always true: a `Session` is a finished login. In a `LoginStep`, which `login` may return, `done` is false."""
        return True


@dataclass(frozen=True, slots=True)
class Pending:
    """A registration or login in progress: its attempt, which is stored before the request is sent (rule 1)."""

    email: str
    client_id: str
    binding: str
    attempt: str = field(repr=False)
    auth_session: str | None = field(default=None, repr=False)  # The newest value, if the login needs a factor.
    kind: str = "login"
    factors: tuple[str, ...] = ()
    enrol: tuple[str, ...] = ()
    expires_at: int | None = None  # The time at which `auth_session` expires, by the server's clock.
    problem: Mapping[str, Any] | None = field(default=None, repr=False)  # The refusal, without its `auth_session`.

    def same_login(self, other: "Pending") -> bool:
        """Whether `other` has the same address, client and binding. If so, the client sends the attempt of `self`."""
        return (self.email, self.client_id, self.binding) == (other.email, other.client_id, other.binding)


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity at a provider, as the proof for a step-up. `sign_in` shows the sign-in sheet with a nonce.

    `sign_in` returns what the sheet returned: the id_token, or a dictionary with `id_token` and `authorization_code`.
    """

    provider: str
    sign_in: "SignIn" = field(repr=False)

    @classmethod
    def of(cls, given: object) -> "Identity":
        """Return the given `Identity` or dictionary as an `Identity`.

        Raise `TypeError` for any other value, and for a dictionary whose members are not exactly `provider` and
        `sign_in`.
        """
        identity = cls(**given) if isinstance(given, Mapping) else given
        if not isinstance(identity, Identity):
            raise TypeError("`identity` is an Identity, or a dictionary with `provider` and `sign_in`.")
        return identity


@dataclass(frozen=True, slots=True)
class Proof:
    """What a person proves for a step-up, or for a login that needs a second factor.

    - For a step-up, set one or two of `password`, `totp` and `passkey`, or set `identity`, alone or with `totp`. If the
      account has a second factor, the password alone is not sufficient.
    - For a login, set one of `totp`, `recovery_code` and `passkey`. To enrol an authenticator app, set `enrolment` and
      `totp`.

    `totp` is the code of an authenticator app. `passkey` is the answer of the platform, or a function that gets the
    WebAuthn options and returns this answer.
    """

    password: str | None = field(default=None, repr=False)
    totp: str | None = field(default=None, repr=False)
    recovery_code: str | None = field(default=None, repr=False)
    passkey: "AskPlatform | Mapping[str, Any] | None" = field(default=None, repr=False)
    enrolment: str | None = field(default=None, repr=False)
    identity: "Identity | Mapping[str, Any] | None" = None

    @classmethod
    def of(cls, given: object) -> "Proof":
        """Return the given password, `Proof` or dictionary as a `Proof`.

        A string is the password. It is not checked: an empty string becomes a `Proof` with an empty password.

        Raise `TypeError` for a value of another type, for a dictionary with an unknown member, and for a `Proof` or
        dictionary whose members are all missing or empty.
        """
        if isinstance(given, str):
            return cls(password=given)
        proof = cls(**given) if isinstance(given, Mapping) else given
        if not isinstance(proof, Proof) or not any(getattr(proof, name.name) for name in fields(proof)):
            raise TypeError("A proof is the password, or a Proof or a dictionary with a password, a code or a passkey.")
        return proof

    def members(
        self, options: Callable[[], dict[str, Any]], nonce: Callable[[str], str] | None = None
    ) -> dict[str, Any]:
        """Return this proof as members of the request body.

        - `options`: fetches the options for a passkey.
        - `nonce`: makes the nonce for an identity provider. It is `None` for the second factor of a login, which cannot
          be an identity.
        """
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        if self.passkey is not None:
            given["passkey"] = dict(self.passkey(options()) if callable(self.passkey) else self.passkey)
        if self.identity is not None:
            if nonce is None:
                raise TypeError("An identity is a proof for a step-up only.")
            identity = Identity.of(self.identity)
            token = _signed_in(identity.sign_in, nonce(identity.provider))["id_token"]
            given["identity"] = {"provider": identity.provider, "id_token": token}
        return given


@dataclass(frozen=True, slots=True)
class LastSecret:
    """The secret of the last HMAC login, kept to sign the next login.

    By the signature, the server recognises the device. If the next login is of the same account, the server ends the
    last login.
    """

    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A login that has ended on this device. The record keeps it until the server confirms the end, at most 30 days.

    `key`: the device's key, if the client deleted this key from the record because another device may have a copy of
    the key (rule 8). Otherwise `None`: the record still has the key, or the login is bound to `secret` or is unbound.
    """

    token: str = field(repr=False)
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    since: int = 0
    key: DeviceKey | None = None

    def signer(self, current: DeviceKey | None) -> "Signer | None":
        """Return the signer of the revocation, or `None` for an unbound login.

        `current` is the device key in the stored record. It signs if the revocation has neither `key` nor `secret`.
        """
        return _signer_of(self.key_id, self.secret, self.key or current)


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of the last login: its reason, and its time by the server's clock."""

    reason: str | None
    at: int


@dataclass(frozen=True, slots=True)
class State:
    """The login state of the device. Until the next login, `reason` and `at` say why and when the last login ended.

    `reason` has the values of `LoggedOut.reason`. It is `None` if there is no end to explain, such as after `forget`.
    """

    signed_in: bool
    device_id: str | None = None
    reason: str | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """All that a device stores.

    - `key`: kept after a login ends, because the server recognises the device by its key. Exceptions:
      see `logged_out`.
    - `last`: kept from the end of an HMAC login until the next login, or until `delete_account`.
    - `revocations`: at most eight. A further revocation replaces the oldest.
    """

    session: Session | None = None
    pending: Pending | None = None
    key: DeviceKey | None = None
    last: LastSecret | None = None
    revocations: tuple[Revocation, ...] = ()
    ended: Ended | None = None

    @property
    def last_secret(self) -> LastSecret | None:
        """The secret of the newest HMAC login, active or ended."""
        if self.session and self.session.key_id and self.session.secret:
            return LastSecret(self.session.key_id, self.session.secret)
        return self.last

    @property
    def state(self) -> State:
        """Whether the record has a login. If not: why and when the last login ended."""
        if self.session:
            return State(signed_in=True, device_id=self.session.device_id)
        return State(signed_in=False, **(asdict(self.ended) if self.ended else {}))

    def logged_out(self, reason: str | None = None, at: int = 0) -> "Record":
        """Return the record without the login. Keep the key, unless `reason` is `reuse`, `replaced` or `key_lost`.

        `reuse` and `replaced` mean that another device may have a copy of the key.
        """
        key = None if reason in {"reuse", "replaced", "key_lost"} else self.key
        ended = None if reason is None else Ended(reason, at)
        return replace(self, session=None, key=key, last=self.last_secret, ended=ended)

    def revoked(self, reason: str, at: int) -> "Record":
        """Return the record with a revocation in place of the login."""
        session = self.session
        if session is None:
            return self
        left = self.logged_out(reason, at)
        key = self.key if left.key is None and session.secret is None else None
        token = session.refresh_token or session.access_token
        waiting = [one for one in self.revocations if one.since == 0 or at - one.since < REVOCATION_LIFE_S]
        revocation = Revocation(token, session.key_id, session.secret, at, key)
        return replace(left, revocations=(*waiting, revocation)[-REVOCATIONS_MAX:])

    def to_json(self) -> bytes:
        """Return the record as JSON, in version 2: the format of all libraries of Baton."""
        return _json_bytes(
            {
                "v": 2,
                "session": self.session and _written_session(self.session),
                "key": self.key and _written_key(self.key),
                "pending": self.pending and _written_pending(self.pending),
                "last": self.last and asdict(self.last),
                "revocations": [_written_revocation(one) for one in self.revocations],
                "ended": self.ended and asdict(self.ended),
            }
        )

    @staticmethod
    def from_json(text: bytes) -> "Record":
        """Parse a record of version 2 or 1, or raise `BrokenStorage`.

        If this returned an empty record instead of the error, the person would be logged out.
        """
        try:
            given = _object(json_codec.loads(text))
            version = given.get("v", 1)
            if type(version) is not int or version < 1:
                raise TypeError("v")
            if version > 2:
                raise BrokenStorage("A newer client wrote this record. It was not changed. Update the app.")
            if version == 1 and not {"session", "pending", "key"} <= given.keys():
                raise KeyError("session")
            revocations = given.get("revocations")
            if not isinstance(revocations, list | None):
                raise TypeError("revocations")
            return Record(
                session=_read(_session, given.get("session")),
                pending=_read(_pending, given.get("pending")),
                key=_read(_key, given.get("key")),
                last=_read(_last, given.get("last")),
                revocations=tuple(map(_revocation if version == 2 else _old_revocation, revocations or ())),
                ended=_read(_ended, given.get("ended")),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BrokenStorage(f"The stored login cannot be read: {type(error).__name__}.") from error


def _written_session(session: Session) -> dict[str, object]:
    """Return the members of a session for the record.

    A refresh token that equals the access token is left out, because some key chains limit the size of a record.
    """
    members = asdict(session)
    if session.refresh_token == session.access_token:
        del members["refresh_token"]
    return members


def _written_key(key: DeviceKey) -> dict[str, object]:
    return {"store": key.store, "data": key.data, "jwk": key.jwk() or None}


def _written_pending(pending: Pending) -> dict[str, object]:
    optional = ("factors", "enrol", "expires_at", "problem")  # Only a login that waits for a factor has these.
    return {name: value for name, value in asdict(pending).items() if value or name not in optional}


def _written_revocation(one: Revocation) -> dict[str, object]:
    members = {"token": one.token, "key_id": one.key_id, "secret": one.secret, "since": one.since}
    return members | ({"key": _written_key(one.key)} if one.key else {})


def _read(kind: "Callable[[Mapping[str, Any]], T]", given: object) -> T | None:
    return None if given is None else kind(_object(given))


def _object(given: object) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise TypeError("not an object")
    return given


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError("not text")
    return given


def _text_or_none(given: object) -> str | None:
    return None if given is None else _text(given)


def _time(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError("not a time")
    return int(given)


def _session(given: Mapping[str, Any]) -> Session:
    access_token = _text(given["access_token"])
    return Session(
        device_id=_text(given["device_id"]),
        access_token=access_token,
        refresh_token=_text_or_none(given.get("refresh_token", access_token)),  # Missing if the two tokens are equal.
        expires_at=_time(given["expires_at"]),
        attempt=_text(given["attempt"]),
        key_id=_text_or_none(given.get("key_id")),
        secret=_text_or_none(given.get("secret")),
    )


def _pending(given: Mapping[str, Any]) -> Pending:
    return Pending(
        email=_text(given["email"]),
        client_id=_text(given["client_id"]),
        binding=_text(given["binding"]),
        attempt=_text(given["attempt"]),
        auth_session=_text_or_none(given.get("auth_session")),
        kind=_text(given.get("kind", "login")),
        factors=tuple(map(_text, given.get("factors", ()))),
        enrol=tuple(map(_text, given.get("enrol", ()))),
        expires_at=None if given.get("expires_at") is None else _time(given["expires_at"]),
        problem=_read(dict, given.get("problem")) if "kind" in given else None,  # Version 1 has no kind.
    )


def _key(given: Mapping[str, Any]) -> DeviceKey:
    if "pkcs8" in given:
        return DeviceKey(_text(given["pkcs8"]))
    public = _read(lambda jwk: {name: _text(value) for name, value in jwk.items()}, given.get("jwk"))
    return DeviceKey(_text(given["data"]), _text(given["store"]), public)


def _last(given: Mapping[str, Any]) -> LastSecret:
    return LastSecret(_text(given["key_id"]), _text(given["secret"]))


def _ended(given: Mapping[str, Any]) -> Ended:
    return Ended(_text_or_none(given.get("reason")), _time(given["at"]))


def _revocation(one: object) -> Revocation:
    given = _object(one)
    key_id, secret = _text_or_none(given.get("key_id")), _text_or_none(given.get("secret"))
    return Revocation(_text(given["token"]), key_id, secret, _time(given["since"]), _read(_key, given.get("key")))


def _old_revocation(one: object) -> Revocation:
    given = _object(one)
    ended = _session(_object(given["session"]))
    token = ended.refresh_token or ended.access_token
    return Revocation(token, ended.key_id, ended.secret, key=_read(_key, given.get("key")))


class Storage(Protocol):
    """The storage of the record. Implement these methods to keep the record in a place of your own.

    If the record cannot be read now, `read` must raise an error. An empty record means that there is no login.
    """

    def read(self) -> Record:
        """Read the record. Return an empty record only if nothing was ever stored."""

    def update(self, change: Callable[[Record], Record], /) -> Record:
        """Replace the record by `change(record)` and return the stored record.

        The update is atomic, durable, and exclusive among all threads and processes. `change` is quick and has no side
        effects.
        """


class MemoryStorage:
    """A record in memory, which is lost when the process ends."""

    def __init__(self, record: Record | None = None) -> None:
        """Start with `record`, or with an empty record."""
        self._record = record or Record()
        self._lock = threading.Lock()

    def read(self) -> Record:
        """Read the record."""
        return self._record

    def update(self, change: Callable[[Record], Record], /) -> Record:
        """Replace the record by `change(record)`, and return the new record."""
        with self._lock:
            self._record = change(self._record)
            return self._record


class FileStorage:
    """A record in a file that only its owner can read. Several processes can share it.

    A lock file is held while the record is read or replaced, never while a process waits for the network.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Store the record at `path`. A missing folder is created."""
        self._path = Path(path).expanduser()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> Record:
        """Read the record. Return an empty record if the file does not exist."""
        with self._locked():
            return self._load()

    def update(self, change: Callable[[Record], Record], /) -> Record:
        """Replace the record by `change(record)`, and return the new record."""
        with self._locked():
            before = self._load()
            after = change(before)
            if after != before:
                self._save(after)
            return after

    def _load(self) -> Record:
        try:
            return Record.from_json(self._path.read_bytes())
        except FileNotFoundError:
            return Record()

    def _save(self, record: Record) -> None:
        """Write a new file, flush it to the disk, and rename it: after a crash the record is the old or the new one."""
        beside = self._path.with_name(self._path.name + ".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(record.to_json())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        if sys.platform != "win32":
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:  # Closing the file releases the lock. The operating system also does this when the process ends.
            if sys.platform == "win32":
                import msvcrt  # noqa: PLC0415 - the module does not exist on other systems

                msvcrt.locking(lock, msvcrt.LK_LOCK, 1)
            else:
                import fcntl  # noqa: PLC0415 - the module does not exist on other systems

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


# --- Requests, signatures, transport ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. Header names are in lower case. `url` has the percent-encoded query."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Parse the body as JSON, or raise `ValueError`."""
        return json_codec.loads(self.body)

    def members(self) -> Mapping[str, Any]:
        """Return the members of a JSON object, or an empty mapping for any other body."""
        try:
            parsed = self.json()
        except (ValueError, RecursionError):
            return {}
        return parsed if isinstance(parsed, dict) else {}

    @property
    def storable(self) -> bool:
        """Whether caches may store this answer: its header `Cache-Control` does not have `no-store`."""
        return "no-store" not in self.headers.get("cache-control", "").lower()

    def server_time(self) -> int | None:
        """Return the server's time: header `Baton-Time`, else member `server_time` of a `no-store` answer.

        Return `None` for an answer from a cache (header `Age`): its time is too old (rule 9).
        """
        if "age" in self.headers:
            return None
        stated = _seconds(self.headers.get("baton-time"))
        return stated if stated is not None or self.storable else _seconds(self.members().get("server_time"))

    def foreign(self, *, team: bool = False) -> str | None:
        """Return why this answer is not Baton's, or `None` for an answer of Baton (rule 9).

        `team`: the route may be one of your own API. Its answer may have any media type, and its refusal may have no
        code.
        """
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        why = None
        if not re.fullmatch(r"[0-9A-Za-z-]{8,64}", self.headers.get("baton-request-id", "")):
            why = "without Baton-Request-Id, perhaps from a captive portal, a firewall or a proxy"
        elif not (200 <= self.status < 300 or 400 <= self.status < 600):
            why = "with a status that Baton does not send"
        elif not self.storable and (_seconds(self.headers.get("age")) or 0) > 0:
            why = "from a cache, which must not store it"
        elif self.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            why = "with an encoding that was not requested"
        elif self.body and media_type not in MEDIA_TYPES:
            why = None if team else "which is not JSON"
        elif (self.body or self.status >= 400) and not self._readable(team=team):
            why = "with a body that Baton does not send"
        return why and f"{self.status} {media_type}".strip() + f" {why}"

    def _readable(self, *, team: bool) -> bool:
        """Whether the body is strict JSON: UTF-8, without duplicate members, and without values such as `NaN`.

        If `team` is false, the body must be an object. The body of an error must also have a `code` and an `action`.
        """
        try:
            parsed = json_codec.loads(
                self.body.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
            )
        except (ValueError, RecursionError):
            return False
        if team:
            return True
        if not isinstance(parsed, dict):
            return False
        return self.status < 400 or all(isinstance(parsed.get(name), str) for name in ("code", "action"))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _no_constant(name: str) -> float:
    raise ValueError(name)


class NoResponse(Exception):
    """There was no answer, or an answer that is not Baton's (rule 9). `sent`: the request may have arrived.

    The client repeats the request until the deadline. If a repetition is not safe, it raises `AnswerLost`.
    """

    def __init__(self, why: str, *, sent: bool = True) -> None:
        """Store the reason. If it is unknown whether the request was sent, `sent` is true."""
        super().__init__(why)
        self.sent = sent
        self.untouched, self.defect, self.retry_after_s = not sent, False, 0


Given = str | Proof | Mapping[str, Any]
"""What a person proves: the password, or a proof."""
Confirm = Callable[[Refused], Given | None]
"""Ask the person for `factors` of the refusal. Return the password, or a `Proof` of these factors.

If the function returns `None`, the client raises the refusal. The client passes on an error of the function. After a
wrong password or code, the client raises `Refused`. The client calls the function a second time only if Baton refuses
the first grant because it is too old or too weak.
"""
AskPlatform = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Ask the platform for a passkey: the function gets the WebAuthn options, and returns the answer (`toJSON()`).
The function raises an error if the person refuses."""
SignedIn = str | Mapping[str, str]
"""What the sheet of an identity provider returned: the id_token, or a dictionary with `id_token` and
`authorization_code`."""
SignIn = Callable[[str], SignedIn]
"""Show the sheet of an identity provider with a nonce. The function raises an error if the person cancels."""
MakeEvidence = Callable[[str, "DeviceKey | None"], Mapping[str, object]]
"""Make evidence of the app for a challenge and the key of the device: the member `attestation` of the request."""
Transport = Callable[[Request, float], Answer]
"""Send a request within a number of seconds, and return the answer with any status. Without an answer, raise
`NoResponse` or `OSError`."""


class HttpTransport:
    """HTTP/1.1 with kept-alive connections and verified certificates, without redirects. It is thread-safe."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """Store `context`, with which each https connection verifies the certificate of the server.

        The default context trusts the certificate authorities of the system.
        """
        self._context = context or ssl.create_default_context()
        self._idle: dict[tuple[int, str, str], deque[http.client.HTTPConnection]] = {}

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request once and return its answer."""
        until = time.monotonic() + timeout_s
        url = urlsplit(request.url)
        # The process id is part of the dictionary key: after a fork, parent and child must not share a connection.
        idle = self._idle.setdefault((os.getpid(), url.scheme, url.netloc), deque())
        connection = self._connected(idle, url.scheme, url.netloc, timeout_s)
        try:
            target = url.path + (f"?{url.query}" if url.query else "")
            connection.request(request.method, target, request.body or None, dict(request.headers))
            connection.response_class = partial(_PunctualResponse, until=until)  # type: ignore[assignment] # only called
            response = connection.getresponse()
            body = response.read(ANSWER_MAX_BYTES + 1)
            if response.length and len(body) <= ANSWER_MAX_BYTES:
                raise http.client.IncompleteRead(body, response.length)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise NoResponse(f"{type(error).__name__}: {error}") from error
            raise
        if response.will_close or len(body) > ANSWER_MAX_BYTES:
            connection.close()
        else:
            idle.append(connection)
        if len(body) > ANSWER_MAX_BYTES:
            raise NoResponse("the answer is too long")
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body)

    def close(self) -> None:
        """Close the kept connections. The next request opens a new one."""
        for idle in list(self._idle.values()):
            while idle:
                with contextlib.suppress(IndexError):  # Another thread was faster.
                    idle.pop().close()

    def _connected(
        self, idle: deque[http.client.HTTPConnection], scheme: str, netloc: str, timeout_s: float
    ) -> http.client.HTTPConnection:
        while idle:
            with contextlib.suppress(IndexError):  # Another thread was faster.
                connection = idle.pop()
                with selectors.DefaultSelector() as selector:
                    selector.register(connection.sock, selectors.EVENT_READ)
                    hung_up = bool(selector.select(0))  # No answer is due, so readable means closed by the server.
                if not hung_up:
                    connection.sock.settimeout(timeout_s)
                    return connection
                connection.close()
        if scheme == "https":
            connection = http.client.HTTPSConnection(netloc, timeout=timeout_s, context=self._context)
        else:
            connection = http.client.HTTPConnection(netloc, timeout=timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise NoResponse(f"no connection: {error}", sent=False) from error
        return connection


class _PunctualReader(io.RawIOBase):
    """A reader of a socket. After its deadline, a read raises `TimeoutError`.

    The time-out of a socket applies to each read. With this time-out alone, slow bytes would extend the total time.
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PunctualResponse(http.client.HTTPResponse):
    """A response that is complete before a deadline, or raises `TimeoutError`."""

    def __init__(self, sock: socket.socket, *arguments: Any, until: float, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_PunctualReader(sock, until))


@dataclass(frozen=True, slots=True)
class Signer:
    """The keyid of a key, and the function that signs with it."""

    key_id: str
    sign: Callable[[bytes], bytes] = field(repr=False)


def _parsed_base_url(base_url: str) -> tuple[str, str, str]:
    """Return the origin, the authority and the path of `base_url`, or raise `ValueError`.

    The host must be in canonical form. Otherwise the URL that is sent could differ from the URL that is signed.
    """
    found = _BASE_URL.fullmatch(base_url)
    scheme, host, port, path = (part or "" for part in found.groups()) if found else ("", "", "", "")
    scheme, host = scheme.lower(), host.lower()
    if not scheme or not _is_host(host) or not 0 < int(port or 1) < 65536 or not _is_path(path or "/"):
        raise ValueError("base_url must be https://host[:port][/path], the host in ASCII and canonical.")
    if scheme == "http" and host not in {"localhost", "127.0.0.1", "[::1]"}:
        raise ValueError("base_url must be https; plain http is for localhost only.")
    usual = not port or int(port) == {"https": 443, "http": 80}[scheme]
    authority = host if usual else f"{host}:{int(port)}"
    return f"{scheme}://{authority}", authority, path.rstrip("/")


_BASE_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?(/[^?#]*)?", re.ASCII | re.IGNORECASE
)
_PATH = re.compile(r"/(?:[\w.~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*", re.ASCII | re.IGNORECASE)
_DOTS = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)


def _is_host(host: str) -> bool:
    try:
        if host.startswith("["):
            return str(ipaddress.IPv6Address(host[1:-1])) == host[1:-1]
        if re.search(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$", host):  # Platforms read this as IPv4.
            return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False
    return len(host) <= 253 and all(re.fullmatch(r"(?!-)[a-z0-9_-]+(?<!-)", label) for label in host.split("."))


def _is_path(path: str) -> bool:
    """Whether a path is valid (RFC 3986) and has no dot segments: proxies resolve them, which breaks the signature."""
    return bool(_PATH.fullmatch(path)) and not any(_DOTS.fullmatch(segment) for segment in path.split("/"))


def _checked_path(path: str) -> None:
    if not _is_path(path):
        raise ValueError(
            "A path begins with /, is percent-encoded, and has no dot segments. Use `query` for the query."
        )


def signature_fields(request: Request, signer: Signer, *, created: int, nonce: str) -> dict[str, str]:
    """Sign a request (RFC 9421) with the tag `baton`, and return the two header fields to add."""
    url = urlsplit(request.url)
    covered = [('"@method"', request.method), ('"@authority"', url.netloc), ('"@path"', url.path)]
    for name, _, value in (pair.partition("=") for pair in url.query.split("&") if pair):
        covered.append((f'"@query-param";name="{name}"', value))
    covered += [(f'"{name}"', request.headers[name]) for name in SIGNED_FIELDS if name in request.headers]
    components = " ".join(component for component, _ in covered)
    parameters = f'({components});created={created};keyid="{signer.key_id}";nonce="{nonce}";tag="baton"'
    base = "\n".join(f"{component}: {value}" for component, value in [*covered, ('"@signature-params"', parameters)])
    signature = base64.b64encode(signer.sign(base.encode())).decode()
    return {"signature-input": f"baton={parameters}", "signature": f"baton=:{signature}:"}


def content_digest(body: bytes) -> str:
    """Return the Content-Digest of a body, with SHA-256 (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def _percent_encoded(text: str) -> str:
    """Encode a name or value of the query as RFC 9421 section 2.2.8 signs it. The sent URL has the same form."""
    return quote(text, safe="*").replace("~", "%7E")


def _query(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{_percent_encoded(name)}={_percent_encoded(value)}" for name, value in parameters.items())


def _quoted(name: str) -> str:
    """Write an Idempotency-Key as a String (RFC 8941)."""
    if not re.fullmatch(r"[!#-\[\]-~]{16,128}", name):
        raise ValueError("An Idempotency-Key has 16 to 128 visible ASCII characters, without quotes and backslashes.")
    return f'"{name}"'


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _json_bytes(value: object) -> bytes:
    return json_codec.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _seconds(stated: object) -> int | None:
    """Read a time or a duration in whole seconds. Return `None` if it is missing or invalid."""
    return int(str(stated)) if re.fullmatch(r"[0-9]{1,12}", str(stated)) else None


def _random_name() -> str:
    """Draw 128 random bits: an attempt or a nonce."""
    return _base64url(secrets.token_bytes(16))


@lru_cache(maxsize=8)
def _private_key(pkcs8: str) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    try:
        private = load_der_private_key(base64.b64decode(pkcs8), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BrokenStorage(f"The device key cannot be read: {type(error).__name__}.") from error
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return private
    raise BrokenStorage("The device key is neither P-256 nor Ed25519.")


class _Patience:
    """The remaining time of one caller, for all requests of its call."""

    def __init__(
        self,
        deadline_s: float | None,
        sleep: Callable[[float], None],
        random: Callable[[], float],
        *,
        once: bool = False,
    ) -> None:
        """Start the deadline. With `once`, `pause` never waits: the client does not repeat an unanswered request."""
        self._deadline_s = float("inf") if deadline_s is None else deadline_s
        self._sleep, self._random, self._once = sleep, random, once
        self._started, self._skipped_s, self._pauses = time.monotonic(), 0.0, 0

    def left_s(self) -> float:
        """Return the seconds that are left. A pause counts with its full length, even if `sleep` returns early."""
        return self._deadline_s - (time.monotonic() - self._started) - self._skipped_s

    @contextlib.contextmanager
    def person(self) -> Iterator[None]:
        """Stop the deadline while a person or the platform is asked. Afterwards, the pauses begin short again."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._started += time.monotonic() - began
            self._pauses = 0

    def pause(self, at_least_s: float) -> bool:
        """Pause before a request: `at_least_s`, plus exponential back-off with full jitter (rule 5).

        Return false, without a pause, if the pause would not end before the deadline, and always with `once`.
        """
        longest = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2 ** min(self._pauses, 16))
        wait_s = at_least_s + self._random() * longest
        if self._once or wait_s >= self.left_s():
            return False
        began = time.monotonic()
        self._sleep(wait_s)
        self._skipped_s += max(0.0, wait_s - (time.monotonic() - began))
        self._pauses += 1
        return True


class _KeyLostError(Exception):
    """The key that the login is bound to is not in the storage."""


class _StorageMovedError(Exception):
    """Another process has changed the stored login, so this operation ends."""


# --- The client -------------------------------------------------------------------------------------------------------


class BatonClient:
    """One device of one person at one Baton server. Threads may share an object of this class.

    Several objects with the same `base_url` and `client_id` may share a storage. They then share its login.
    """

    def __init__(  # noqa: PLR0913 - four are for tests
        self,
        base_url: str,
        client_id: str,
        storage: Storage,
        *,
        binding: Binding = "key",
        key: KeyAlgorithm = "p256",
        evidence: MakeEvidence | None = None,
        clock: Callable[[], float] = time.time,
        transport: Transport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        """Use the server at `base_url` as the client `client_id`. `base_url` includes the stage of the API.

        `binding` and `key` are for future logins. `evidence` makes evidence of the app. The client calls `evidence` in
        each call of `attest`, and in a registration or login if the server requires evidence. `clock` returns the
        device's time in seconds and may be wrong. `random` is only for the pauses of repetitions.
        """
        self._origin, self._authority, self._prefix = _parsed_base_url(base_url)
        self._client_id, self._storage, self._binding, self._key = client_id, storage, binding, key
        self._evidence = evidence
        self._clock, self._sleep, self._random = clock, sleep, random
        self._transport: Transport = transport or HttpTransport()
        self._offset_s = 0.0
        self._exchanging = threading.Lock()
        self._revoking, self._revoke_after, self._refused_revocations = threading.Lock(), 0.0, set[str]()
        self._listeners: list[Callable[[State], None]] = []
        self._telling, self._told = threading.RLock(), State(signed_in=False)
        self._told_once = False

    # Logins

    @property
    def session(self) -> Session | None:
        """The login in the storage, if any."""
        return self._stored().session

    def state(self) -> State:
        """Return whether the storage has a login, or else why the last login ended. This needs no network."""
        return self._stored().state

    def on_state(self, listener: Callable[[State], None]) -> Callable[[], None]:
        """Call `listener` with each new state. Return a function that removes `listener`.

        The thread that finds the state calls the listener, so a listener must be quick. Its errors go to
        `sys.excepthook`. The client finds a change by another process when a method next reads the record.
        """
        entry = lambda state: listener(state)  # noqa: E731, PLW0108 - each registration is another object
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    def register(
        self,
        email: str,
        password: str,
        device_name: str,
        *,
        mail_session: str = "",
        code: str = "",
        deadline_s: float | None = DEADLINE_S,
    ) -> "Session | LoginStep":
        """Create an account and log in. A repetition after `Offline` or a crash is safe.

        - If the server refuses with `verification_required`, call `start_registration`, which returns a `mail_session`.
          Then call `register` again, with this `mail_session` and the code from the mail as `code`.
        - If `register` returns a `LoginStep`, enrol a second factor with this step.
        """
        proof = {"mail_session": mail_session, "code": code} if mail_session else {}
        return self._begin("/register", email, password, device_name, self._patience(deadline_s), proof)

    def login(
        self,
        email: str,
        password: str,
        device_name: str,
        *,
        second_factor: Callable[["LoginStep"], Proof | Mapping[str, Any] | None] | None = None,
        deadline_s: float | None = DEADLINE_S,
    ) -> "Session | LoginStep":
        """Log in, and replace the login in the storage. A repetition after `Offline` or a crash is safe.

        If the login needs a second factor, the client calls `second_factor` with a `LoginStep`:

        - The function returns a `Proof` from the person. After a wrong code, the client calls the function again, and
          `step.refusal` is the refusal of this code. After the fifth wrong code, `login` raises the refusal.
        - If the function returns `None`, `login` returns the step, as it does without the function. After a restart,
          `pending_step` returns the step.

        `deadline_s` limits all requests together, without the time that the function takes.
        """
        patience = self._patience(deadline_s)
        step = self._begin("/login", email, password, device_name, patience)
        return self._second_factor(step, second_factor, patience)

    def _second_factor(
        self,
        step: "Session | LoginStep",
        second_factor: Callable[["LoginStep"], Proof | Mapping[str, Any] | None] | None,
        patience: _Patience,
    ) -> "Session | LoginStep":
        """Finish a login that needs a second factor, if the app gave a function for it."""
        wrong = 0
        while isinstance(step, LoginStep) and second_factor is not None:
            with patience.person():
                proof = second_factor(step)
            if proof is None:
                break
            if not isinstance(proof, Proof | Mapping):
                raise TypeError("`second_factor` returns a Proof or a dictionary, or None to cancel.")
            try:
                return step._prove_within(patience, proof)  # noqa: SLF001 - of this module
            except Refused as refusal:
                wrong += 1
                over = wrong == WRONG_PROOFS_MAX or patience.left_s() <= 0
                if refusal.code != "invalid_factor" or over:
                    raise
        return step

    def login_with_passkey(
        self, get: AskPlatform, device_name: str, *, deadline_s: float | None = DEADLINE_S
    ) -> Session:
        """Log in with only a passkey: `get` calls the platform. A repetition after `Offline` or a crash is safe.

        After `Refused` with code `unknown_passkey`, call `signalUnknownCredential` of the platform with the members
        `rp_id` and `credential_id` of the error's `problem`.
        """
        return self._begin_by_credential("/login/passkey", get, device_name, deadline_s)

    def restore(self, get: AskPlatform, device_name: str, *, deadline_s: float | None = DEADLINE_S) -> Session:
        """Restore a login on this new phone: `get` calls the platform for the restore key of the old phone.

        - A repetition after `Offline` or a crash is safe.
        - After `Refused`, let the person log in.
        - If the code of `Refused` is `unknown_passkey`, also let the platform clear the restore key.
        """
        return self._begin_by_credential("/login/restore", get, device_name, deadline_s)

    def provider_nonce(self, provider: str) -> str:
        """Store the attempt of a login, then return its nonce for the sheet of an identity provider.

        Use this only if your app may end while the sheet is open. Afterwards, give the id_token to `login_federated`.
        """
        return self._provider_nonce(provider, self._federated())

    def login_federated(
        self,
        provider: str,
        sign_in: "SignIn | SignedIn",
        device_name: str,
        *,
        create: bool = False,
        second_factor: Callable[["LoginStep"], Proof | Mapping[str, Any] | None] | None = None,
        deadline_s: float | None = DEADLINE_S,
    ) -> "Session | LoginStep":
        """Log in with an account at an identity provider. A repetition after `Offline` or a crash is safe.

        `sign_in` is a function: it gets a nonce, shows the sheet of the provider with this nonce, and returns the
        id_token, or a dictionary with `id_token` and `authorization_code`. If your app called `provider_nonce`,
        `sign_in` is the id_token or this dictionary.

        After `Refused` with code `identity_unknown`, ask the person whether to create an account. If yes, call this
        again with `create=True`.

        The other arguments and the results are those of `login`.
        """
        patience = self._patience(deadline_s)
        # Rule 8: revoke first. A new login with another key does not end the old login.
        self._revoke_waiting(patience.left_s())
        for anew in (callable(sign_in), False):
            record = self._federated()  # Rule 1: attempt and key are stored before the sheet opens.
            nonce = self._provider_nonce(provider, record)
            with patience.person():
                signed = _signed_in(sign_in, nonce)
            device = self._device(record, device_name)
            body = {"provider": provider, **signed, "client_id": self._client_id, "device": device, "create": create}
            try:
                return self._sent_entry("/login/federated", body, record, patience)
            except Refused as refusal:
                if refusal.code != "superseded":
                    step = self._step_after(refusal, record)
                    if step is None:
                        raise
                    return self._second_factor(step, second_factor, patience)
                # Another process has finished this login, or its lineage has ended.
                self._change(partial(_without, finished=record.pending))
                if not anew:
                    raise
        raise AssertionError("the second round returns or raises")

    def _federated(self) -> Record:
        """Return the stored record, with a key and with the attempt of a login at a provider.

        Add the key if the record has none. Make the attempt, unless such a login is in progress.
        """
        if self._binding != "key":
            raise TypeError("A login at an identity provider needs a client with the binding `key`.")
        return self._change(self._pending_for(""))

    def _provider_nonce(self, provider: str, record: Record) -> str:
        assert record.pending is not None
        assert record.key is not None
        keyid, attempt = record.key.thumbprint(), record.pending.attempt
        return _hashed("baton-nonce-v1", provider, self._client_id, keyid, attempt)

    def _begin_by_credential(self, path: str, get: AskPlatform, device_name: str, deadline_s: float | None) -> Session:
        patience = self._patience(deadline_s)
        self._revoke_waiting(patience.left_s())
        for anew in (True, False):
            record = self._change(self._pending_for(""))
            signer = self._introduction(record, by_last=self._binding == "hmac")
            entry = {"client_id": self._client_id, "device": self._device(record, device_name)}
            ask = partial(self._entry_request, signer=signer)
            options = self._ask(ask(f"{path}/options", entry), _with(options=dict), patience)["options"]
            body = {**entry, "credential": dict(get(dict(options)))}
            patience = self._patience(deadline_s)  # The person's time for the gesture does not count.
            try:
                return self._sent_entry(path, body, record, patience)
            except Refused as refusal:
                if refusal.code != "superseded" or not anew:
                    raise
                self._change(partial(_without, finished=record.pending))
        raise AssertionError("the second round returns or raises")

    def _sent_entry(self, path: str, body: Mapping[str, object], record: Record, patience: _Patience) -> Session:
        """Send a login with its attempt. If the server requires evidence of the app, repeat the login with evidence."""
        assert record.pending is not None
        signer = self._introduction(record, by_last=self._binding == "hmac")
        ask = partial(self._entry_request, path, signer=signer, attempt=record.pending.attempt)
        try:
            tokens = self._ask(ask(body), _first_tokens(self._binding), patience)
        except Refused as refusal:
            if refusal.action != "attest" or self._evidence is None:
                raise
            evidence = self._made_evidence(record, patience)
            tokens = self._ask(ask({**body, "attestation": evidence}), _first_tokens(self._binding), patience)
        return self._begun(tokens, record)

    def attest(self, *, deadline_s: float | None = DEADLINE_S) -> str:
        """Attest this login with evidence of the app. Return what is attested now: `app`, `tee` or `strongbox`.

        Call this if a route answers `attestation_required`, or if the login began without evidence.

        - After `Offline`, a repetition is safe.
        - If `attest` raises `Refused` with action `attest`, wait an hour before you call it again.
        """
        evidence = self._made_evidence(self._stored(), self._patience(deadline_s))
        sent = {"attestation": evidence}
        said = self._call("POST", "/attest", _with(attested=str), json=sent, repeat=True, deadline_s=deadline_s)
        return str(said["attested"])

    def pending_step(self) -> "LoginStep | None":
        """Return the step of a login that waits for a second factor, also after a restart.

        Return `None` if no login waits, or if the waiting login has expired.
        """
        pending = self._stored().pending
        if pending is None or not pending.auth_session:
            return None
        over = pending.expires_at is not None and pending.expires_at <= self.now()
        return None if over else self._step(pending)

    def exchange(self, *, deadline_s: float | None = DEADLINE_S) -> Session:
        """Exchange the token now. Do not call this on a timer: `call` exchanges the token when necessary (rule 7).

        For a login without a refresh token, this raises `BatonError`.
        """
        patience = self._patience(deadline_s)
        self._revoke_waiting(patience.left_s())
        return self._exchange(self._current(), patience)

    def logout(self, *, deadline_s: float = REVOCATION_S) -> bool:
        """End this login, also without a network. Return whether the server has confirmed the end.

        `deadline_s` limits the wait for the server. After `False`, your app needs to do nothing: a later method call
        sends the revocation, also after a restart.
        """
        at = int(self.now())
        self._change(lambda now: now.revoked("logout", at))
        with contextlib.suppress(BatonError):  # The record has the revocation.
            return self._revoke_waiting(deadline_s, now=True, once=True) and not self._stored().revocations
        return False

    def logout_everywhere(
        self,
        confirm: "Confirm | None" = None,
        *,
        password: Given | None = None,
        deadline_s: float | None = DEADLINE_S,
    ) -> None:
        """End the logins of all devices. Needs a proof: give `confirm` or `password`, as for `end_device`.

        - After `Offline`, this device keeps its login, but the server may have ended all logins. A repetition is safe.
        - After `LoggedOut`, this device's login had ended before the server could carry out this call. Therefore this
          call ended no other login, even if the reason is `ended_everywhere`. Exception: an earlier call of this
          method that raised `Offline` may have ended all logins.
        """
        ended = self.session
        grants: list[str] = []
        try:
            self._own(
                "POST",
                "/logout",
                json={"everywhere": True},
                confirm=_confirming(password, confirm),
                repeat=True,
                deadline_s=deadline_s,
                granted=grants.append,
            )
        except LoggedOut as over:
            # If the answer to the first sending was lost, the repetition finds that the login has ended. A grant shows
            # that the login was active during this call. Without a grant, the login ended before this call, and other
            # logins may have begun after that end.
            if not (grants and over.confirmed and over.reason == "ended_everywhere"):
                raise
        self._drop(ended)

    def forget(self) -> None:
        """Delete the login on this device without a request. The key or HMAC secret is kept for the next login."""
        self._change(Record.logged_out)

    # Calls

    def call(  # noqa: PLR0913 - each a part of the request, or of its repetition
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
        grant: str | None = None,
        confirm: "Confirm | None" = None,
        idempotency_key: str | None = None,
        repeat: bool | None = None,
        deadline_s: float | None = DEADLINE_S,
    ) -> Answer:
        """Send a signed call and return its 2xx answer.

        - `path`: percent-encoded, appended to `base_url`.
        - `confirm`: called for a proof if the operation requires a step-up.
        - `grant`: a grant from `step_up`.
        - `repeat`: give `True` only if two executions do no harm. `False`: never repeat the call after a lost answer.
        - `idempotency_key`: 16 to 128 visible characters. Give it only to a route that supports it.

        If the answer is lost, the client repeats a safe method, and any call with `repeat=True` or `idempotency_key`.
        Every other call raises `AnswerLost`.
        """
        return self._call(
            method,
            path,
            lambda answer: answer,
            json=json,
            query=query,
            grant=grant,
            confirm=confirm,
            idempotency_key=idempotency_key,
            repeat=repeat,
            deadline_s=deadline_s,
            team=True,
        )

    def step_up(
        self,
        proof: Given,
        method: str,
        path: str,
        *,
        json: object = None,
        attempt: str | None = None,
        deadline_s: float | None = DEADLINE_S,
    ) -> str:
        """Send a proof for one exact request. Return the grant, which is valid for one `call` within five minutes.

        After a lost answer, the server accepts the same code of an authenticator app only with the same `attempt`.
        Therefore, give your own `attempt` in the first call, and the same `attempt` in the repetition.
        """
        digest = content_digest(b"" if json is None else _json_bytes(json))
        operation = {"method": method, "path": self._prefix + path, "digest": digest}
        attempt = attempt or _random_name()
        members = Proof.of(proof).members(
            lambda: self._options("/step-up/options", json={"operation": operation}, deadline_s=deadline_s),
            lambda provider: _hashed(
                "baton-step-up-v1", provider, self._client_id, self._key_id(), attempt, *operation.values()
            ),
        )
        answer = self._call(
            "POST",
            "/step-up",
            _with(grant=str),
            json={"operation": operation, **members},
            idempotency_key=attempt,
            deadline_s=deadline_s,
        )
        return str(answer["grant"])

    def factors(self) -> dict[str, Any]:
        """Read the second factors of the account, and whether its logins need a second factor."""
        return dict(self._call("GET", "/me/factors", _with(second_factor=str)))

    # Identities

    def identities(self) -> dict[str, Any]:
        """Read which identities at providers are linked to the account, and whether the account has a password."""
        return dict(self._call("GET", "/me/identities", _with(identities=list)))

    def link_identity(self, provider: str, sign_in: "SignIn", *, confirm: "Confirm | None" = None) -> None:
        """Link an identity at `provider` to the account. Needs a proof: give `confirm`. A repetition is safe.

        `sign_in` is a function, as for `login_federated`: the person signs in at the provider with the new identity.
        This sign-in does not replace the proof by `confirm`.
        """
        attempt = _random_name()
        nonce = _hashed("baton-nonce-v1", provider, self._client_id, self._key_id(), attempt)
        linked = {"provider": provider, **_signed_in(sign_in, nonce)}
        self._own("POST", "/me/identities", json=linked, confirm=confirm, idempotency_key=attempt)

    def unlink_identity(self, provider: str, *, confirm: "Confirm | None" = None) -> None:
        """Unlink the identity at `provider`. Needs a proof: give `confirm`. Every other login of the account ends."""
        self._own("DELETE", f"/me/identities/{quote(provider, safe='')}", confirm=confirm)

    def _key_id(self) -> str:
        """Return the thumbprint of the key of this login, for the nonce of a provider."""
        session = self._current()
        if session.key_id is None or session.secret is not None:
            raise TypeError("An identity provider needs a login that is bound to a key.")
        return session.key_id

    # Passkeys

    def passkeys(self) -> dict[str, Any]:
        """Read the passkeys, and the arguments for `signalAllAcceptedCredentials` of the platform."""
        return dict(self._call("GET", "/me/passkeys", _with(passkeys=list)))

    def add_passkey(self, create: AskPlatform, name: str = "", *, confirm: "Confirm | None" = None) -> dict[str, Any]:
        """Add a passkey: `create` calls the platform to register one. `confirm` proves a factor first."""
        options = self._options("/me/passkeys/options", confirm=confirm)
        return self._add_passkey(create(options), name)

    def upgrade_to_passkey(self, create: AskPlatform, name: str = "") -> dict[str, Any]:
        """Add a passkey without asking the person (conditional create).

        Call this right after a login by password or at an identity provider. After five minutes, Baton refuses the
        upgrade (`step_up_required`). Your app may ignore every error, also of `create`: the login stays active.
        """
        return self._add_passkey(create(self._options("/me/passkeys/upgrade-options")), name)

    def remove_passkey(self, passkey_id: str, *, confirm: "Confirm | None" = None) -> None:
        """Remove a passkey. Afterwards, call `signalAllAcceptedCredentials` with the arguments from `passkeys()`."""
        self._own("DELETE", f"/me/passkeys/{quote(passkey_id, safe='')}", confirm=confirm)

    def keep_restore_key(self, create: AskPlatform, *, confirm: "Confirm | None" = None) -> None:
        """Make a restore key for this device, and register it at the server.

        `create` calls the platform to make the key. Call this right after a login: five minutes later, this call needs
        `confirm`. Your app may ignore every error: the login stays active.
        """
        credential = dict(create(self._options("/me/restore-key/options", confirm=confirm)))
        self.call("PUT", "/me/restore-key", json={"credential": credential}, confirm=confirm, repeat=True)

    def forget_restore_key(self) -> None:
        """Delete the restore key at the server.

        After this call, and after each logout, also clear the key on the device: on Android, with
        `ClearCredentialStateRequest`.
        """
        self.call("DELETE", "/me/restore-key", repeat=True)

    def _add_passkey(self, credential: Mapping[str, Any], name: str) -> dict[str, Any]:
        json, read = {"credential": dict(credential), "name": name}, _with(id=str)
        return dict(self._call("POST", "/me/passkeys", read, json=json, idempotency_key=_random_name()))

    def _options(
        self,
        path: str,
        *,
        json: object = None,
        confirm: "Confirm | None" = None,
        deadline_s: float | None = DEADLINE_S,
    ) -> dict[str, Any]:
        read = _with(options=dict)
        answer = self._call("POST", path, read, json=json, confirm=confirm, repeat=True, deadline_s=deadline_s)
        return dict(answer["options"])

    def me(self) -> dict[str, Any]:
        """Read the account and this login, such as `email`, `roles` and `acr`."""
        return dict(self._call("GET", "/me", _with(device_id=str)))

    def devices(self) -> list[dict[str, Any]]:
        """List the logins of the account. An ended login has the time and the reason of its end."""
        return list(self._call("GET", "/me/devices", _with(devices=list))["devices"])

    def activity(self, before: str = "") -> dict[str, Any]:
        """Read a page of the events of the account, the newest first.

        To read the next page, give the member `next` of this page as `before`. The last page has no `next`.
        """
        query = {"before": before} if before else None
        return dict(self._call("GET", "/me/activity", _with(events=list), query=query))

    def export_account(self, password: Given) -> dict[str, Any]:
        """Read everything that is stored about the account, without secrets."""
        read = _with(account=dict, events=list)
        return dict(self._call("GET", "/me/export", read, confirm=lambda _: password))

    def end_device(self, device_id: str, confirm: "Confirm | None" = None, *, password: Given | None = None) -> None:
        """End the login of one device. Needs a proof. A repetition is safe.

        Give either `password` or `confirm`. `confirm` is a function that gets a proof from the person.
        """
        path = f"/me/devices/{quote(device_id, safe='')}"
        self._own("DELETE", path, confirm=_confirming(password, confirm), repeat=True)

    def handover(self, client_id: str, next_page: str = "/") -> str:
        """Return a code that logs a browser in to the client `client_id`. It is valid for one minute and one use.

        - System browser: open `<base URL>/session/open#<code>`. The person confirms with a button on this page.
        - Embedded view: load `<base URL>/session/open` with the header `Baton-Handover: <code>`.

        `next_page` is the path that the browser opens afterwards.
        """
        asked = {"client_id": client_id, "next": next_page}
        return str(self._call("POST", "/session/handover", _with(code=str), json=asked, repeat=True)["code"])

    def change_password(self, password: Given, new_password: str) -> None:
        """Change the password and log out every other device. After `AnswerLost`, either password may be valid."""
        self._own("POST", "/me/password", json={"new_password": new_password}, confirm=lambda _: password)

    def delete_account(self, password: Given) -> None:
        """Delete the account. After `AnswerLost`, a repetition raises `LoggedOut` if the first request succeeded."""
        ended = self.session
        self._own("DELETE", "/me", confirm=lambda _: password)
        self._drop(ended, known=False)

    # Mail

    def start_registration(self, email: str, *, language: str = "", deadline_s: float | None = DEADLINE_S) -> str:
        """Send a code to an address. Return the `mail_session` for `register`, which is valid for an hour."""
        return self._request_code("/register/start", email, language, deadline_s)

    def forgot_password(self, email: str, *, language: str = "", deadline_s: float | None = DEADLINE_S) -> str:
        """Send a code to an address, if an account has this address. Return the `mail_session` for `reset_password`.

        The `mail_session` is valid for 20 minutes. It does not show whether an account has the address.
        """
        return self._request_code("/password/forgot", email, language, deadline_s)

    def _request_code(self, path: str, email: str, language: str, deadline_s: float | None) -> str:
        patience = self._patience(deadline_s)
        record = self._change(self._with_key)
        body: dict[str, object] = {"email": email, "client_id": self._client_id, "device": self._device(record, "")}
        request = self._by_key(path, body | ({"language": language} if language else {}), record)
        return str(self._ask(request, _with(mail_session=str), patience)["mail_session"])

    def request_new_address(
        self,
        new_email: str,
        *,
        password: Given | None = None,
        confirm: "Confirm | None" = None,
        language: str = "",
    ) -> str:
        """Send a code to a new address for the account. Return the `mail_session` for `change_address`.

        The `mail_session` is valid for an hour. Needs a proof: give `confirm` or `password`, as for `end_device`.
        """
        body = {"new_email": new_email, **({"language": language} if language else {})}
        asked = _confirming(password, confirm)
        return str(self._call("POST", "/me/email", _with(mail_session=str), json=body, confirm=asked)["mail_session"])

    def change_address(self, mail_session: str, code: str) -> None:
        """Change the address of the account with the code from the new mailbox.

        Only the login that called `request_new_address` can do this.
        """
        self._own("POST", "/me/email/confirm", json={"mail_session": mail_session, "code": code}, repeat=True)

    def reset_password(
        self, mail_session: str, code: str, new_password: str, *, deadline_s: float | None = DEADLINE_S
    ) -> None:
        """Set a new password with the code of the mail. Every login of the account ends: log in afterwards.

        A repetition is safe. After `Refused` with code `invalid_code`, ask the person for the code again. A
        `mail_session` has five tries.
        """
        body = {"mail_session": mail_session, "code": code, "new_password": new_password}
        request = self._by_key("/password/reset", body, self._stored())
        self._ask(request, lambda answer: answer, self._patience(deadline_s))

    def use_link(self, link: str, *, new_password: str | None = None, deadline_s: float | None = DEADLINE_S) -> None:
        """Reset the password, or prove the address of the account, with the link of a mail.

        - With `new_password`, this resets the password.
        - Without `new_password`, this proves the address: the person must be logged in to the account.
        - `link` is the URL, or its part after `#t=`. It works on any device.
        - `Refused` with code `invalid_code` means that the link is no longer valid, is of another account, or is for
          the other use (with or without `new_password`).
        """
        ticket = link.rpartition("#t=")[2]
        if new_password is None:
            self._own("POST", "/me/email/verify", json={"link": ticket}, repeat=True)
            return
        request = self._by_key("/password/reset", {"link": ticket, "new_password": new_password}, self._stored())
        self._ask(request, lambda answer: answer, self._patience(deadline_s))

    def request_address_code(self, *, language: str = "") -> str:
        """Send a code to the account's address. Return the `mail_session` for `verify_address`, valid for an hour."""
        body = {"language": language} if language else {}
        answer = self._call("POST", "/me/email/code", _with(mail_session=str), json=body, repeat=True)
        return str(answer["mail_session"])

    def verify_address(self, mail_session: str, code: str) -> None:
        """Prove the address of the account with the code of the mail. A repetition is safe."""
        self._own("POST", "/me/email/verify", json={"mail_session": mail_session, "code": code}, repeat=True)

    # Time

    def now(self) -> float:
        """Return the server's time in seconds: the clock of this device plus the known offset."""
        return self._clock() + self._offset_s

    def sync_clock(self) -> float:
        """Read the server's time, set the offset that `now` adds, and return this offset in seconds.

        Answers to other requests also correct the offset.
        """
        patience = self._patience(DEADLINE_S)
        self._revoke_waiting(patience.left_s())
        self._ask(lambda created: self._request("GET", "/time", created=created), _timed, patience)
        return self._offset_s

    # Implementation

    def _own(self, method: str, path: str, **named: Any) -> None:
        """Send a signed call to a route of Baton whose answer has nothing to read."""
        self._call(method, path, lambda _: None, **named)

    def _call(  # noqa: C901, PLR0913 - as `call`; one branch for each remedy
        self,
        method: str,
        path: str,
        read: Callable[[Answer], T],
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
        grant: str | None = None,
        confirm: "Confirm | None" = None,
        idempotency_key: str | None = None,
        repeat: bool | None = None,
        deadline_s: float | None = DEADLINE_S,
        team: bool = False,
        granted: Callable[[str], None] = lambda _: None,
    ) -> T:
        """Send a signed call with a usable token, and return what `read` returns for its 2xx answer.

        After a refusal, apply the remedy that the refusal names, and send the call again. `granted` is called with the
        grant of each step-up.
        """
        _checked_path(path)
        key = None if idempotency_key is None else _quoted(idempotency_key)
        patience = self._patience(deadline_s)
        body = b"" if json is None else _json_bytes(json)
        repeatable = (method in SAFE_METHODS or idempotency_key is not None) if repeat is None else repeat
        remedies = {"exchange": 1, "log_in": 1, "step_up": 2}  # Two: a lost answer may have used the first grant.
        proof: Given | None = None
        attempt = _random_name()  # The attempt of the step-up. A repetition with it may send the same code.
        used: Session | None = None

        def prepare(created: int) -> Request:
            nonlocal used
            record = self._stored()  # Rule 2: read storage after the clock, before every request.
            used = _session_of(record)
            fields = {"authorization": f"Bearer {used.access_token}"}
            if key is not None:
                fields["idempotency-key"] = key
            if grant is not None:
                fields["baton-grant"] = grant
            return self._request(
                method, path, body, created=created, query=query, fields=fields, signer=self._signer(record)
            )

        while True:
            self._usable(patience)  # Rule 7.
            try:
                return self._ask(prepare, read, patience, repeat=repeatable, keyed=key is not None, team=team)
            except Refused as refusal:
                if used is None:
                    raise
                if remedies.get(refusal.action, 0) == 0:
                    if self._stored().session == used:
                        self._session_after(refusal, used)  # The second `log_in`: the newer `Session` has ended too.
                    raise
                remedies[refusal.action] -= 1
                if refusal.action == "exchange" and used.refresh_token is not None:
                    self._exchange(used, patience)
                elif refusal.action == "step_up" and confirm is not None:
                    if grant is not None and refusal.code == "step_up_required":
                        proof = None  # The grant is too old or too weak: ask again.
                    if proof is None:
                        proof = confirm(refusal)
                        if proof is None:
                            raise
                        proof = Proof.of(proof)
                        patience = self._patience(deadline_s)  # The person's time for the input does not count.
                    left_s = patience.left_s()
                    grant = self.step_up(proof, method, path, json=json, attempt=attempt, deadline_s=left_s)
                    granted(grant)
                else:
                    self._session_after(refusal, used)

    def _begin(
        self,
        path: str,
        email: str,
        password: str,
        device_name: str,
        patience: _Patience,
        more: Mapping[str, object] | None = None,
    ) -> "Session | LoginStep":
        """Register or log in, with one attempt for all repetitions, also after a restart."""
        # Rule 8: revoke first. A new login with another key does not end the old login.
        self._revoke_waiting(patience.left_s())
        address = unicodedata.normalize("NFKC", email).strip().lower()
        anew, by_last = True, path == "/login" and self._binding == "hmac"
        more = dict(more or {})
        while True:
            # Rule 1: attempt and key are stored before they are sent.
            record = self._change(self._pending_for(address, path.removeprefix("/")))
            signer = self._introduction(record, by_last=by_last)
            request = self._entry(path, record, email, password, device_name, signer=signer, more=more)
            try:
                tokens = self._ask(request, _first_tokens(self._binding), patience)
            except Refused as refusal:
                if by_last and signer and refusal.error in {"invalid_signature", "stale_signature"}:
                    by_last = False  # The server cannot verify the last secret any more. It is not needed to log in.
                elif refusal.action == "attest" and "attestation" not in more and self._evidence is not None:
                    more["attestation"] = self._made_evidence(record, patience)
                elif refusal.code == "superseded" and anew:
                    anew = False  # Another process has finished this login, or its lineage has ended.
                    pending, record = record.pending, self._stored()
                    if record.pending != pending and record.session is not None:
                        return record.session
                    self._change(partial(_without, finished=pending))
                else:
                    step = self._step_after(refusal, record)
                    if step is None:
                        raise
                    return step
            else:
                return self._begun(tokens, record)

    def _made_evidence(self, record: Record, patience: _Patience) -> Mapping[str, object]:
        """Get a challenge, and make evidence for the key of the device."""
        if self._evidence is None:
            raise TypeError("Give the client a function `evidence`.")
        ask = self._by_key("/attestation-challenge", {"client_id": self._client_id}, record)
        challenge = self._ask(ask, _with(attestation_challenge=str), patience)["attestation_challenge"]
        with patience.person():  # The platform may ask its own server.
            return dict(self._evidence(challenge, record.key))

    def _pending_for(self, email: str, kind: str = "login") -> Callable[[Record], Record]:
        """Return a function for `_change` that stores the attempt of a login, and a key if the record needs a key.

        If the same login is already in progress (`same_login`), the function keeps the attempt of that login.
        """
        fresh = Pending(email, self._client_id, self._binding, _random_name(), kind=kind)

        def begun(record: Record) -> Record:
            same = record.pending is not None and record.pending.same_login(fresh)
            return replace(self._with_key(record), pending=record.pending if same else fresh)

        return begun

    def _step_after(self, refusal: Refused, sent: Record) -> "LoginStep | None":
        """If a refusal requires a factor, store its `auth_session` and return the step. Otherwise return `None`."""
        problem = {name: value for name, value in refusal.problem.items() if name != "auth_session"}
        session, left = refusal.problem.get("auth_session"), problem.get("expires_in")
        if refusal.action not in {"prove_factor", "enrol_factor"} or type(session) is not str or sent.pending is None:
            return None
        factors, enrol = (
            tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()
            for listed in (problem.get("factors"), problem.get("enrol"))
        )
        expires_at = int(self.now()) + (left if type(left) is int else STEP_LIFE_S)
        told = replace(
            sent.pending, auth_session=session, factors=factors, enrol=enrol, expires_at=expires_at, problem=problem
        )

        def waiting(now: Record) -> Record:
            return replace(now, pending=told) if now.pending and now.pending.attempt == told.attempt else now

        self._change(waiting)
        return self._step(told)

    def _step(self, pending: Pending) -> "LoginStep":
        def enrol(kind: str, patience: _Patience) -> dict[str, Any]:
            read = _with(enrolment=str, **({"options": dict} if kind == "passkey" else {"secret": str}))
            return dict(self._second_step("/login/enrol", {"kind": kind}, read, patience)[0])

        def options(patience: _Patience) -> dict[str, Any]:
            answer, _ = self._second_step("/login/factor/options", {}, _with(options=dict), patience)
            return dict(answer["options"])

        def send_code(patience: _Patience) -> float:
            return float(self._second_step("/login/email-code", {}, _with(expires_in=int), patience)[0]["expires_in"])

        def prove(members: Mapping[str, object], patience: _Patience) -> tuple[Session, Mapping[str, Any]]:
            before = self._stored().pending
            try:
                tokens, record = self._second_step("/login/factor", members, _first_tokens(self._binding), patience)
            except Refused as refusal:
                now = self._stored()
                if refusal.code != "superseded" or now.session is None or now.pending == before:
                    raise
                return now.session, {}  # Another process has finished this login.
            return self._begun(tokens, record), tokens

        return LoginStep(
            pending, enrol=enrol, options=options, prove=prove, send_code=send_code, patience=self._patience
        )

    def _second_step(
        self, path: str, members: Mapping[str, object], read: Callable[[Answer], T], patience: _Patience
    ) -> tuple[T, Record]:
        """Send a step of a login that needs a factor, with its key and attempt. Return the answer and the record."""
        record = self._stored()
        pending = record.pending
        if pending is None or pending.auth_session is None:
            raise NotLoggedIn("No login waits for a second factor: log in.")
        body = _json_bytes({"auth_session": pending.auth_session, **members})
        fields = {"idempotency-key": _quoted(pending.attempt)}
        signer = self._introduction(record, by_last=self._binding == "hmac")
        try:
            answer = self._ask(
                lambda created: self._request("POST", path, body, created=created, fields=fields, signer=signer),
                read,
                patience,
            )
        except Refused as refusal:
            self._step_after(refusal, record)
            if refusal.code == "invalid_session":  # Begin anew, with the password.
                self._change(partial(_without, finished=pending))
            raise
        return answer, record

    def _introduction(self, record: Record, *, by_last: bool) -> Signer | None:
        """Return the signer of a registration or login: the device's key, the last HMAC secret, or `None`."""
        if self._binding == "key" and record.key is not None:
            return Signer(record.key.thumbprint(), record.key.sign)
        last = record.last_secret
        return _secret_signer(last.key_id, last.secret) if by_last and last is not None else None

    def _with_key(self, record: Record) -> Record:
        """Return the record. If logins are bound to a key and the record has no usable key, add a new key."""
        has = record.key is not None and record.key.opens
        return record if has or self._binding != "key" else replace(record, key=DeviceKey.generate(self._key))

    def _by_key(self, path: str, members: Mapping[str, object], record: Record) -> Callable[[int], Request]:
        """Prepare a request without a token. The key of the device signs it, if there is a key."""
        body, signer = _json_bytes(members), self._introduction(record, by_last=False)
        return lambda created: self._request("POST", path, body, created=created, signer=signer)

    def _device(self, record: Record, name: str) -> dict[str, object]:
        """Return the member `device` of a request, such as a registration or a login."""
        device: dict[str, object] = {"name": name}
        if self._binding == "key" and record.key is not None:
            device["public_key"] = record.key.jwk()  # Proved by the signature of the request that contains the key.
        elif self._binding == "hmac":
            device["binding"] = "hmac"
        return device

    def _entry(  # noqa: PLR0913 - each a part of the request
        self,
        path: str,
        record: Record,
        email: str,
        password: str,
        device_name: str,
        *,
        signer: Signer | None,
        more: Mapping[str, object],
    ) -> Callable[[int], Request]:
        device = self._device(record, device_name)
        entry = {"email": email, "password": password, "client_id": self._client_id, "device": device, **more}
        attempt = record.pending.attempt if record.pending else None
        return self._entry_request(path, entry, signer=signer, attempt=attempt)

    def _entry_request(
        self, path: str, entry: Mapping[str, object], *, signer: Signer | None, attempt: str | None = None
    ) -> Callable[[int], Request]:
        """Prepare the request of a login, without a token. `signer` signs it, if there is a signer."""
        body, fields = _json_bytes(entry), {"idempotency-key": _quoted(attempt)} if attempt else {}
        return lambda created: self._request("POST", path, body, created=created, fields=fields, signer=signer)

    def _begun(self, tokens: Mapping[str, Any], sent: Record) -> Session:
        """Store a finished login, if the storage still has the attempt of this login, and return the login.

        If the attempt is gone, another process may have stored this login already: return the stored login. If the
        storage has another login or none, raise `NotLoggedIn`.
        """
        attempt = sent.pending.attempt if sent.pending else None
        session = Session(
            device_id=tokens["device_id"],
            key_id=sent.key.thumbprint() if self._binding == "key" and sent.key else tokens.get("key_id"),
            secret=tokens.get("secret"),
            **self._born(tokens),
        )
        record = self._change(
            lambda now: (
                replace(now, session=session, pending=None, last=None, ended=None)
                if (now.pending.attempt if now.pending else None) == attempt
                else now
            )
        )
        if record.session is None or record.session.device_id != session.device_id:
            raise NotLoggedIn("Another login on this storage overtook this one.")
        return record.session

    def _exchange(self, parent: Session, patience: _Patience) -> Session:
        """Exchange `parent` for its child, or return what another process has stored in its place."""
        if not self._exchanging.acquire(timeout=min(max(0.0, patience.left_s()), threading.TIMEOUT_MAX)):  # Rule 2.
            raise Offline("Another thread waits for the answer to an exchange. The login is kept.")
        try:
            for asked in range(2):
                try:
                    return self._exchanged(parent, patience)
                except Refused as refusal:
                    if refusal.code != "superseded":
                        return self._session_after(refusal, parent)
                standing = self._current()
                if standing != parent:  # Rule 6: another process has stored another token.
                    return standing
                if asked == 0 and not patience.pause(MOMENT_S):  # Rule 8: try once more after a short wait.
                    raise Offline("No time was left to repeat the exchange after `superseded`. The login is kept.")
            return self._session_after_copy(parent, patience)
        except _StorageMovedError:
            return self._current()
        finally:
            self._exchanging.release()

    def _exchanged(self, parent: Session, patience: _Patience) -> Session:
        tokens = self._ask(lambda created: self._exchange_request(parent, created), _tokens, patience)
        child = replace(parent, **self._born(tokens, parent.refresh_token))
        return _session_of(  # Rules 3 and 4: store the child if the parent is still stored, and use it only afterwards.
            self._change(lambda now: replace(now, session=child) if now.session == parent else now)
        )

    def _exchange_request(self, parent: Session, created: int) -> Request:
        record = self._stored()  # Rule 2: read storage after the clock, before every request.
        if record.session != parent:
            raise _StorageMovedError
        if parent.refresh_token is None:
            raise BatonError("This kind of login is not renewed.")
        form = {"grant_type": "refresh_token", "refresh_token": parent.refresh_token, "client_id": self._client_id}
        attempt = _quoted(parent.attempt)
        return self._form_request("/oauth/token", form, created, signer=self._signer(record), idempotency_key=attempt)

    def _session_after_copy(self, parent: Session, patience: _Patience) -> Session:
        """Act on a second `superseded` (rule 8): revoke the login and raise, or return newer tokens from the storage.

        Let g be the generation of `parent`. Baton answers `superseded` only after generation g+1 was exchanged too.
        Only a process that has stored g+1 can exchange g+1 (rule 4). This storage still has g. Therefore, the process
        that exchanged g+1 uses a copy of this record.
        """
        at, token = int(self.now()), parent.refresh_token or parent.access_token
        record = self._change(lambda now: now.revoked("reuse", at) if now.session == parent else now)
        if record.session is not None:
            return record.session
        if all(revocation.token != token for revocation in record.revocations):
            raise NotLoggedIn("Another process has ended this session.")
        self._revoke_waiting(patience.left_s(), now=True)
        waiting = any(revocation.token == token for revocation in self._stored().revocations)
        raise LoggedOut("reuse", confirmed=not waiting)

    def _revoke_waiting(self, left_s: float, *, now: bool = False, once: bool = False) -> bool:
        """Send the stored revocations (rule 8). No error of these requests reaches the caller.

        After a lost answer, a call without `now` sends nothing for half a minute. With `once`, each revocation is sent
        only once. Return false if a revocation was given up, because its key is missing or the revocation is too old.
        """
        if not now and time.monotonic() < self._revoke_after:
            return True
        if not self._stored().revocations:
            return True
        wait_s = min(REVOCATION_S, max(0.0, left_s))
        if not self._revoking.acquire(timeout=wait_s if now and not once else 0):  # Another thread sends.
            return True
        possible = True
        try:
            for revocation in self._stored().revocations:
                signer, sendable = self._revoker(revocation)
                possible = possible and sendable
                if revocation.token in self._refused_revocations:
                    continue
                if not sendable or self._answered(revocation, signer, wait_s, once=once):
                    self._change(partial(_without_revocation, token=revocation.token))
        except (Offline, AnswerLost):
            self._revoke_after = time.monotonic() + REVOCATION_REST_S
        finally:
            self._revoking.release()
        return possible

    def _revoker(self, revocation: Revocation) -> tuple[Signer | None, bool]:
        """Return the signer of a revocation, and whether a request can still revoke this login."""
        if revocation.since and self.now() - revocation.since > REVOCATION_LIFE_S:
            return None, False
        try:
            return revocation.signer(self._stored().key), True
        except _KeyLostError:
            return None, False

    def _answered(self, revocation: Revocation, signer: Signer | None, wait_s: float, *, once: bool) -> bool:
        """Send a revocation. Return whether Baton has confirmed the end of the login."""
        form = {"token": revocation.token, "client_id": self._client_id}
        request = partial(self._form_request, "/oauth/revoke", form, signer=signer)
        try:
            self._ask(request, lambda answer: answer, self._patience(wait_s, once=once))
        except Refused as refusal:
            if _ends_session(refusal):
                return True
            if refusal.action in {"retry", "sync_clock"}:
                self._revoke_after = time.monotonic() + REVOCATION_REST_S
            else:
                self._refused_revocations.add(revocation.token)  # Until the app restarts.
            return False
        return True

    def _usable(self, patience: _Patience) -> None:
        """Exchange the token if it has expired or expires soon.

        If the answer took long, the child may have expired too: then exchange the child, but no further token.
        """
        self._revoke_waiting(patience.left_s())
        for _ in range(2):
            session = self._current()
            if session.refresh_token is None or self.now() < session.expires_at - EARLY_S:
                return
            self._exchange(session, patience)

    def _session_after(self, refusal: Refused, used: Session) -> Session:
        """Act on the refusal of a request that used the token of `used` (rule 6).

        - If the refusal ends no login, raise the refusal.
        - If the record still has `used`, remove this login from the record, and raise `LoggedOut`.
        - If another process has stored another `Session`, return the stored `Session`.
        - If another process has removed the login, raise `LoggedOut`.
        """
        if _ends_session(refusal):
            told = refusal.problem.get("reason")
            reason = "reuse" if refusal.code == "token_reused" else str(told or refusal.code)
            at = int(self.now())
            record = self._change(lambda now: now.logged_out(reason, at) if now.session == used else now)
            if record.session is None:
                raise LoggedOut(reason) from refusal
            return record.session
        raise refusal

    def _ask(  # noqa: C901 - one branch for each row of the rules
        self,
        prepare: Callable[[int], Request],
        read: Callable[[Answer], T],
        patience: _Patience,
        *,
        repeat: bool = True,
        keyed: bool = False,
        team: bool = False,
    ) -> T:
        """Send a request with a new signature each time, until there is an answer to act on (rule 5)."""
        synced, defects = False, 0
        while True:
            request = prepare(int(self.now()))  # Rule 2: first the time. Then `prepare` reads storage, and signs.
            trouble: NoResponse | Refused
            try:
                answer = self._send(request, patience, team=team)
                if answer.status < 300:
                    return read(answer)
                trouble = Refused(answer)
            except NoResponse as lost:
                trouble = lost
            if isinstance(trouble, Refused):
                if trouble.action == "sync_clock" and not synced:
                    synced = True  # Rule 6: `_send` has set the offset from this answer. Sign again, once.
                    continue
                if trouble.action not in {"retry", "check_outcome"} or trouble.code == "superseded":
                    raise trouble
            defects = defects + 1 if trouble.defect else 0
            unclear = isinstance(trouble, Refused) and trouble.action == "check_outcome" and not trouble.defect
            if not (repeat or trouble.untouched) or (keyed and (unclear or defects == DEFECTS_MAX)):
                raise AnswerLost(f"The call may have been carried out, or not: {trouble}", trouble) from trouble
            if isinstance(trouble, Refused) and defects == DEFECTS_MAX:
                raise trouble
            if not patience.pause(trouble.retry_after_s):
                if isinstance(trouble, Refused) and trouble.untouched:
                    raise trouble
                raise Offline(f"No answer in time. The login is kept. Last problem: {trouble}", trouble) from trouble

    def _send(self, request: Request, patience: _Patience, *, team: bool = False) -> Answer:
        before = self._clock()
        try:
            answer = self._transport(request, max(0.1, min(SEND_TIMEOUT_S, patience.left_s())))
        except OSError as error:
            raise NoResponse(f"{type(error).__name__}: {error}") from error
        foreign = answer.foreign(team=team)
        if foreign is not None:  # Rule 9.
            raise NoResponse(f"the answer is not Baton's: {foreign}")
        stated, after = answer.server_time(), self._clock()
        # Only a time that contradicts the known offset changes the offset. A slow answer alone is no contradiction.
        if stated is not None and not before + self._offset_s - 1 <= stated <= after + self._offset_s + 1:
            self._offset_s = stated - (before + after) / 2
        return answer

    def _request(  # noqa: PLR0913 - each a part of the request
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        created: int,
        query: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        signer: Signer | None = None,
    ) -> Request:
        _checked_path(path)
        url = self._origin + self._prefix + path + (f"?{_query(query)}" if query else "")
        headers = {"host": self._authority, "accept": "application/json, application/problem+json"}
        if body:
            headers |= {"content-type": "application/json", "content-digest": content_digest(body)}
        request = Request(method, url, {**headers, **(fields or {})}, body)
        if signer is None:
            return request
        proof = signature_fields(request, signer, created=created, nonce=_random_name())
        return replace(request, headers={**request.headers, **proof})

    def _form_request(
        self, path: str, form: Mapping[str, str], created: int, *, signer: Signer | None, **fields: str
    ) -> Request:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        named["content-type"] = "application/x-www-form-urlencoded"
        return self._request("POST", path, urlencode(form).encode(), created=created, fields=named, signer=signer)

    def _drop(self, ended: Session | None, *, known: bool = True) -> None:
        """Remove the login `ended` from the storage. If the storage now has another login, keep that login (rule 3).

        `known=False`: also delete the last HMAC secret, because the account of the secret no longer exists.
        """

        def dropped(record: Record) -> Record:
            if ended is None or record.session is None or record.session.device_id != ended.device_id:
                return record
            return record.logged_out() if known else replace(record.logged_out(), last=None)

        self._change(dropped)

    def _signer(self, record: Record) -> Signer | None:
        """Return the signer of the stored login. `None`: the login is unbound. Raise `LoggedOut` if the key is lost."""
        session = _session_of(record)
        try:
            return _signer_of(session.key_id, session.secret, record.key)
        except _KeyLostError:
            at = int(self.now())
            self._change(lambda now: now.logged_out("key_lost", at) if now.session == session else now)
            raise LoggedOut("key_lost", confirmed=False) from None  # Rule 6: the server does not report this end.

    def _born(self, tokens: Mapping[str, Any], refresh_token: str | None = None) -> dict[str, Any]:
        """Return the members of a `Session` that each token answer replaces, with a new attempt (rule 1).

        `refresh_token` is for an answer that has no refresh token.
        """
        return {
            "access_token": tokens["access_token"],
            "refresh_token": tokens.get("refresh_token", refresh_token),
            "expires_at": (_seconds(tokens.get("server_time")) or int(self.now())) + tokens["expires_in"],
            "attempt": _random_name(),
        }

    def _current(self) -> Session:
        return _session_of(self._stored())

    def _patience(self, deadline_s: float | None, *, once: bool = False) -> _Patience:
        return _Patience(deadline_s, self._sleep, self._random, once=once)

    # The record

    def _stored(self) -> Record:
        """Read the record."""
        with _storage_trouble():
            record = self._storage.read()
        self._tell(record)
        return record

    def _change(self, change: Callable[[Record], Record]) -> Record:
        """Change the record, then tell the listeners."""

        def changed(before: Record) -> Record:
            if not self._told_once:  # The state that the app has seen until now.
                self._told, self._told_once = before.state, True
            return change(before)

        with _storage_trouble():
            record = self._storage.update(changed)
        self._tell(record)
        return record

    def _tell(self, record: Record) -> None:
        state = record.state
        if not self._told_once:
            self._told, self._told_once = state, True
        if state == self._told:
            return
        with self._telling:
            if self._listeners:  # Another thread may have changed the record: the listeners get the newest state.
                with contextlib.suppress(BatonError), _storage_trouble():
                    state = self._storage.read().state
            if state == self._told:
                return
            self._told = state
            for listener in tuple(self._listeners):
                try:
                    listener(state)
                except Exception:  # noqa: BLE001 - an error of the app, which must not undo a login
                    sys.excepthook(*sys.exc_info())


class LoginStep:
    """The second step of a login, which proves or enrols a factor. The step survives a restart, until `expires_at`.

    - `factors`: the kinds of factors that the account can prove.
    - `enrol`: the kinds of factors that the account can enrol.
    - `expires_at`: the time at which this unfinished login expires, in seconds of the server's clock.
    - `problem`: the answer that asked for a factor.
    - `refusal`: the refusal of the last proof. `None` before the first proof and after a restart.
    - `recovery_codes`: the codes that an enrolment made. Show them once.
    - `recovery_codes_left`: after a login with a recovery code, the number of unused codes. Otherwise `None`.
    """

    done = False  # A `Session`, the other result of `login`, has `done = True`.

    def __init__(
        self,
        pending: Pending,
        *,
        enrol: Callable[[str, _Patience], dict[str, Any]],
        options: Callable[[_Patience], dict[str, Any]],
        prove: Callable[[Mapping[str, object], _Patience], tuple[Session, Mapping[str, Any]]],
        send_code: Callable[[_Patience], float],
        patience: Callable[[float | None], _Patience],
    ) -> None:
        """Store the pending login, and the functions of the client that continue this login."""
        self.problem, self._enrol, self._options, self._prove = pending.problem or {}, enrol, options, prove
        self._send_code, self._patience = send_code, patience
        self.factors, self.enrol, self.expires_at = pending.factors, pending.enrol, pending.expires_at
        self.refusal: Refused | None = None
        self.recovery_codes: tuple[str, ...] = ()
        self.recovery_codes_left: int | None = None

    def send_email_code(self, *, deadline_s: float | None = DEADLINE_S) -> float:
        """Send a code to the address of the account, and return the life of the code in seconds.

        Call this if `factors` contains `email_code`.
        """
        return self._send_code(self._patience(deadline_s))

    def prove_email(self, code: str, *, deadline_s: float | None = DEADLINE_S) -> None:
        """Prove the mailbox with the code of `send_email_code`, so that the login may enrol a factor.

        After the right code, `factors` is empty: call `enrolment` or `enrol_passkey`. After a wrong code (`Refused`,
        `invalid_code`), call this again.
        """
        try:
            self._prove({"email_code": code}, self._patience(deadline_s))
        except Refused as refusal:
            if refusal.code != "enrolment_required" or "factors" in refusal.problem:
                self.refusal = refusal
                raise
            self.factors, self.refusal = (), None

    def enrolment(self, *, deadline_s: float | None = DEADLINE_S) -> dict[str, Any]:
        """Return the data for an authenticator app: `secret`, `otpauth_uri` for a QR code, `enrolment` for `Proof`."""
        return self._enrol("totp", self._patience(deadline_s))

    def enrol_passkey(
        self, create: AskPlatform, *, remember_device: bool = True, deadline_s: float | None = DEADLINE_S
    ) -> Session:
        """Enrol a passkey, and return the `Session`. `create` calls the platform to register the passkey."""
        patience = self._patience(deadline_s)
        begun = self._enrol("passkey", patience)
        with patience.person():
            credential = create(dict(begun["options"]))
        proof = Proof(passkey=lambda _: credential, enrolment=begun["enrolment"])
        return self._prove_within(patience, proof, remember_device=remember_device)

    def prove(
        self, proof: Proof | Mapping[str, Any], *, remember_device: bool = True, deadline_s: float | None = DEADLINE_S
    ) -> Session:
        """Prove a factor, and return the `Session`.

        To enrol an authenticator app, give a `proof` with two members: `enrolment`, from the result of `enrolment()`,
        and `totp`, the first code of the app.

        - After `Refused` with code `invalid_factor`, the code was wrong or already used. Ask the person for another
          code, then call this again.
        - After `Refused` with code `invalid_passkey` or `unknown_passkey`, Baton did not accept the passkey. The person
          may prove another factor of `factors`: then call this again.
        - After `Refused` with code `invalid_session`, log in again.
        """
        return self._prove_within(self._patience(deadline_s), proof, remember_device=remember_device)

    def _prove_within(
        self, patience: _Patience, given: Proof | Mapping[str, Any], *, remember_device: bool = True
    ) -> Session:
        """Prove a factor as `prove` does, within the time that the caller has left. Only this client calls this."""
        proof = Proof.of(given)
        asked = proof.passkey if callable(proof.passkey) else None

        def options() -> dict[str, Any]:
            return {} if proof.enrolment else self._options(patience)  # `enrol_passkey` has fetched its options.

        def ask(offered: dict[str, Any]) -> Mapping[str, Any]:
            with patience.person():
                return asked(offered) if asked else {}

        members = (replace(proof, passkey=ask) if asked else proof).members(options)
        try:
            session, tokens = self._prove({**members, "remember_device": remember_device}, patience)
        except Refused as refusal:
            self.refusal = refusal
            raise
        self.refusal, self.recovery_codes = None, tuple(tokens.get("recovery_codes", ()))
        self.recovery_codes_left = tokens.get("recovery_codes_left")
        return session


def _session_of(record: Record) -> Session:
    if record.session is None:
        raise NotLoggedIn("This device has no login: log in.")
    return record.session


def _signer_of(key_id: str | None, secret: str | None, key: DeviceKey | None) -> Signer | None:
    """Return the signer of a login: its secret, or the device's key. `None` for an unbound login."""
    if key_id is None:
        return None
    if secret is not None:
        return _secret_signer(key_id, secret)
    if key is None or not key.opens or key.thumbprint() != key_id:
        raise _KeyLostError
    return Signer(key_id, key.sign)


@contextlib.contextmanager
def _storage_trouble() -> Iterator[None]:
    """Pass on the errors of this client. Any other error becomes `StorageUnavailable`, and ends no login."""
    try:
        yield
    except BatonError:
        raise
    except Exception as error:
        raise StorageUnavailable(
            f"The storage cannot be used now ({type(error).__name__}: {error}). The login is kept: repeat the call."
        ) from error


def _secret_signer(key_id: str, secret: str) -> Signer:
    raw = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    return Signer(key_id, lambda message: hmac.digest(raw, message, "sha256"))


def _without(record: Record, finished: Pending | None) -> Record:
    """Remove the login in progress `finished`, if the record still has it."""
    return replace(record, pending=None) if record.pending == finished else record


def _without_revocation(record: Record, token: str) -> Record:
    """Remove a revocation that needs no further request."""
    return replace(record, revocations=tuple(one for one in record.revocations if one.token != token))


def _ends_session(refusal: Refused) -> bool:
    """Return whether a refusal of the login's own token ends the login (rule 6). Other refusals end no login."""
    return refusal.action == "log_in" and refusal.error in {"invalid_token", "invalid_grant"}


def _confirming(password: Given | None, confirm: "Confirm | None") -> "Confirm | None":
    return confirm if password is None else lambda _: password


def _hashed(*lines: str) -> str:
    """Return the nonce for an identity provider: the SHA-256 of these lines, in base64url."""
    return _base64url(hashlib.sha256("\n".join(lines).encode()).digest())


def _signed_in(sign_in: "SignIn | SignedIn", nonce: str) -> dict[str, str]:
    """Return what the sheet of a provider returned for a nonce, as a dictionary.

    The members are the text `id_token` and, optionally, the text `authorization_code`. Otherwise, raise `TypeError`.
    """
    given = sign_in(nonce) if callable(sign_in) else sign_in
    signed: dict[str, Any] = {"id_token": given} if isinstance(given, str) else dict(given)
    known = {name: signed[name] for name in ("id_token", "authorization_code") if isinstance(signed.get(name), str)}
    if "id_token" not in known or len(known) != len(signed):
        raise TypeError("`sign_in` returns the id_token, or a dictionary with `id_token` and `authorization_code`.")
    return known


def _with(**members: type) -> Callable[[Answer], Mapping[str, Any]]:
    """Make a reader: a function that returns the members of an answer, if these members have these types.

    Otherwise the answer was changed on its way and counts as lost: the function raises `NoResponse`.
    """

    def read(answer: Answer) -> Mapping[str, Any]:
        found = answer.members()
        for name, kind in members.items():
            if type(found.get(name)) is not kind:
                raise NoResponse(f"the answer has no `{name}`")
        return found

    return read


_tokens = _with(access_token=str, expires_in=int)
"""Reads a token response (RFC 6749 section 5.1). Other members, such as `refresh_token_timeout`, are ignored."""


def _first_tokens(binding: Binding) -> Callable[[Answer], Mapping[str, Any]]:
    """Make a reader of the answer to a registration or login. For an HMAC login, only this answer has the secret."""
    named: dict[str, type] = {"access_token": str, "expires_in": int, "device_id": str}
    return _with(**named, **({"key_id": str, "secret": str} if binding == "hmac" else {}))


def _timed(answer: Answer) -> Answer:
    if answer.server_time() is None:
        raise NoResponse("the answer has no time")
    return answer
