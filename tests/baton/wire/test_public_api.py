"""The API for routes of a team: arguments, answers, query, path, authorization, OPTIONS, jobs, events."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any

import pytest
from chalice.app import Blueprint, Chalice
from msgspec import Meta

from chalicelib.baton import Answer, Baton, Body, Caller, Cookie, Query, StepUp, errors
from chalicelib.baton.http.answer import answered
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.routing import Message
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.conftest import ENVIRONMENT
from tests.baton.factors.authenticator import Authenticator
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import HOST, JSON, Device, Said, through
from tests.baton.wire.restore import keep, restore
from tools.dev.gateway import ROOT, DevelopmentClock, Gateway, GatewayResponse

ROLES = "\n[roles]\nadmin = { code = 1 }\nsupport = { code = 2 }\n"
PAGE = "https://app.example.com"


class Order(Body):
    """The body of a view."""

    item: Annotated[int, Meta(ge=1)]


class Listing(Query):
    """The query of a view."""

    page: Annotated[int, Meta(ge=1)] = 1
    deep: bool = False
    word: str | None = None
    near: float = float("inf")


def made(monkeypatch: pytest.MonkeyPatch) -> Baton:
    """Make a Baton with roles in its registry, without an application."""
    text = Clients.from_toml
    monkeypatch.setattr(Clients, "from_toml", lambda words, file="": text(words + ROLES, file))
    return Baton.from_environment(ENVIRONMENT)


def public(view: Callable[..., object], monkeypatch: pytest.MonkeyPatch, **shapes: Any) -> Gateway:
    """Serve one view that requires no login, at ``/public``."""
    baton, app = made(monkeypatch), Chalice(app_name="public", configure_logs=False)
    baton.install(app)
    app.route("/public", methods=["GET", "POST"])(baton.public(**shapes)(view))  # type: ignore[arg-type] # on purpose
    return Gateway([app])


# --- Arguments ---------------------------------------------------------------------------------------------------


def no_argument() -> Answer:
    """Accept nothing."""
    return Answer()


def caller_alone(caller: Caller) -> Answer:
    """Accept only the caller."""
    return Answer()


def keyword(caller: Caller, *, body: Order) -> Answer:
    """Accept the body as a keyword argument."""
    return Answer()


def two(caller: Caller, second: object, third: object) -> Answer:
    """Accept two more arguments."""
    return Answer()


@pytest.mark.parametrize(
    ("view", "asked"),
    [
        (no_argument, {}),
        (caller_alone, {"body": Order}),
        (caller_alone, {"query": Listing}),
        (keyword, {"body": Order}),
        (caller_alone, {"scope": "account payments"}),
        (caller_alone, {"role": "superuser"}),
        (caller_alone, {"role": ("admin", "superuser")}),
        (two, {"body": Order, "query": Listing, "step_up": StepUp()}),
    ],
)
def test_a_view_that_cannot_be_called_as_its_route_requires_is_a_type_error(
    view: Callable[..., Answer], asked: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is raised when the app starts, not at the first call."""
    with pytest.raises(TypeError):
        made(monkeypatch).signed(**asked)(view)


