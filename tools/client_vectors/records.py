"""Vectors of the record in which a client stores its login: ``record.json``."""

# ruff: noqa: E501 - a table: one vector, one line
import json
from typing import Any, Final

PKCS8: Final = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIffH1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGD"
    "y+5v20t7WAczNXvp7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt"
)
JWK: Final = {
    "crv": "P-256",
    "kty": "EC",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
SESSION: Final[dict[str, Any]] = {
    "device_id": "d1",
    "access_token": "t1",
    "expires_at": 1_800_000_900,
    "attempt": "attempt-attempt-1",
    "key_id": "k1",
    "secret": None,
}
PENDING: Final[dict[str, Any]] = {
    "email": "ada@example.com",
    "client_id": "mobile",
    "binding": "key",
    "attempt": "attempt-attempt-2",
    "auth_session": None,
}
KEY: Final[dict[str, Any]] = {"store": "pkcs8", "data": PKCS8, "jwk": JWK}
EMPTY: Final[dict[str, Any]] = {
    "v": 2,
    "session": None,
    "key": None,
    "pending": None,
    "last": None,
    "revocations": [],
    "ended": None,
}


def _good(name: str, given: object, **expect: object) -> dict[str, Any]:
    return {"name": name, "text": json.dumps(given), "expect": {**EMPTY, **expect}}


def vectors() -> list[dict[str, Any]]:
    """List records of versions 1 and 2, and broken records: malformed records, and records of any other version."""
    old = {"session": None, "pending": None, "key": None}
    once = {**SESSION, "refresh_token": "t1"}
    two = {**SESSION, "refresh_token": "r1"}
    last = {"key_id": "k1", "secret": "c2VjcmV0"}
    revocation = {"token": "t0", "key_id": "k1", "secret": None, "since": 1_800_000_000}
    ended = {"reason": "reuse", "at": 1_800_000_000}
    good = [
        _good("v1: empty", old),
        _good("v1: no members of later versions", {**old, "last": None, "revocations": []}),
        _good("v1: a session whose token stands twice", {**old, "session": once}, session=SESSION),
        _good("v1: a session with a refresh token", {**old, "session": two}, session=two),
        _good("v1: nothing renews it", {**old, "session": {**SESSION, "refresh_token": None}}, session={**SESSION, "refresh_token": None}),
        _good("v1: a key", {**old, "key": {"pkcs8": PKCS8}}, key=KEY),
        _good("v1: a login in progress", {**old, "pending": PENDING}, pending={"kind": "login", **PENDING}),
        _good("v1: a login that needs a factor", {**old, "pending": {**PENDING, "auth_session": "as.1", "problem": {"code": "factor_required", "factors": ["totp"]}}}, pending={"kind": "login", **PENDING, "auth_session": "as.1"}),
        _good("v1: the last secret", {**old, "last": last}, last=last),
        _good("v1: a revocation with its key", {**old, "revocations": [{"session": once, "key": {"pkcs8": PKCS8}}]}, revocations=[{"token": "t1", "key_id": "k1", "secret": None, "since": 0, "key": KEY}]),
        _good("v2: empty", EMPTY),
        _good("v2: absent members are empty", {"v": 2}),
        _good("v2: a session", {**EMPTY, "session": SESSION}, session=SESSION),
        _good("v2: a session with a refresh token", {**EMPTY, "session": two}, session=two),
        _good("v2: a key of the platform", {**EMPTY, "key": {"store": "webcrypto", "data": "id", "jwk": JWK}}, key={"store": "webcrypto", "data": "id", "jwk": JWK}),
        _good("v2: a login that needs a factor", {**EMPTY, "pending": {"kind": "login", **PENDING, "auth_session": "as.1"}}, pending={"kind": "login", **PENDING, "auth_session": "as.1"}),
        _good("v2: a revocation", {**EMPTY, "revocations": [revocation]}, revocations=[revocation]),
        _good("v2: an end", {**EMPTY, "ended": ended}, ended=ended),
    ]  # fmt: skip
    broken: tuple[tuple[str, str], ...] = (
        ("no text", ""),
        ("no JSON", "{"),
        ("a list", "[]"),
        ("a number", "7"),
        ("an empty object is no record of version 1", "{}"),
        ("a session without an attempt", json.dumps({"v": 2, "session": {**SESSION, "attempt": None}})),
        ("a session that is no object", json.dumps({"v": 2, "session": "t1"})),
        ("a time that is text", json.dumps({"v": 2, "session": {**SESSION, "expires_at": "soon"}})),
        ("revocations that are no list", json.dumps({"v": 2, "revocations": {}})),
        ("version 0", json.dumps({"v": 0})),
        ("version 3", json.dumps({**EMPTY, "v": 3})),
        ("version 2 in text", json.dumps({**EMPTY, "v": "2"})),
    )
    return good + [{"name": f"broken: {name}", "text": text, "broken": True} for name, text in broken]
