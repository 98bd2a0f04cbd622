"""Attacks: each runs on the scene and asserts that it has no effect. A seeded fault must make its attack fail."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from baton_client import content_digest
from tests.baton.proofs.hostile.forgeries import forged_jwts, forged_opaques, twin
from tests.baton.proofs.hostile.scene import ORDER, Scene, Sent, prepared
from tests.baton.wire.conversation import HOST, JSON, PREFIX

Attack = Callable[[Scene], None]


def forgeries(scene: Scene) -> Iterator[tuple[str, str]]:
    """Forge the victim's tokens, in both formats."""
    keys = json.loads(scene.phone.send("GET", f"{PREFIX}/.well-known/jwks.json", [("host", HOST)], b"").body)["keys"]
    yield from forged_jwts(scene.phone.token, keys[0])
    yield from forged_opaques(scene.tablet.token)


# --- Tokens ------------------------------------------------------------------------------------------------------


def forged_tokens_are_refused_on_every_route(scene: Scene) -> None:
    """Send each forged token in a call, in an exchange and in a revocation.

    A call and an exchange give one answer to all of them. A revocation accepts them without an effect.
    """
    before, count = scene.account_state(), 0
    for what, forgery in forgeries(scene):
        doors = scene.doors(forgery)
        # HTTP trims white space around a header field, so white space at the end is not part of the token.
        if forgery == forgery.strip():
            called = doors["call"].by(scene.thief)
            assert (called.status, called.code) == (401, "token_invalid"), (what, called)
        exchanged = doors["exchange"].by(scene.thief)
        assert (exchanged.status, exchanged.code) == (400, "token_invalid"), (what, exchanged)
        assert exchanged.members["error"] == "invalid_grant", what
        assert doors["revoke"].by(scene.thief).status == 200, what
        count += 1
    assert count > 300
    assert scene.account_state() == before
    scene.lives()


def a_captured_request_is_refused_the_second_time(scene: Scene) -> None:
    """Replay the same bytes, or the second valid form (r, n - s) of the same ECDSA signature."""
    for act in (scene.transfer(scene.phone), lambda device: device.post("/logout", {})):
        first = prepared(scene.phone, act)
        assert first.by(scene.phone).status < 300
        for again in (first, with_value(first, twin)):
            said = again.by(scene.thief)
            assert said.code in {"replayed_nonce", "login_required"}, said
            assert said.status == 401


def forged_cookies_open_nothing(scene: Scene) -> None:
    """Send forged tokens, and genuine tokens of a phone, as cookies. No answer sets or deletes a cookie."""
    before = scene.account_state()
    tokens = [forgery for _, forgery in forgeries(scene)] + [scene.phone.token, scene.bearer.token]
    page = (("host", HOST), ("sec-fetch-site", "same-origin"))
    for token in tokens:
        for name in ("__Host-baton", "__Host-baton-remember"):
            cookie = ("cookie", f"{name}={token}")
            for method, path in (("GET", "/me"), ("POST", "/logout"), ("DELETE", "/me")):
                said = Sent(method, PREFIX + path, (*page, cookie)).by(scene.thief)
                assert 400 <= said.status < 500, (token, said)
                assert "set-cookie" not in said.headers
            shown = Sent("GET", f"{PREFIX}/session", (*page, cookie)).by(scene.thief)
            assert shown.status >= 400 or shown.members == {"active": False}, (token, shown)
    assert scene.account_state() == before
    scene.lives()


# --- Signed requests ---------------------------------------------------------------------------------------------


def with_value(sent: Sent, change: Callable[[bytes], bytes]) -> Sent:
    """Change the bytes of a signature."""
    label, _, encoded = sent.header("signature").partition("=")
    value = change(base64.b64decode(encoded.strip(":")))
    return sent.having(signature=f"{label}=:{base64.b64encode(value).decode()}:")


def with_input(sent: Sent, pattern: str, becomes: str) -> Sent:
    """Change the parameters of a signature."""
    changed, count = re.subn(pattern, becomes, sent.header("signature-input"), count=1)
    assert count == 1, (pattern, sent)
    return sent.having(signature_input=changed)


