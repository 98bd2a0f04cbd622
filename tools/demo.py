"""``make demo``: show the features of Baton in a terminal, with real requests. Exit 1 if a step has another result.

The command uses the server on ``PORT``. If none is running, the command starts a server.
"""

import base64
import contextlib
import hmac
import itertools
import json
import os
import re
import secrets
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus

from baton_client import (
    Answer,
    BatonClient,
    BatonError,
    DeviceKey,
    HttpTransport,
    Identity,
    LoggedOut,
    LoginStep,
    MemoryStorage,
    NoResponse,
    Proof,
    Record,
    Refused,
    Request,
    Session,
    SignIn,
)
from baton_testing import Development
from tools.dev.gateway import CLOCK_PATH, MAILS_PATH
from tools.dev.port import read_port
from tools.dev.restore_platform import Platform

PASSWORD = "velvet anchor piano tundra"  # noqa: S105 - of an account made for this demo
NEW_PASSWORD = "granite umbrella conversation"  # noqa: S105 - of that account
_COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ


class Surprise(Exception):
    """A step had another result than expected."""


class OutputClosed(Exception):
    """The output was closed, so the demo ends."""


def say(text: str) -> None:
    """Print a line and flush it. Raises ``OutputClosed``."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise OutputClosed from None  # a client treats BrokenPipeError as a lost connection, and repeats the request


def dye(text: str, code: str) -> str:
    """Return a text in a colour, if the output is a terminal."""
    return f"\033[{code}m{text}\033[0m" if _COLOURED else text


def shortened(token: str) -> str:
    """Return the first 10 and the last 6 characters of a token. A short token is returned whole."""
    return token if len(token) < 32 else f"{token[:10]}…{token[-6:]}"


class Wire:
    """A client's transport that prints requests and answers. It can change a request or lose an answer."""

    def __init__(self, who: str) -> None:
        """Print each request under the name ``who``, such as ``phone`` or ``thief``."""
        self.who = who
        self._http = HttpTransport()
        self.lose_next_answer = False
        self.lose_next_answer_to = ""
        self.tamper_next: Callable[[Request], Request] | None = None
        self.codes: list[str] = []

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request, print it with its answer, and return the answer. Raises ``NoResponse`` for a lost answer."""
        path = request.url.split("/", 3)[3]
        if self.tamper_next is not None:
            request, self.tamper_next = self.tamper_next(request), None
        signed = dye("signed", "2") if "signature" in request.headers else dye("unsigned", "2")
        answer = self._http(request, timeout_s)
        lost, self.lose_next_answer = self.lose_next_answer, False
        if self.lose_next_answer_to and path.endswith(self.lose_next_answer_to):
            lost, self.lose_next_answer_to = True, ""
        colour = "33" if lost else "32" if answer.status < 400 else "31"
        said = "answer lost on the way back" if lost else f"{answer.status} {_gist(answer)}".rstrip()
        say(f"    {dye(f'{self.who:<6}', '36')} {request.method:<4} /{path:<18} {signed}  {dye(said, colour)}")
        self.codes.append(str(answer.members().get("code", "")))
        if lost:
            raise NoResponse("lost in a tunnel")
        return answer

    def close(self) -> None:
        """Close the open connections."""
        self._http.close()


GIST_CHARACTERS = 52
"""The number of characters that fit beside the request in a line."""


def _gist(answer: Answer) -> str:
    members = answer.members()
    if "code" in members:
        reason = f", reason {members['reason']}" if "reason" in members else ""
        return f"{members['code']} -> {members['action']}{reason}"
    if "access_token" in members:
        return f"token {shortened(members['access_token'])}, {members['expires_in']} s"
    told = ((name, value) for name, value in members.items() if isinstance(value, str | int) and name[-3:] != "_id")
    shown = (f"{name}={shortened(str(value))}" for name, value in told)
    return ", ".join(itertools.islice(shown, 2))[:GIST_CHARACTERS]


class Story:
    """The steps of the demo. Each step is printed before it is carried out."""

    def __init__(self, origin: str) -> None:
        """Use the server at ``origin``."""
        self.origin = origin
        self.step = 0
        self.email = f"demo-{secrets.token_hex(4)}@example.com"
        self.wires: list[Wire] = []
        self.skipped_s = 0

    def tell(self, title: str) -> None:
        """Begin a step: print its number and title."""
        self.step += 1
        say(f"\n{dye(f'{self.step:>2}  {title}', '1')}")

    def note(self, text: str) -> None:
        """Print an explanation."""
        say(dye(f"    {text}", "2"))

    def expect(self, truth: bool, otherwise: str) -> None:  # noqa: FBT001 - a claim, and what to say if it is false
        """Raise ``Surprise`` with the text ``otherwise`` if ``truth`` is false."""
        if not truth:
            raise Surprise(otherwise)

    def refused(self, code: str, act: Callable[[], object]) -> None:
        """Call ``act``, which must fail with ``code``.

        ``LoggedOut`` has no code. If ``act`` raises it, ``code`` must be one of the codes that end a login.
        """
        try:
            act()
        except LoggedOut:
            ends = {"login_required", "token_reused", "superseded"}
            self.expect(code in ends, f"expected {code}, and was logged out")
        except Refused as refusal:
            self.expect(refusal.code == code, f"expected {code}, got {refusal.code}")
        else:
            raise Surprise(f"expected {code}, and the request succeeded")

    def client(
        self,
        who: str,
        record: Record | None = None,
        *,
        client_id: str = "mobile",
        wrong_by_s: int = 0,
        defect: str = "",
    ) -> BatonClient:
        """Make a device: a new device, or the device whose stored login is ``record``.

        Its clock is wrong by ``wrong_by_s`` seconds.

        ``defect`` is the defect of the device's evidence, such as ``app`` for a tampered app.
        """
        wire = Wire(who)
        self.wires.append(wire)
        return BatonClient(
            f"{self.origin}/api",
            client_id,
            MemoryStorage(record),
            clock=lambda: time.time() + self.skipped_s + wrong_by_s,
            transport=wire,
            sleep=lambda _: None,
            evidence=lambda challenge, key: self.evidence(challenge, key, defect),
        )

    def evidence(self, challenge: str, key: DeviceKey | None, defect: str) -> dict[str, object]:
        """Return the evidence of a simulated Android device with this key."""
        self.expect(key is not None, "the device has no key")
        assert key is not None
        asked = {"format": "android-key", "client_id": "genuine", "challenge": challenge, "public_key": key.jwk()}
        body = json.dumps({**asked, "defect": defect}).encode()
        fields = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.origin + "/_dev/attestation", body, fields)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
            member: dict[str, object] = json.load(answer)
        return member

    def skip(self, seconds: int) -> None:
        """Move the clocks of the server and of all devices by ``seconds``."""
        body = json.dumps({"skip": seconds}).encode()
        fields = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.origin + CLOCK_PATH, body, fields)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - loopback
            self.skipped_s += seconds

    def close(self) -> None:
        """Undo the skips of the server's clock, because the server may have other users. Close the connections."""
        with contextlib.suppress(OSError):  # the server may have stopped
            if self.skipped_s:
                self.skip(-self.skipped_s)
        for wire in self.wires:
            wire.close()


