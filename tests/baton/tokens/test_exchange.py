"""The flow of the exchange: rows E0 to E10 of docs/baton/exchange.md."""

from collections.abc import Callable
from threading import Barrier, Thread

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import EndReason, PresentedToken
from chalicelib.baton.policy import DAY_S, MECHANISMS, MINUTE_S, SIGNATURE_WINDOW_S, MechanismName
from chalicelib.baton.proof.refusals import ClockSkew, InsufficientCoverage, InvalidDigest, SignatureRequired, WrongKey
from chalicelib.baton.tokens.exchange import TokenRequest
from chalicelib.baton.tokens.refusals import InvalidScope, TokenInvalid, TokenReused, UnauthorizedClient, UnknownClient
from tests.baton.world import World

REFRESH_WITHOUT_KEY = ("simple", "oauth")


def generation(world: World, token: str) -> int:
    """Read the generation of a token."""
    return world.call.proof.token(token, now=world.clock()).token.generation


@pytest.mark.parametrize("kind", ["P-256", "hmac"])
@pytest.mark.parametrize("client_id", ["mobile", "mobile-opaque"])
def test_a_token_is_exchanged_for_its_child_even_after_it_expired(world: World, client_id: str, kind: str) -> None:
    """E5: generation g is exchanged for generation g + 1, days after g expired."""
    phone = world.phone(kind)
    first = world.register(phone, client_id=client_id)
    world.clock.skip(29 * DAY_S)
    second = world.exchange(phone, first.access_token, attempt=world.attempt())
    assert generation(world, second.access_token) == 1
    assert second.expires_in == 15 * MINUTE_S
    assert second.refresh_token == second.access_token
    assert world.use(phone, second.access_token).device_id == first.device_id


@pytest.mark.guarantee(1, 2)
@pytest.mark.parametrize("client_id", ["mobile", "mobile-opaque", "simple", "oauth"])
def test_an_exchange_with_a_lost_answer_returns_the_same_child(world: World, client_id: str) -> None:
    """E6: the same attempt gets the same bytes, also later, and nothing is written."""
    phone = world.phone("none" if client_id in REFRESH_WITHOUT_KEY else "P-256")
    token = world.register(phone, client_id=client_id).refresh_token
    assert token
    attempt = world.attempt()
    child = world.exchange(phone, token, attempt=attempt)
    world.clock.skip(3)
    again = world.exchange(phone, token, attempt=attempt)
    assert (again.access_token, again.refresh_token) == (child.access_token, child.refresh_token)
    assert again.expires_in == child.expires_in - 3


@pytest.mark.guarantee(1, 2)
def test_a_late_repetition_is_superseded_and_ends_no_login(world: World) -> None:
    """E7: an older generation with its own attempt is 409, up to four generations back."""
    phone = world.phone()
    token, history = world.register(phone).access_token, []
    for _ in range(5):
        history.append((token, world.attempt()))
        token = world.exchange(phone, *history[-1][:1], attempt=history[-1][1]).access_token
    for old, attempt in history[1:4]:
        with pytest.raises(errors.Superseded):
            world.exchange(phone, old, attempt=attempt)
    assert world.use(phone, token)


@pytest.mark.guarantee(3, 5)
@pytest.mark.parametrize("client_id", ["mobile", "mobile-opaque", "simple", "oauth"])
def test_a_reused_token_ends_its_lineage(world: World, client_id: str) -> None:
    """E8: a used token with another attempt ends the lineage before the answer is sent.

    Other devices are not affected.
    """
    unbound = client_id in REFRESH_WITHOUT_KEY
    phone, tablet = world.phone("none" if unbound else "P-256"), world.phone()
    first = world.register(phone, client_id=client_id)
    other = world.login(tablet)
    assert first.refresh_token
    child = world.exchange(phone, first.refresh_token, attempt=world.attempt())
    with pytest.raises(TokenReused) as refusal:
        world.exchange(phone, first.refresh_token, attempt=world.attempt())
    assert refusal.value.members == {"reason": "reuse"}
    assert child.refresh_token
    with pytest.raises(errors.LoginRequired) as dead:
        world.exchange(phone, child.refresh_token, attempt=world.attempt())
    assert dead.value.members == {"reason": "reuse"}
    with pytest.raises(errors.LoginRequired):
        world.use(phone, child.access_token)
    assert world.use(tablet, other.access_token)
    assert "token_reused" in [event.event for event in world.stores.audit.events]