def der(value: bytes) -> bytes:
    """Encode a signature in DER, as phones and OpenSSL do."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    return encode_dss_signature(int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))


def altered(sent: Sent, scene: Scene) -> Iterator[tuple[str, Sent]]:
    """Alter each part of a signed request."""
    yield from _altered_target(sent, scene)
    yield from _altered_fields(sent, scene)
    yield from _altered_signature(sent)
    yield from _altered_body(sent)


def _altered_target(sent: Sent, scene: Scene) -> Iterator[tuple[str, Sent]]:
    path = sent.target.removeprefix(PREFIX)
    victim_device = str(scene.phone.tokens["device_id"])
    yield "path of another device", replace(sent, target=f"{PREFIX}/me/devices/{victim_device}", method="DELETE")
    last = path[-1]
    yield "path in percent-encoding", replace(sent, target=f"{PREFIX}{path[:-1]}%{ord(last):02X}")
    yield "path in lower-case percent-encoding", replace(sent, target=f"{PREFIX}{path[:-1]}%{ord(last):02x}")
    yield "path with its end encoded", replace(sent, target=f"{sent.target}%2F")
    yield "path with a NUL", replace(sent, target=f"{sent.target}%00")
    yield "path with a slash at its end", replace(sent, target=f"{sent.target}/")
    yield "path with a double slash", replace(sent, target=f"{PREFIX}/{path}")
    yield "path with dots", replace(sent, target=f"{PREFIX}/me/..{path}")
    yield "path with encoded dots", replace(sent, target=f"{PREFIX}/%2e%2e{sent.target}")
    yield "path in capitals", replace(sent, target=f"{PREFIX}{path.upper()}")
    yield "path with a parameter", replace(sent, target=f"{sent.target};x=1")
    yield "another stage", replace(sent, target=f"/prod{path}")
    for query in ("?a=1", "?grant=x", "?%00", "?=", "?a=1&a=2"):
        yield f"query {query}", replace(sent, target=f"{sent.target}{query}")
    for method in ("GET", "POST", "DELETE"):
        if method != sent.method:
            yield f"method {method}", replace(sent, method=method)


def _altered_fields(sent: Sent, scene: Scene) -> Iterator[tuple[str, Sent]]:
    present = dict(sent.headers)
    for name in ("authorization", "idempotency-key", "baton-grant", "content-digest"):
        underscored = name.replace("-", "_")
        if name not in present:
            added = content_digest(b"x") if name == "content-digest" else "sixteen-or-more-characters"
            yield f"{name} added", sent.with_more((name, added))
            continue
        yield f"{name} taken away", sent.having(**{underscored: None})
        yield f"{name} empty", sent.having(**{underscored: ""})
        yield f"{name} twice", sent.with_more((name, present[name]))
        yield f"{name} twice, once in capitals", sent.with_more((name.title(), present[name]))
        yield f"{name} changed", sent.having(**{underscored: present[name][:-2] + "xx"})
        yield f"{name} folded", sent.having(**{underscored: present[name].replace(" ", "\r\n ") + "\r\n x"})
        yield f"{name} with a control character", sent.having(**{underscored: f"{present[name]}\x01"})
        yield f"{name} with another's after a comma", sent.having(**{underscored: f"{present[name]}, {present[name]}"})
        yield f"{name} with a no-break space", sent.having(**{underscored: f"{present[name]}\u00a0"})
    if "authorization" in present:
        for whose, token in (("thief's", scene.thief.token), ("tablet's", scene.tablet.token)):
            yield f"token is the {whose}", sent.having(authorization=f"Bearer {token}")
        for token in scene.used_tokens:
            yield "token is an older one", sent.having(authorization=f"Bearer {token}")
        yield "scheme in lower case", sent.having(authorization=present["authorization"].replace("Bearer", "bearer"))
    for host in ("evil.example", "api.example.com:8443", "api.example.com.", "", "api.example.com, evil.example"):
        yield f"host {host}", sent.having(host=host)
    yield "host twice", sent.with_more(("Host", "evil.example"))
    yield "host of ours, another", sent.having(host="localhost:8000")


def _altered_signature(sent: Sent) -> Iterator[tuple[str, Sent]]:
    given, value = sent.header("signature-input"), sent.header("signature")
    for bit in (0, 7, 100, 255, 256, 300, 504, 511):
        yield f"bit {bit} of the value", with_value(sent, _flip(bit))
    yield "DER", with_value(sent, der)
    yield "value cut", with_value(sent, lambda value: value[:-1])
    yield "value longer", with_value(sent, lambda value: value + b"\0")
    yield "value of zeros", with_value(sent, lambda _: bytes(64))
    yield "value empty", with_value(sent, lambda _: b"")
    yield "created + 1", with_input(sent, r"created=(\d+)", "created=1\\1")
    yield "nonce another", with_input(sent, 'nonce="', 'nonce="x')
    yield "keyid another", with_input(sent, 'keyid="', 'keyid="x')
    yield "tag another", with_input(sent, 'tag="baton"', 'tag="batons"')
    yield "no tag", with_input(sent, ';tag="baton"', "")
    yield "alg added", sent.having(signature_input=f'{given};alg="ecdsa-p256-sha256"')
    yield "alg of another family", sent.having(signature_input=f'{given};alg="hmac-sha256"')
    yield "alg none", sent.having(signature_input=f'{given};alg="none"')
    yield "expires added", sent.having(signature_input=f"{given};expires=9999999999")
    yield "parameter twice", sent.having(signature_input=f'{given};tag="baton"')
    for component in re.findall(r'"[@a-z-]+"(?:;name="[^"]*")?', given.partition(")")[0]):
        yield f"{component} not covered", with_input(sent, f" ?{re.escape(component)}", "")
        yield f"{component} covered twice", with_input(sent, re.escape(component), f"{component} {component}")
    yield "components in another order", with_input(sent, '"@method" "@authority"', '"@authority" "@method"')
    yield "a component that stands in", with_input(sent, '"@path"', '"@target-uri"')
    yield (
        "two labels of ours",
        sent.having(
            signature_input=f"{given}, again={given.partition('=')[2]}",
            signature=f"{value}, again={value.partition('=')[2]}",
        ),
    )
    yield "label twice", sent.having(signature_input=f"{given}, {given}", signature=f"{value}, {value}")
    yield "the label of nobody", sent.having(signature=f"other={value.partition('=')[2]}")
    yield "no Signature", sent.having(signature=None)
    yield "no Signature-Input", sent.having(signature_input=None)
    yield "neither", sent.having(signature=None, signature_input=None)
    yield "Signature twice", sent.with_more(("signature", value))
    yield "Signature-Input twice", sent.with_more(("Signature-Input", given))
    yield "no structured field", sent.having(signature_input=given.replace("(", "[").replace(")", "]"))
    yield (
        "keyed by an upper-case label",
        sent.having(signature_input=given.replace("baton=(", "Baton=("), signature=value.replace("baton=", "Baton=")),
    )


def _flip(bit: int) -> Callable[[bytes], bytes]:
    def change(value: bytes) -> bytes:
        changed = bytearray(value)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    return change


def _altered_body(sent: Sent) -> Iterator[tuple[str, Sent]]:
    if not sent.body:
        yield "a body added", replace(sent.having(content_type="application/json"), body=b"{}")
        return
    bodies = {
        "changed": sent.body.replace(b"10", b"99").replace(b"refresh_token=", b"refresh_token=x"),
        "with a space more": sent.body + b" ",
        "cut": sent.body[:-1],
        "gone": b"",
    }
    for how, body in bodies.items():
        if body != sent.body:
            yield f"body {how}", replace(sent, body=body)
            yield f"body {how}, with its digest", replace(sent.having(content_digest=content_digest(body)), body=body)
    digest = sent.header("content-digest")
    zeros = f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"
    for what, value in (
        ("of zeros", zeros),
        ("empty", ""),
        ("of an unknown algorithm", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:"),
        ("right, and a wrong one", f"{digest}, sha-512=:{base64.b64encode(bytes(64)).decode()}:"),
        ("without padding", digest.replace("=:", ":", 1) if digest.endswith("=:") else digest[:-2]),
    ):
        yield f"digest {what}", sent.having(content_digest=value)


def same(sent: Sent) -> Iterator[tuple[str, Sent]]:
    """Write the same request in other spellings that HTTP defines as equal."""
    yield "names in capitals", replace(sent, headers=tuple((name.upper(), value) for name, value in sent.headers))
    yield "white space around values", replace(sent, headers=tuple((n, f" {v} ") for n, v in sent.headers))
    yield "fields in another order", replace(sent, headers=sent.headers[::-1])
    yield "a field more, not covered", sent.with_more(("x-forwarded-host", "evil.example"), ("x-trace", "1"))
    yield "the host in capitals", sent.having(host=HOST.upper())
    yield (
        "a foreign signature beside",
        sent.having(
            signature_input=f'{sent.header("signature-input")}, proxy=("@method");tag="proxy"',
            signature=f"{sent.header('signature')}, proxy=:AAAA:",
        ),
    )


def signed_requests(scene: Scene) -> dict[str, Sent]:
    """Let the victim sign requests that are not delivered: a thief on the connection may alter them first."""
    return {
        "read": prepared(scene.phone, lambda device: device.get("/me")),
        "end of a device": prepared(scene.phone, scene.ending(scene.watch)),
        "transfer": prepared(scene.phone, scene.transfer(scene.phone)),
        "exchange": prepared(scene.phone, lambda device: device.exchange()),
    }


def altered_requests_are_refused(scene: Scene) -> None:
    """Each alteration of each request is refused and changes nothing.

    After that, the unaltered request has its effect.
    """
    requests = signed_requests(scene)
    before = scene.account_state()
    for name, sent in requests.items():
        count = 0
        for what, changed in altered(sent, scene):
            if changed == sent:
                continue
            said = changed.by(scene.thief)
            assert 400 <= said.status < 500, (name, what, said)
            count += 1
        assert count > 60, name
        assert scene.account_state() == before, name
    for sent in requests.values():
        assert sent.by(scene.phone).status < 300


def equivalent_spellings_of_a_request_are_accepted(scene: Scene) -> None:
    """Send unaltered requests: the alterations above are refused for their content, not for their spelling."""
    sent = prepared(scene.phone, lambda device: device.get("/me"))
    for what, dressed in same(sent):
        said = dressed.by(scene.phone)
        assert said.status == 200, (what, said)


def a_replaced_body_is_refused(scene: Scene) -> None:
    """Replace the body under a valid signature: the digest is computed over the received body."""
    before = scene.account_state()
    sent = prepared(scene.phone, scene.transfer(scene.phone))
    said = replace(sent, body=ORDER.replace(b"Bob", b"Eve")).by(scene.thief)
    assert (said.status, said.code) == (400, "invalid_digest"), said
    assert scene.account_state() == before


def signatures_by_another_key_are_refused(scene: Scene) -> None:
    """Sign as the thief, with her own key, under her key id or the victim's."""
    before = scene.account_state()
    keyid = scene.phone.key.thumbprint()
    posing = replace(scene.thief, tokens=scene.phone.tokens)
    for act in (lambda device: device.get("/me"), scene.transfer(scene.phone), lambda device: device.exchange()):
        sent = prepared(posing, act)
        said = sent.by(scene.thief)
        assert said.code == "wrong_key", said
        said = with_input(sent, r'keyid="[^"]*"', f'keyid="{keyid}"').by(scene.thief)
        assert said.code == "invalid_signature", said
    assert scene.account_state() == before
    scene.lives()