def prove_app(story: Story) -> None:
    """Attest the app of a phone, and show that the server refuses the evidence of a tampered app."""
    story.tell("A phone proves that the app is genuine and that its key is in hardware (Android Key Attestation)")
    phone = story.client("attested", client_id="genuine")
    phone.login(story.email, PASSWORD, "a genuine app")
    story.expect(phone.attest() == "tee", "the phone is not attested")
    phone.exchange()
    claims = _session(phone).access_token.split(".")[1]
    story.expect('"attested":"tee"' in base64.urlsafe_b64decode(claims + "==").decode(), "the token is not attested")
    story.note("the next token has the claim attested, and a route with attested=True accepts this login")

    story.tell("A tampered app, signed by another maker, logs in and tries the same")
    tampered = story.client("tampered", client_id="genuine", defect="app")
    tampered.login(story.email, PASSWORD, "a tampered app")
    story.refused("attestation_failed", tampered.attest)
    story.note('with attestation = "required" this app could not log in; here the client has "report"')
    tampered.logout()
    phone.logout()


def sign_up_at_providers(story: Story) -> None:
    """Sign up with Google and Apple, try a stolen id_token, and delete an account after a new proof by Apple."""
    dev = Development(story.origin)
    rows = {one["kind"]: one for one in dev.providers() if "mobile" in one["audiences"]}

    def person(kind: str) -> tuple[str, SignIn]:
        row, sub = rows[kind], secrets.token_hex(4)
        return row["name"], dev.person(row["name"], sub, audience=row["audiences"]["mobile"][0])

    story.tell("Grace signs up with Google: she has no password, and her id_token is bound to the key of her phone")
    if not {"google", "apple"} <= rows.keys():
        story.note("skipped: providers.toml of this application has no Google or no Apple for the client mobile")
        return
    phone, (google, at_google) = story.client("grace"), person("google")
    id_token = at_google(phone.provider_nonce(google))
    story.refused("identity_unknown", lambda: phone.login_federated(google, id_token, "Grace's phone"))
    story.note("no account without her consent: she agrees to a new account, and the app sends `create`")
    phone.login_federated(google, id_token, "Grace's phone", create=True)
    story.expect(phone.me()["amr"] == ["fed"], "the login was not made by a provider")

    story.tell("A thief has her id_token: its nonce names the key of her phone and the attempt")
    thief = story.client("thief")
    story.refused("identity_token_invalid", lambda: thief.login_federated(google, id_token, "a copy"))

    story.tell("Delete the account: the sheet of Apple proves the person again, and a token of Google does not")
    again = Proof(identity=Identity(google, at_google))
    story.refused("reauthentication_unsupported", lambda: phone.delete_account(again))
    tablet, (apple, at_apple) = story.client("ada"), person("apple")
    tablet.login_federated(apple, at_apple, "Ada's tablet", create=True)
    story.refused("step_up_required", tablet.logout_everywhere)
    tablet.delete_account(Proof(identity=Identity(apple, at_apple)))
    story.note("the nonce of that id_token names this exact request")
    phone.logout()