@pytest.mark.guarantee(3)
def test_an_unbound_token_without_an_attempt_can_be_exchanged_once(world: World) -> None:
    """Without header and signature each exchange has another attempt, so a second exchange ends the lineage."""
    phone = world.phone("none")
    token = world.register(phone, client_id="simple").access_token
    world.exchange(phone, token)
    with pytest.raises(TokenReused):
        world.exchange(phone, token)


@pytest.mark.guarantee(1, 2)
def test_a_signed_exchange_without_the_header_uses_the_nonce_as_its_attempt(world: World) -> None:
    """A captured and replayed request therefore counts as a repetition and not as reuse."""
    phone = world.phone()
    token = world.register(phone).access_token
    from chalicelib.baton.tokens.exchange import TokenRequest

    message = phone.message("POST", "/api/oauth/token", body=b"form")
    child = world._exchange(message, TokenRequest(token))
    assert world._exchange(message, TokenRequest(token)).access_token == child.access_token


@pytest.mark.guarantee(3, 5)
def test_an_overwritten_attempt_counts_as_reuse(world: World) -> None:
    """E8: five generations later, another attempt uses the slot."""
    phone = world.phone()
    first, attempt = world.register(phone).access_token, world.attempt()
    token = world.exchange(phone, first, attempt=attempt).access_token
    for _ in range(4):
        token = world.exchange(phone, token, attempt=world.attempt()).access_token
    with pytest.raises(TokenReused):
        world.exchange(phone, first, attempt=attempt)


@pytest.mark.guarantee(4)
def test_a_stolen_token_of_a_bound_lineage_is_useless_and_ends_nothing(world: World) -> None:
    """E2 before E8: the request is refused without the key, even for a used token. The owner's login stays active."""
    phone, thief = world.phone(), world.phone()
    first = world.register(phone).access_token
    second = world.exchange(phone, first, attempt=world.attempt()).access_token
    for stolen in (first, second):
        with pytest.raises(WrongKey):
            world.exchange(thief, stolen, attempt=world.attempt())
        with pytest.raises(SignatureRequired):
            world.exchange(world.phone("none"), stolen, attempt=world.attempt())
    assert world.use(phone, second)


def test_only_a_wrong_key_is_counted_and_an_account_counts_once_in_15_minutes(
    world: World,
) -> None:
    """Before the fix, unsigned and malformed exchanges counted, so one token was enough to raise the alarm."""

    def counted() -> int:
        return [event for event, _ in world.log.recorded].count("exchange_wrong_key")

    phone, thief = world.phone(), world.phone()
    stolen = world.register(phone).access_token
    for _ in range(3):
        with pytest.raises(SignatureRequired):
            world.exchange(world.phone("none"), stolen, attempt=world.attempt())
        broken = phone.message("POST", "/api/oauth/token", body=b"form", attempt=world.attempt())
        with pytest.raises(InvalidDigest):
            world._exchange(replace(broken, body=b"another form"), TokenRequest(stolen))
    others = thief.message("POST", "/api/oauth/token", body=b"form", attempt=world.attempt())
    with pytest.raises(InvalidDigest):
        world._exchange(replace(others, body=b"another form"), TokenRequest(stolen))
    with pytest.raises(InsufficientCoverage):
        world._exchange(replace(others, fields={**others.fields, "baton-grant": ("x",)}), TokenRequest(stolen))
    world.clock.skip(SIGNATURE_WINDOW_S + 1)
    with pytest.raises(ClockSkew):
        world._exchange(others, TokenRequest(stolen))
    assert counted() == 0
    again = world.login(world.phone()).access_token  # another login of the same account
    for seconds, token in ((0, stolen), (1, again), (898, stolen), (1, again)):
        world.clock.skip(seconds)
        with pytest.raises(WrongKey):
            world.exchange(thief, token, attempt=world.attempt())
    assert counted() == 2