@pytest.mark.parametrize("first", ["install", "route"])
@pytest.mark.parametrize(
    ("path", "view"), [("/things/{thing}", caller_alone), ("/things", two), ("/things/{other}/{second}", two)]
)
def test_the_path_parameters_must_be_arguments_of_the_view(
    path: str, view: Callable[..., Answer], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are compared when the route is registered, or by `install`."""
    baton, app = made(monkeypatch), Chalice(app_name="own", configure_logs=False)
    decorated = baton.signed()(view)
    steps: list[Callable[[], object]] = [lambda: baton.install(app), lambda: app.route(path)(decorated)]
    before, refused = steps if first == "install" else steps[::-1]
    before()
    with pytest.raises(TypeError, match="must take"):
        refused()


def test_install_may_be_called_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second application would answer requests of the first application."""
    baton = made(monkeypatch)
    baton.install(Chalice(app_name="one", configure_logs=False))
    with pytest.raises(RuntimeError, match="before"):
        baton.install(Chalice(app_name="two", configure_logs=False))


# --- Answers -----------------------------------------------------------------------------------------------------


def fields(answer: GatewayResponse, name: str) -> list[str]:
    """Return all fields of this name."""
    return [value for given, value in answer.headers if given.lower() == name]


def test_two_cookies_are_sent_in_two_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookies cannot be joined with a comma. Each cookie is Secure and HttpOnly."""
    cookies = (Cookie("__Host-a", "1"), Cookie("b", "", max_age=0, path="/x", same_site="Lax"))
    answer = public(lambda _: Answer(204, cookies=cookies), monkeypatch).call("GET", "/api/public")
    assert fields(answer, "set-cookie") == [
        "__Host-a=1; Path=/; Secure; HttpOnly; SameSite=Strict",
        "b=; Path=/x; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(headers={"X-A": "a\r\nSet-Cookie: b=1"}),
        Answer(headers={"X-A": "a\nb"}),
        Answer(headers={"X-A": "a\0b"}),  # Chalice itself refuses line ends only
        Answer(headers={"X A": "a"}),
        *(
            Answer(headers={name: "1"})
            for name in (
                "Baton-Time",
                "baton-anything",
                "Cache-Control",
                "Access-Control-Allow-Origin",
                "set-cookie",
                "Content-Type",
            )
        ),
        Answer(cookies=(Cookie("a", "b; Path=/"),)),
        Answer(cookies=(Cookie("a b", "c"),)),
        Answer(cookies=(Cookie("a", "c", path="/;x"),)),
        Answer(media_type="text/plain\n", body="a"),
        Answer(body="text without a media type"),
        Answer(body=b"bytes"),
        Answer(body=object()),
        Answer.redirect("https://a.example/\r\nX-A: b"),
        *(Answer(status) for status in (0, 101, 199, 600, True, "200")),  # type: ignore[arg-type] # on purpose
        *(Answer(status, {"a": 1}) for status in (204, 205, 304)),
        *(Answer(200, {}, cache_s=kept) for kept in (-1, 0.5, "1, public")),  # type: ignore[arg-type] # the same
        *(
            Answer(cookies=(Cookie("a", "b", max_age=age),))  # type: ignore[arg-type] # the same
            for age in ("1; Domain=example.org", "1\r\nX-A: b", 1.5)
        ),
        Answer(cookies=(Cookie("a", "b", same_site="None"),)),  # type: ignore[arg-type] # the same
        *(Answer(headers={name: "1"}) for name in ("Content-Length", "transfer-encoding", "x-content-type-options")),
    ],
)
def test_an_invalid_answer_of_a_view_is_a_defect(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets 500, and no part of the invalid answer."""
    said = public(lambda _: answer, monkeypatch).call("GET", "/api/public")
    assert (said.status, json.loads(said.body)["code"]) == (500, "server_error")
    assert fields(said, "x-a") == fields(said, "set-cookie") == []


def test_a_redirect_a_page_and_a_text_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the headers of every answer."""
    sent = iter(
        [
            Answer.redirect("https://a.example/?q=1"),
            Answer.redirect("/next", 302),
            Answer.html("<p>\u00fc", 201),
            Answer(200, "a,b\n", media_type="text/csv", headers={"Vary": "Accept"}, cache_s=60),
        ]
    )
    gateway = public(lambda _: next(sent), monkeypatch)
    there, near, page, text = (gateway.call("GET", "/api/public", [("origin", PAGE)]) for _ in range(4))
    assert (there.status, there.header("location"), there.body) == (303, "https://a.example/?q=1", b"")
    assert (near.status, near.header("location")) == (302, "/next")
    assert (page.status, page.header("content-type")) == (201, "text/html; charset=utf-8")
    assert "default-src 'none'" in str(page.header("content-security-policy"))
    assert (text.body, text.header("content-type")) == (b"a,b\n", "text/csv")
    assert text.header("cache-control") == "public, max-age=60"
    assert text.header("vary") == "Accept, Origin"
    assert all(one.header("baton-request-id") for one in (there, near, page, text))
    with pytest.raises(ValueError, match="redirect"):
        Answer.redirect("/", 200)


def test_an_answer_with_a_cookie_is_not_cached_by_a_shared_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared cache would send one user's cookie to other users. A cacheable answer has no Baton-Time."""
    sent = iter([Answer(200, {}, cookies=(Cookie("a", "b"),), cache_s=60), Answer(200, {}, cache_s=60)])
    gateway = public(lambda _: next(sent), monkeypatch)
    own, shared = (gateway.call("GET", "/api/public") for _ in range(2))
    assert (own.header("cache-control"), own.header("baton-time")) == ("private, max-age=60", None)
    assert (shared.header("cache-control"), shared.header("baton-time")) == ("public, max-age=60", None)


@pytest.mark.parametrize(
    "refusal",
    [
        errors.NotFound("x", thing=object()),
        errors.NotFound("x", detail="half \ud800"),
        errors.Refusal("a family has no code"),
    ],
)
def test_a_refusal_that_cannot_be_encoded_is_a_defect(refusal: errors.Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is encoded where the view can be named, so the log contains the place of the defect."""
    noted: list[str] = []

    def view(_: Message) -> Answer:
        raise refusal

    baton, app = made(monkeypatch), Chalice(app_name="public", configure_logs=False)
    monkeypatch.setattr(baton.log, "record", lambda event, /, **_: noted.append(event))
    baton.install(app)
    app.route("/public")(baton.public()(view))
    said = Gateway([app]).call("GET", "/api/public")
    assert (said.status, json.loads(said.body)["code"]) == (500, "server_error")
    assert noted == ["internal_error", "refused"]


def test_a_refusal_cannot_have_a_member_with_a_name_of_baton(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client decides by `code` and `action`, and the log would contain another code than the answer."""

    def view(_: Message) -> Answer:
        raise errors.Conflict("x", code="mine", action="log_in", status=200, request_id="y", seat=7)

    body = json.loads(public(view, monkeypatch).call("GET", "/api/public").body)
    assert (body["code"], body["action"], body["status"], body["seat"]) == ("conflict", "fix_request", 409, 7)
    assert body["request_id"] != "y"


def test_the_repr_of_a_cookie_and_of_a_request_is_masked() -> None:
    """A cookie in a log would be a stolen session."""
    assert "hunter2" not in repr(Cookie("a", "hunter2"))
    assert answered(Answer(cookies=(Cookie("a", "hunter2"),))).headers["Set-Cookie"][0].startswith("a=hunter2;")


# --- Query and path ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("", 200, [1, False, None]),
        ("page=2&deep=true&word=3", 200, [2, True, "3"]),
        ("page=0", 422, "wrong_type"),
        ("page=two", 422, "wrong_type"),
        ("page=1.5", 422, "wrong_type"),
        ("deep=perhaps", 422, "wrong_type"),
        ("near=0.5", 200, [1, False, None]),
        *((f"near={text}", 422, "wrong_type") for text in ("nan", "inf", "-Infinity", "1e999")),
        ("page=1&page=1", 400, "duplicate_field"),
        ("pages=1", 400, "unknown_field"),
    ],
)
def test_a_query_is_converted(query: str, status: int, told: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each parameter may occur once. Unknown parameters are refused."""
    gateway = public(lambda _, asked: Answer(200, [asked.page, asked.deep, asked.word]), monkeypatch, query=Listing)
    said = gateway.call("GET", f"/api/public?{query}")
    body = json.loads(said.body)
    assert (said.status, body if status == 200 else body["code"]) == (status, told)
    if query == "page=0":
        assert "`/page` must be an integer of at least 1." in body["detail"]


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("caf%C3%A9", "café"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"),
        ("%FF", None),
        ("%C3", None),
        ("%0", None),
        ("%zz", None),
        ("a%00", None),
        ("%ED%A0%80", None),
    ],
)
def test_a_path_parameter_is_decoded_once(sent: str, got: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 are `malformed`."""
    baton, app = made(monkeypatch), Chalice(app_name="paths", configure_logs=False)
    baton.install(app)

    @app.route("/things/{thing}")
    @baton.public()
    def show(_: Message, thing: str) -> Answer:
        return Answer(200, [thing])

    said = Gateway([app]).call("GET", f"/api/things/{sent}")
    if got is None:
        assert (said.status, json.loads(said.body)["code"]) == (400, "malformed")
    else:
        assert json.loads(said.body) == [got]


# --- OPTIONS -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["route first", "install first", "blueprint"])
def test_options_is_answered_for_routes_in_any_order(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that is registered late has its preflight too. A route with Chalice's own CORS is not changed."""
    baton, app, routes = made(monkeypatch), Chalice(app_name="pages", configure_logs=False), Blueprint("pages")
    if order != "route first":
        baton.install(app)
    owner = routes if order == "blueprint" else app
    owner.route("/things", methods=["PUT"])(baton.signed()(caller_alone))
    owner.route("/things", methods=["GET"])(dict)
    owner.route("/own", methods=["GET"], cors=True)(dict)
    if order == "blueprint":
        app.register_blueprint(routes)
    if order == "route first":
        baton.install(app)
    asked = [("origin", PAGE), ("access-control-request-method", "PUT"), ("content-type", "application/json")]
    said = Gateway([app]).call("OPTIONS", "/api/things", asked)
    assert (said.status, said.header("access-control-allow-methods")) == (204, "GET, PUT")
    assert "OPTIONS" not in app.routes["/own"]
    assert app.routes["/things"]["PUT"].content_types == []
    assert app.routes["/things"]["GET"].content_types == ["application/json"]
    assert "OPTIONS" in app.routes["/me"]


def test_without_origins_no_path_answers_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page of another origin may call, so no preflight is needed."""
    app = Chalice(app_name="none", configure_logs=False)
    Baton.from_environment({**ENVIRONMENT, "BATON_ORIGINS": ""}).install(app)
    assert not any("OPTIONS" in methods for methods in app.routes.values())


# --- Authorization ----------------------------------------------------------------------------------------------------


@pytest.fixture
def team(
    tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch
) -> tuple[ModuleType, Callable[..., Device]]:
    """Serve routes of a team, each with one requirement, and make devices."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    text = Clients.from_toml
    monkeypatch.setattr(Clients, "from_toml", lambda words, file="": text(words + ROLES, file))
    module = load_environment(clock)
    app, baton = module.app, module.baton

    @app.route("/scoped", methods=["GET"])  # type: ignore[untyped-decorator] # a module made at run time
    @baton.signed(scope="account")  # type: ignore[untyped-decorator] # the same
    def scoped(caller: Caller) -> Answer:
        caller.require_scope("account")
        return Answer(200, {"scope": sorted(caller.scope), "acr": caller.acr, "amr": caller.amr})

    @app.route("/narrow", methods=["GET"])  # type: ignore[untyped-decorator] # the same
    @baton.signed()  # type: ignore[untyped-decorator] # the same
    def narrow(caller: Caller) -> Answer:
        caller.require_scope("account payments")
        return Answer()

    @app.route("/admin", methods=["GET"])  # type: ignore[untyped-decorator] # the same
    @baton.signed(role=("admin", "support"))  # type: ignore[untyped-decorator] # the same
    def admin(caller: Caller) -> Answer:
        return Answer(200, {"roles": sorted(caller.roles), "live": caller.live()})

    @app.route("/level", methods=["GET"])  # type: ignore[untyped-decorator] # the same
    @baton.signed(acr="aal1")  # type: ignore[untyped-decorator] # the same
    def at_level(caller: Caller) -> Answer:
        return Answer(200, caller.live())

    @app.route("/kept", methods=["GET"])  # type: ignore[untyped-decorator] # the same
    @baton.signed()  # type: ignore[untyped-decorator] # the same
    def kept(caller: Caller) -> Answer:
        return Answer(200, {"account": caller.account}, cache_s=60)

    @app.route("/orders", methods=["POST"])  # type: ignore[untyped-decorator] # the same
    @baton.signed(body=Order)  # type: ignore[untyped-decorator] # the same
    def order(caller: Caller, order: Order) -> Answer:
        if order.item > 10:
            first = caller.require_step_up(max_age=120)
            assert caller.require_step_up(max_age=120) is first is caller.stepped_up
            if order.item > 20:
                caller.require_step_up(max_age=1)
        baton.record("app_ordered", caller, item=order.item)
        return Answer(201, {"stepped_up": caller.stepped_up is not None})

    @app.route("/search", methods=["POST"])  # type: ignore[untyped-decorator] # the same
    @baton.signed(query=Listing)  # type: ignore[untyped-decorator] # the same
    def search(caller: Caller, query: Listing) -> Answer:
        with pytest.raises(ValueError, match="query"):
            caller.require_step_up()
        return Answer(200, {"page": query.page})

    send = through(Gateway([app]))
    return module, lambda **members: Device(send, lambda: int(clock.time()), **members)


Team = tuple[ModuleType, Callable[..., Device]]


def test_scope_role_and_acr_are_checked(team: Team) -> None:
    """A missing scope or role is 403. The roles are those that the account has now."""
    module, device = team
    phone = device()
    phone.register("ada@example.com")
    assert phone.get("/scoped").members == {"scope": ["account"], "acr": "aal1", "amr": ["pwd"]}
    refused = phone.get("/narrow")
    assert (refused.status, refused.code, refused.members["action"]) == (403, "insufficient_scope", "fix_request")
    refused = phone.get("/admin")
    assert (refused.status, refused.code, refused.members["action"]) == (403, "insufficient_role", "fix_request")
    state = module.baton.lineage_store
    account = phone.get("/me").members["account_id"]
    state.set_roles(account, frozenset({2}), expected=frozenset())
    admitted = phone.get("/admin").members
    assert admitted["roles"] == ["support"]
    assert ":roles_as_read" in admitted["live"]["ConditionCheck"]["ExpressionAttributeValues"]
    live = phone.get("/level").members["ConditionCheck"]
    assert ":roles_as_read" not in live["ExpressionAttributeValues"]
    assert live["TableName"].endswith("-lineages")


def test_an_answer_to_a_caller_is_not_cached_by_a_shared_cache(team: Team) -> None:
    """Otherwise a cache would send the answer of one account to other accounts."""
    _, device = team
    phone = device()
    phone.register("ada@example.com")
    said = phone.get("/kept")
    assert (said.status, said.headers["cache-control"]) == (200, "private, max-age=60")
    assert "baton-time" not in said.headers


def test_the_condition_of_live_holds_while_the_login_is_active(team: Team) -> None:
    """The condition is used in the team's own transaction, with the low-level client."""
    module, device = team
    phone = device()
    phone.register("ada@example.com")
    check = phone.get("/level").members
    client = module.baton.database._dynamodb
    write = {"Put": {"TableName": module.baton.database.tables.ephemeral, "Item": {"pk": {"S": "of the team"}}}}
    client.call("transact_write_items", TransactItems=[check, write])
    assert phone.post("/logout", {}).status == 204
    with pytest.raises(Exception, match="condition"):
        client.call("transact_write_items", TransactItems=[check, write])


def test_a_view_may_require_a_step_up_for_some_requests(team: Team) -> None:
    """The view requires a grant.

    The grant is used once: the second check in the same view accepts it, and the next request is refused.
    """
    _, device = team
    phone = device()
    phone.register("ada@example.com")
    assert phone.post("/orders", {"item": 10}).members == {"stepped_up": False}
    refused = phone.post("/orders", {"item": 11})
    assert (refused.status, refused.code) == (401, "step_up_required")
    assert (refused.members["max_age"], refused.members["acr_values"]) == (120, "aal1")
    body = b'{"item": 11}'
    grant = {"baton-grant": phone.step_up("POST", "/orders", body)}
    assert phone.request("POST", "/orders", b'{"item": 12}', JSON | grant).code == "grant_invalid"
    assert phone.request("POST", "/orders", body, JSON | grant).members == {"stepped_up": True}
    assert phone.request("POST", "/orders", body, JSON | grant).code == "grant_invalid"


def test_a_stricter_requirement_later_in_the_view_checks_the_used_grant(team: Team, clock: DevelopmentClock) -> None:
    """The grant is not used again. If it is too old, the call is refused."""
    _, device = team
    phone = device()
    phone.register("ada@example.com")
    body = b'{"item": 21}'
    grant = {"baton-grant": phone.step_up("POST", "/orders", body)}
    clock.skip(5)
    assert phone.request("POST", "/orders", body, JSON | grant).code == "step_up_required"


def test_a_route_with_a_query_cannot_require_a_step_up(team: Team) -> None:
    """A grant does not cover a query."""
    _, device = team
    bearer = device(client_id="simple", bound=False)
    bearer.register("ada@example.com")
    assert bearer.request("POST", "/search?page=3").members == {"page": 3}


def test_the_acr_of_a_login_is_compared() -> None:
    """An unknown level is below all others, and no route can require it."""
    low = Caller(
        account="a",  # type: ignore[arg-type] # an id that only this test uses
        device_id="d",  # type: ignore[arg-type] # the same
        client_id="c",
        scope=frozenset(),
        bound=True,
        auth_time=0,
        acr="0",
        amr=(),
    )
    with pytest.raises(errors.Refusal) as refused:
        low.require_acr("aal1")
    assert (refused.value.status, refused.value.code, refused.value.action) == (401, "insufficient_acr", "log_in")
    for unknown in ("aal9", "0"):
        with pytest.raises(ValueError, match="does not exist"):
            StepUp(acr=unknown)
        with pytest.raises(ValueError, match="does not exist"):
            low.require_acr(unknown)


def test_a_level_keeps_a_restored_login_out(team: Team) -> None:
    """`acr="aal1"` requires that a person has logged in. A login with the password and the same key is accepted."""
    _, device = team
    phone, new_phone = device(), device()
    platform = Authenticator(rp_id="localhost", origin="http://localhost:8000", flags=0)
    phone.register("ada@example.com")
    assert keep(phone, platform).status == 204
    assert restore(new_phone, platform).status == 200
    assert new_phone.get("/scoped").members["acr"] == "0"
    refused = new_phone.get("/level")
    assert (refused.status, refused.code, refused.members["action"]) == (401, "insufficient_acr", "log_in")
    assert new_phone.login("ada@example.com").status == 200
    assert new_phone.get("/level").status == 200


# --- Jobs and events ---------------------------------------------------------------------------------------------


def test_an_event_of_a_team_has_its_own_prefix(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Therefore a new event of Baton cannot have the same name."""
    module, device = team
    told: list[tuple[str, Mapping[str, object]]] = []
    monkeypatch.setattr(module.baton.log, "record", lambda event, /, **facts: told.append((event, facts)))
    phone = device()
    phone.register("ada@example.com")
    assert phone.post("/orders", {"item": 1}).status == 201
    assert "app_ordered" in dict(told)
    with pytest.raises(ValueError, match="app_"):
        module.baton.record("registered", None)
    for name in ("app_", "app_" + 61 * "x", "app_a b", "app_a\n", "app_\u00e9"):
        with pytest.raises(ValueError, match="app_"):
            module.baton.record(name, None)


def test_an_event_may_have_facts_of_any_name(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, `caller=` and `event=` must not raise a `TypeError` after the effect."""
    module, device = team
    audited: list[Any] = []
    monkeypatch.setattr(module.baton.audit, "append", lambda event, **_: audited.append(event))
    phone = device()
    phone.register("ada@example.com")
    account = phone.get("/me").members["account_id"]

    class Known:
        device_id, client_id = "d", "mobile"

    Known.account = account  # type: ignore[attr-defined] # a caller that only this test makes
    module.baton.record("app_called", Known, caller="Bob", event="ring", self="x")
    assert audited[-1].details == {"caller": "Bob", "event": "ring", "self": "x", "client": "mobile"}


def test_a_job_has_a_request_id_and_its_defect_is_logged(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception is raised further, so that Lambda counts it."""
    module, _ = team
    begun: list[str] = []
    monkeypatch.setattr(module.baton.log, "start_request", lambda *, request_id: begun.append(request_id))
    told: list[str] = []
    monkeypatch.setattr(module.baton.log, "record", lambda event, /, **_: told.append(event))

    class Event:
        event_id = "an-event"

    @module.baton.job  # type: ignore[untyped-decorator] # a module made at run time
    def nightly(event: Event) -> None:
        raise KeyError(event.event_id)

    with pytest.raises(KeyError):
        nightly(Event())
    assert (begun, told) == (["an-event"], ["internal_error"])


def test_the_jobs_of_baton_have_their_own_function_names() -> None:
    """Chalice deploys each job under its name, with a handler that Lambda can import."""
    app = load_environment().app
    jobs = {source.name: source.handler_string for source in app.event_sources}
    assert jobs == {
        name: f"chalicelib.baton.http.jobs.{name}"
        for name in ("rotate_keys", "audit_configuration", "android_revocations", "apple_revocations")
    }


def test_a_public_view_gets_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view also gets the body, if the route has one."""
    gateway = public(lambda message, order: Answer(200, [message.method, order.item]), monkeypatch, body=Order)
    said = gateway.call("POST", "/api/public", [("host", HOST), *JSON.items()], b'{"item": 3}')
    assert json.loads(said.body) == ["POST", 3]
    wrong = gateway.call("POST", "/api/public", [("host", HOST), *JSON.items()], b'{"item": 0}')
    assert Said(wrong.status, {}, wrong.body).code == "wrong_type"


def test_a_public_route_refuses_an_idempotency_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with a key repeats its request. The route would ignore the key and act twice."""
    ran: list[str] = []

    def view(message: Message) -> Answer:
        ran.append(message.method)
        return Answer()

    gateway = public(view, monkeypatch)
    refused = gateway.call("POST", "/api/public", [("host", HOST), ("idempotency-key", "k" * 16)])
    assert (refused.status, json.loads(refused.body)["code"], ran) == (400, "idempotency_unsupported", [])
    for method, headers in (("POST", []), ("GET", [("idempotency-key", "k" * 16)])):
        assert gateway.call(method, "/api/public", [("host", HOST), *headers]).status == 200


def test_the_module_of_a_job_loads_its_application() -> None:
    """Lambda imports the module of the job's handler, not ``app.py``."""
    program = "import sys\nfrom chalicelib.baton.http import jobs\nassert 'app' not in sys.modules\n"
    program += "assert jobs._jobs().dispatch.app is sys.modules['app'].app"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