def pay(story: Story, phone: BatonClient, wire: Wire) -> None:
    """Send a payment whose answer is lost. Skip this if the team has removed the sample's route ``POST /transfers``."""

    def confirm(_: Refused) -> str:
        wire.lose_next_answer_to = "/transfers"
        return PASSWORD

    try:
        paid = phone.call(
            "POST",
            "/transfers",
            json={"to": "Bob", "amount": 20_000},
            confirm=confirm,
            idempotency_key=secrets.token_urlsafe(16),
        )
    except Refused as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND:
            raise
        story.note("skipped: this application has no POST /transfers, the route of the sample")
        return
    story.expect(paid.status == 201, "the transfer was not made")
    story.expect(paid.headers.get("baton-replayed") == "1", "the answer is not the stored one")
    story.note("the first answer was lost, so the phone sent the payment again and got the stored answer: one payment")


def newest_code(story: Story) -> str:
    """Return the code from the newest mail to ``story.email`` in the development mailbox."""
    with urllib.request.urlopen(story.origin + MAILS_PATH, timeout=5) as answer:  # noqa: S310 - loopback
        mails = json.load(answer)["mails"]
    (mail, *_) = [mail for mail in mails if mail["to"] == story.email]
    (code,) = re.findall(r"\b[0-9]{4} [0-9]{4}\b", mail["text"])
    return str(code)


def prove_address(story: Story, phone: BatonClient) -> None:
    """Prove the account's address: with mail on, the server requires this before it enrols a second factor.

    With mail off, do nothing.
    """
    try:
        session = phone.request_address_code()
    except Refused as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND:
            raise
        return
    phone.verify_address(session, newest_code(story))
    story.expect(phone.me()["email_verified"] is True, "the address is not proved")
    story.note("a code from the mailbox proves the address first")


def forget(story: Story, phone: BatonClient, app: Callable[[], str]) -> None:
    """Reset the password with the code from the development mailbox. Skip this if the server has mail off."""
    try:
        session = phone.forgot_password(story.email)
    except Refused as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND:
            raise
        story.note("skipped: this server has BATON_MAIL=off")
        return
    code = newest_code(story)
    story.note(f"the mailbox at {MAILS_PATH} has it: {code}")
    thief = story.client("thief", Record(key=DeviceKey.generate("p256")))
    story.refused("invalid_code", lambda: thief.reset_password(session, code, NEW_PASSWORD))
    story.note("another device cannot use the code")
    phone.reset_password(session, code, NEW_PASSWORD)
    phone.login(story.email, NEW_PASSWORD, "Ada's phone", second_factor=lambda _: Proof(totp=app()))
    story.expect(phone.me()["email"] == story.email, "the new password does not log in")
    story.note("a reset replaces the password only: the login needs the code of the app as before")