def old_and_early_signatures_are_refused(scene: Scene) -> None:
    """Send signatures just outside the window and far outside it, before and after it."""
    now = scene.phone.clock()
    for created in (now - 302, now + 303, 1, 10 * now):
        said = scene.phone.get("/me", created=created)
        assert (said.status, said.code) == (401, "clock_skew"), said
        assert said.members["server_time"] == int(said.headers["baton-time"])


# --- Bodies ------------------------------------------------------------------------------------------------------

SURROGATES = (
    b'{"email":"a@b.example","password":"\\ud800 copper lantern drifting","client_id":"simple"}',
    b'{"email":"\\udfffa@b.example","password":"copper lantern drifting sideways","client_id":"simple"}',
    b'{"email":"a@b.example","password":"copper lantern drifting sideways","client_id":"\\ud800"}',
    b'{"email":"a@b.example","password":"x","client_id":"simple","device":{"name":"\\udbff"}}',
    b'{"email":"a@b.example","password":"copper lantern drifting sideways","client_id":"simple","\\ud800":1}',
)


def lone_surrogates_are_refused(scene: Scene) -> None:
    """Send a lone surrogate in any member of any route. The answer is 400 ``malformed``, before the view runs."""
    for body in SURROGATES:
        for path in ("/register", "/login"):
            said = Sent("POST", PREFIX + path, (("host", HOST), *JSON.items()), body).by(scene.thief)
            assert (said.status, said.code) == (400, "malformed"), (body, said)
    for path, body in (
        ("/step-up", b'{"operation":{"method":"POST","path":"/\\ud800","digest":"x"},"password":"x"}'),
        ("/transfers", b'{"to":"\\ud800","amount":1}'),
        ("/logout", b'{"\\udc00":true}'),
    ):
        said = scene.thief.request("POST", path, body, JSON)
        assert (said.status, said.code) == (400, "malformed"), (path, said)


# --- Captured requests ---------------------------------------------------------------------------------------------


def captured_requests_change_nothing(scene: Scene) -> None:
    """Send each captured request again, to its own target and to every other captured target. Nothing changes."""
    before = scene.account_state()
    for sent in scene.seen:
        for target in dict.fromkeys(seen.target for seen in scene.seen):
            said = replace(sent, target=target).by(scene.thief)
            as_it_was = target == sent.target and (sent.method == "GET" or target.endswith("/oauth/token"))
            assert as_it_was or 400 <= said.status < 500, (sent, target, said)
    assert scene.account_state() == before
    scene.lives()


ATTACKS: tuple[Attack, ...] = (
    forged_tokens_are_refused_on_every_route,
    forged_cookies_open_nothing,
    a_captured_request_is_refused_the_second_time,
    altered_requests_are_refused,
    equivalent_spellings_of_a_request_are_accepted,
    a_replaced_body_is_refused,
    signatures_by_another_key_are_refused,
    old_and_early_signatures_are_refused,
    lone_surrogates_are_refused,
    captured_requests_change_nothing,
)