def test_reuse_of_one_account_counts_once_a_day(world: World) -> None:
    """An account owner can log in and reuse a token repeatedly. For the alarm this is one account."""
    world.register(world.phone())
    for _ in range(8):
        world.clock.skip(1)
        phone = world.phone()
        token = world.login(phone).access_token
        world.exchange(phone, token, attempt=world.attempt())
        with pytest.raises(TokenReused):
            world.exchange(phone, token, attempt=world.attempt())
    reuses = [facts for event, facts in world.log.recorded if event == "token_reused"]
    assert [facts["first_of_account"] for facts in reuses] == [1, *[0] * 7]


def test_an_old_request_signed_by_another_key_ends_nothing() -> None:
    """``revoke_on_wrong_key`` requires a complete and recent signature, and not only another keyid."""
    world = World(revoke_on_wrong_key=True)
    phone, thief = world.phone(), world.phone()
    token = world.register(phone).access_token
    kept = thief.message("POST", "/api/oauth/token", body=b"form", attempt=world.attempt())
    world.clock.skip(SIGNATURE_WINDOW_S + 1)
    with pytest.raises(ClockSkew):
        world._exchange(kept, TokenRequest(token))
    assert world.use(phone, token)


@pytest.mark.guarantee(4)
def test_the_setting_revoke_on_wrong_key_ends_the_lineage() -> None:
    """An operator may choose to end the lineage if a genuine token is sent with another key."""
    world = World(revoke_on_wrong_key=True)
    phone = world.phone()
    token = world.register(phone).access_token
    with pytest.raises(TokenReused):
        world.exchange(world.phone(), token, attempt=world.attempt())
    with pytest.raises(errors.LoginRequired) as refusal:
        world.exchange(phone, token, attempt=world.attempt())
    assert refusal.value.members == {"reason": "reuse"}


@pytest.mark.guarantee(3)
def test_reuse_is_503_if_the_end_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """E8: a failed write is a server error. The repeated request is answered as reuse."""
    phone = world.phone()
    token = world.register(phone).access_token
    world.exchange(phone, token, attempt=world.attempt())

    def fail(*_: object, **__: object) -> None:
        raise errors.Unavailable("planted")

    with monkeypatch.context() as broken:
        broken.setattr(type(world.stores.lineage_store), "end", fail)
        with pytest.raises(errors.Unavailable):
            world.exchange(phone, token, attempt="x" * 16)
    with pytest.raises(TokenReused):
        world.exchange(phone, token, attempt="x" * 16)


@pytest.mark.guarantee(7)
def test_a_token_newer_than_a_restored_table_is_answered_with_log_in(world: World) -> None:
    """E9: a genuine token with a generation above the stored generation means that a backup was restored."""
    phone = world.phone()
    first = world.register(phone)
    before = dict(world.stores.tables.lineages)
    second = world.exchange(phone, first.access_token, attempt=world.attempt()).access_token
    world.stores.tables.lineages.clear()
    world.stores.tables.lineages.update(before)
    with pytest.raises(errors.LoginRequired):
        world.exchange(phone, second, attempt=world.attempt())
    with pytest.raises(errors.LoginRequired):
        world.use(phone, second)
    assert [event for event, _ in world.log.recorded].count("generation_ahead") == 2


@pytest.mark.guarantee(9)
def test_a_token_issued_in_the_future_is_a_server_error(world: World) -> None:
    """E10: two server clocks differ by more than a minute. The answer is 503."""
    phone = world.phone()
    token = world.register(phone).access_token
    world.clock.skip(-61)
    with pytest.raises(errors.Unavailable):
        world.exchange(phone, token, attempt=world.attempt())
    world.clock.skip(1)
    assert world.exchange(phone, token, attempt=world.attempt())