def move(story: Story, phone: BatonClient) -> None:
    """Use a restore key to log in on a new phone. Skip this if the server does not offer restore keys."""
    story.tell("Ada moves to a new phone: its app logs her in with the restore key that Android copied")
    platform = Platform()
    try:
        phone.keep_restore_key(platform.create)
    except Refused as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND and refusal.code != "restore_refused":
            raise
        story.note("skipped: the client registry of this server has no restore = true")
        return
    new_phone = story.client("new")
    new_phone.restore(platform.get, "Ada's new phone")
    story.expect(new_phone.me()["acr"] == "0", "the restored login does not have the lowest level")
    story.refused("step_up_required", lambda: new_phone.call("POST", "/me/factors/totp"))
    story.note("nothing was typed, so the level is 0: a sensitive route requires the password first")

    story.tell("She logs out on the old phone: a copy of its backup restores nothing")
    phone.logout()
    story.refused("unknown_passkey", lambda: story.client("thief").restore(platform.get, "a copy"))
    story.expect(new_phone.me()["email"] == story.email, "the new phone was logged out")
    story.note("a restore key ends with the login that made it")
    phone.login(story.email, PASSWORD, "Ada's phone")


def enrol(story: Story, phone: BatonClient) -> Callable[[], str]:
    """Enrol an authenticator app, and return a function that reads a fresh code from it."""
    story.tell("The owner enrols an authenticator app: from now on, the password is not enough to log in")
    prove_address(story, phone)
    begun = phone.call("POST", "/me/factors/totp", confirm=lambda _: PASSWORD).json()
    key = base64.b32decode(begun["secret"])

    def code() -> str:
        """Return the current code of the app (RFC 6238), and move the clocks, so that the next code is different."""
        step = int(time.time() + story.skipped_s) // 30
        mac = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
        place = mac[-1] & 15
        story.skip(30)  # the next code must differ
        return f"{int.from_bytes(mac[place : place + 4], 'big') % 2**31 % 10**6:06}"

    confirmed = {"enrolment": begun["enrolment"], "totp": code()}
    codes = phone.call("POST", "/me/factors/totp/confirm", json=confirmed, repeat=True).json()["recovery_codes"]
    story.note(f"the app reads {begun['otpauth_uri'].partition('?')[0]} as a QR code")
    story.note(f"{len(codes)} recovery codes, shown once: each one replaces the app at one login")
    return code