@pytest.mark.guarantee(7)
@pytest.mark.parametrize(
    ("skip_s", "reason"), [(30 * DAY_S, None), (30 * DAY_S + 1, EndReason.IDLE), (90 * DAY_S, EndReason.EXPIRED)]
)
def test_idle_and_absolute_limit_end_a_lineage(world: World, skip_s: int, reason: EndReason | None) -> None:
    """E4: the limits are thirty days without an exchange, and ninety days in all."""
    phone = world.phone()
    token = world.register(phone).access_token
    world.clock.skip(skip_s)
    if reason is None:
        assert world.exchange(phone, token, attempt=world.attempt())
        return
    with pytest.raises(errors.LoginRequired) as refusal:
        world.exchange(phone, token, attempt=world.attempt())
    assert refusal.value.members == {"reason": reason.value}


@pytest.mark.guarantee(7)
def test_the_not_before_time_ends_every_earlier_lineage(world: World) -> None:
    """An operator raises the time after a restore. A lineage that began earlier stays ended."""
    phone = world.phone()
    token = world.register(phone).access_token
    world.key_ring.ring = replace(world.key_ring.ring, not_before=world.clock() + 1)
    with pytest.raises(errors.LoginRequired):
        world.use(phone, token)
    with pytest.raises(errors.LoginRequired):
        world.exchange(phone, token, attempt=world.attempt())


def test_wrong_kinds_clients_and_scopes_have_no_effect(world: World) -> None:
    """E1, E1c: an access token, another or unknown client id and a larger scope are refused.

    The generation does not change.
    """
    phone = world.phone("none")
    issued = world.register(phone, client_id="oauth")
    assert issued.refresh_token
    with pytest.raises(TokenInvalid):
        world.exchange(phone, issued.access_token)
    with pytest.raises(UnauthorizedClient):
        world.exchange(phone, issued.refresh_token, client_id="mobile")
    with pytest.raises(UnknownClient):
        world.exchange(phone, issued.refresh_token, client_id="nobody")
    with pytest.raises(InvalidScope):
        world.exchange(phone, issued.refresh_token, scope="account admin")
    child = world.exchange(phone, issued.refresh_token, client_id="oauth", scope="account")
    assert generation(world, child.access_token) == 1


def test_a_long_lived_token_cannot_be_exchanged(world: World) -> None:
    """``long_lived`` at /oauth/token is ``unauthorized_client``."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="iot")
    assert not issued.refresh_token
    with pytest.raises(UnauthorizedClient):
        world.exchange(phone, issued.access_token)


def test_a_reusable_refresh_token_can_be_used_repeatedly(world: World) -> None:
    """Mechanism ``refresh``: each renewal returns a new access token. Generation and refresh token do not change."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="legacy")
    assert issued.refresh_token
    world.clock.skip(59 * DAY_S)
    seen = set()
    for _ in range(3):
        renewed = world.exchange(phone, issued.refresh_token)
        assert renewed.refresh_token == issued.refresh_token
        assert world.use(phone, renewed.access_token)
        seen.add(renewed.access_token)
        world.clock.skip(1)
    assert len(seen) == 3
    world.clock.skip(DAY_S)
    with pytest.raises(errors.LoginRequired):
        world.exchange(phone, issued.refresh_token)


def race(contenders: list[Callable[[], object]]) -> None:
    """Start all functions in parallel and wait for them."""
    barrier = Barrier(len(contenders))

    def run(contender: Callable[[], object]) -> None:
        barrier.wait()
        contender()

    threads = [Thread(target=run, args=(contender,)) for contender in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.guarantee(1)
def test_sixteen_parallel_exchanges_with_one_attempt_return_one_child(world: World) -> None:
    """Guarantee 1: all of them get the same child."""
    phone = world.phone()
    token = world.register(phone).access_token
    for _ in range(20):
        attempt, children = world.attempt(), list[str]()
        current = token

        def contend(current: str = current, attempt: str = attempt, children: list[str] = children) -> None:
            children.append(world.exchange(phone, current, attempt=attempt).access_token)

        race([contend] * 16)
        assert len(children) == 16
        assert len(set(children)) == 1
        token = children[0]


def test_a_presented_token_has_the_values_that_the_rule_compares(world: World) -> None:
    """Each claim is compared with the account state."""
    phone = world.phone()
    token = world.register(phone).access_token
    proved = world.call.proof.token(token, now=world.clock())
    presented = proved.presented("attempt-0000000000")
    assert isinstance(presented, PresentedToken)
    assert (presented.generation, presented.client) == (0, 1)
    assert presented.issued_at == world.clock()
    assert MECHANISMS[MechanismName.EXCHANGE] is proved.client.mechanism


@pytest.mark.parametrize("client_id", ["mobile", "mobile-opaque", "simple"])
def test_an_exchange_reads_the_key_ring_once(world: World, client_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ring verifies the token, judges the login and mints the child."""
    phone = world.phone("none" if client_id == "simple" else "hmac")
    first = world.register(phone, client_id=client_id)
    ring = world.call.proof.key_ring.current(now=world.clock())
    reads: list[int] = []

    def current(_: object, *, now: int) -> Ring:
        reads.append(now)
        return ring

    monkeypatch.setattr(type(world.call.proof.key_ring), "current", current)
    assert first.refresh_token
    second = world.exchange(phone, first.refresh_token, attempt=world.attempt())
    assert len(reads) == 1
    world.use(phone, second.access_token)
    assert len(reads) == 2


def twin(token: str) -> str:
    """Return the JWT with the other valid signature, (r, n - s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signing_input, _, signature = token.rpartition(".")
    raw = decode_base64url(signature)
    return (
        f"{signing_input}.{encode_base64url(raw[:32] + (order - int.from_bytes(raw[32:], 'big')).to_bytes(32, 'big'))}"
    )


def test_the_other_valid_signature_of_a_jwt_counts_as_the_same_token(world: World) -> None:
    """The JWT with this signature is accepted on calls, and in the repetition of an exchange.

    With another attempt it is a reuse. Tokens are not compared as text.
    """
    phone = world.phone()
    first, attempt = world.register(phone, client_id="mobile"), world.attempt()
    assert world.use(phone, twin(first.access_token)).device_id == first.device_id
    second = world.exchange(phone, first.access_token, attempt=attempt)
    assert world.exchange(phone, twin(first.access_token), attempt=attempt) == second
    with pytest.raises(TokenReused):
        world.exchange(phone, twin(first.access_token), attempt=world.attempt())
    with pytest.raises(errors.LoginRequired):
        world.exchange(phone, second.access_token, attempt=world.attempt())


def test_an_attempt_in_quotes_equals_the_attempt_without_quotes(world: World) -> None:
    """RFC 8941 strings have quotes. An app that omits them in a repetition must not count as a thief."""
    phone = world.phone()
    token = world.register(phone).access_token
    attempt = "!#[]~-and-16-or-more"
    child = world.exchange(phone, token, attempt=attempt)
    for spelling in (f'"{attempt}"', f" {attempt}\t"):
        assert world.exchange(phone, token, attempt=spelling).access_token == child.access_token


@pytest.mark.parametrize(
    "attempt",
    [
        *(" ", '"', '""', "x" * 15, "x" * 129, f'"{"x" * 15}"', f'"{"x" * 129}"'),
        *('"' + "x" * 16, "x" * 16 + '"', "x" * 16 + '"x', "x" * 16 + "\\", "x" * 16 + " x", "x" * 16 + "\x7f"),
        *(f'"{"x" * 16}";a=1', f'"{"x" * 16}\n"', "é" * 16),
    ],
)
def test_an_attempt_of_another_form_is_refused_and_nothing_changes(world: World, attempt: str) -> None:
    """E0: an attempt has 16 to 128 visible ASCII characters. A shorter attempt could be guessed or repeat by chance."""
    phone = world.phone("none")
    token = world.register(phone, client_id="simple").access_token
    with pytest.raises(errors.Malformed):
        world.exchange(phone, token, attempt=attempt)
    assert generation(world, world.exchange(phone, token, attempt="x" * 16).access_token) == 1