def tell(story: Story) -> None:  # noqa: PLR0915 - one function for the whole demo
    """Run all steps of the demo. A failed step raises ``Surprise`` or ``BatonError``, and ends the demo."""
    story.tell(f"Register {story.email}, signed by a new key, on a phone whose clock is two hours slow")
    phone = story.client("phone", wrong_by_s=-7200)
    phone.register(story.email, PASSWORD, "Ada's phone")
    session = _session(phone)
    wire = story.wires[0]
    story.expect(wire.codes == ["clock_skew", ""], "the clock was not set in one round trip")
    story.note("the phone read the server's time and signed again: a wrong clock costs one round trip")
    story.note("the login is bound to the key; the password hash (Argon2id) is stored encrypted")

    story.tell("A second device logs in")
    tablet = story.client("tablet")
    tablet.login(story.email, PASSWORD, "Ada's tablet")

    story.tell("A signed call: method, path, query, body, token, time and nonce are covered")
    story.expect(phone.me()["email"] == story.email, "the account is another")

    prove_app(story)
    sign_up_at_providers(story)

    story.tell("An attacker changes the body of a request")
    wire.tamper_next = lambda request: replace(request, body=request.body.replace(b"false", b"true "))
    story.refused("invalid_digest", lambda: phone.call("POST", "/logout", json={"everywhere": False}))

    story.tell("A payment requires the password again, for exactly this body")
    pay(story, phone, wire)

    story.tell("Sixteen minutes later the token has expired: the client exchanges it when it needs one")
    story.skip(16 * 60)
    phone.me()
    story.expect(_session(phone).access_token != session.access_token, "the token was not exchanged")

    story.tell("An answer is lost on the way back: the same attempt gets the same child")
    before = _session(phone)
    wire.lose_next_answer = True
    after = phone.exchange()
    story.expect(after.access_token != before.access_token, "no child came")
    story.note("the phone is still logged in, and no second child exists")

    story.tell("A thief has the token without the key")
    key = DeviceKey.generate("p256")
    stolen = replace(after, attempt=secrets.token_urlsafe(16), key_id=key.thumbprint())
    token_thief = story.client("thief", Record(session=stolen, key=key))
    story.refused("wrong_key", token_thief.exchange)
    story.expect(phone.me()["email"] == story.email, "a token alone ended the session")
    story.note("refused, and nothing ended: a token without its key is useless")

    story.tell("A thief has a full copy of the phone, key included, and exchanges first")
    copied = replace(_session(phone), attempt=secrets.token_urlsafe(16))
    full_thief = story.client("thief", replace(_record(phone), session=copied))
    full_thief.exchange()

    story.tell("The phone exchanges the same token: two parties use it, so Baton ends this login")
    story.refused("token_reused", phone.exchange)
    story.refused("login_required", full_thief.me)

    story.tell("The other device stays logged in, and can show the reason")
    listed = tablet.devices()
    for device in listed:
        state = f"ended: {device['ended_reason']}" if device["ended_reason"] else "active"
        say(f"    {device['name']:<18}{state}{'  (this one)' if device['current'] else ''}")
    reasons = {device["name"]: device["ended_reason"] for device in listed}
    story.expect(reasons.get("Ada's phone") == "reuse", "the reason is not shown")

    story.tell("The owner logs in again, with a new key; the thief cannot")
    phone.login(story.email, PASSWORD, "Ada's phone")
    story.expect(phone.me()["email"] == story.email, "the owner is locked out")

    story.tell("Another full copy, attempt included, exchanges twice before the phone does")
    fast_thief = story.client("thief", _record(phone))
    fast_thief.exchange()
    fast_thief.exchange()

    story.tell("The phone gets `superseded` twice, and its storage has not changed: it revokes the login")
    story.refused("superseded", phone.exchange)
    story.refused("login_required", fast_thief.me)
    story.note("the copy no longer works, the app shows the reason, and the next login makes a new key")
    phone.login(story.email, PASSWORD, "Ada's phone")

    move(story, phone)

    app = enrol(story, phone)

    story.tell("A thief with the password gets no token: the login needs the code of the app")
    password_thief = story.client("thief")
    step = password_thief.login(story.email, PASSWORD, "a new phone")
    if not isinstance(step, LoginStep):
        raise Surprise("the password alone was enough")
    story.expect("totp" in step.factors, "the code of the app is not required")

    story.tell("The owner's laptop logs in with the password and the code")
    laptop = story.client("laptop")
    laptop.login(story.email, PASSWORD, "Ada's laptop", second_factor=lambda _: Proof(totp=app()))
    story.expect(laptop.me()["acr"] == "aal2", "the login does not have the level of two factors")
    story.note("the server remembers this key for 30 days; each code counts once")

    story.tell("Log out everywhere requires both factors again: a thief with one phone cannot log out the others")
    story.refused("step_up_required", phone.logout_everywhere)
    phone.logout_everywhere(lambda _: Proof(password=PASSWORD, totp=app()))
    story.refused("login_required", tablet.me)
    story.note("one write for any number of devices")

    story.tell("Ada forgot the password: a code from her mailbox sets a new one, on the phone that requested it")
    forget(story, phone, app)


def _record(client: BatonClient) -> Record:
    return client._storage.read()


def _session(client: BatonClient) -> Session:
    session = client.session
    if session is None:
        raise Surprise("the device has no login")
    return session


@contextlib.contextmanager
def server(port: int) -> Iterator[str]:
    """Yield the origin of the server on this port. If its health check fails, start one on a free port."""
    origin = f"http://localhost:{port}"
    try:
        with urllib.request.urlopen(f"{origin}/api/health", timeout=5):  # noqa: S310 - loopback
            pass
    except OSError:
        pass
    else:
        say(f"Using the server at {origin}")
        yield origin
        return
    from tools.dev.serve import development  # noqa: PLC0415 - not needed beside a running server

    os.environ.setdefault("BATON_LOG_LEVEL", "ERROR")
    say("No server is running: start one")
    with development(0) as running:
        origin = running.url.removesuffix("/api")
        say(f"Using {origin}")
        yield origin


def main(arguments: Sequence[str]) -> int:
    """Run the demo and print the result. The first argument, if any, is the port to use instead of ``PORT``."""
    port = read_port(arguments[0] if arguments else os.environ.get("PORT") or "8000")
    try:
        with server(port) as origin, contextlib.closing(Story(origin)) as story:
            try:
                tell(story)
            except (Surprise, BatonError) as surprise:
                print(f"\n{dye('error', '1;31')}: step {story.step} failed: {surprise}", file=sys.stderr)
                return 1
        say(f"\n{dye(f'ok: all {story.step} steps worked', '1;32')}")
        say("next: make dev (a server), README.md (how it works), clients/python (the client of this demo)")
    except OutputClosed:
        # The buffered text cannot be written either. Without this line, Python reports an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
