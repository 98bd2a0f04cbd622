"""Defects of a team's view: the answer has Baton's form, and the developer sees the traceback."""

import json
from collections.abc import Callable, Mapping

import pytest
from chalice.app import Chalice, Response

from chalicelib.baton import errors
from chalicelib.baton.http.answer import answered as written
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.routing import Answer, Message, RouteSpec
from tests.baton.memory import MemoryLog
from tools.dev.gateway import Gateway, GatewayResponse


def plain(edge: Dispatch, view: Callable[[Message], object]) -> Callable[..., Response]:
    """Make the view of a route that requires no login."""
    return edge.view(lambda request: written(view(request.message)), RouteSpec(signed=False), view)


def answered(view: Callable[[Message], object], *, development: bool) -> tuple[GatewayResponse, Mapping[str, object]]:
    """Call a route with this view. Return the answer and the recorded events of the defect."""
    app = Chalice(app_name="defective", configure_logs=False)
    log = MemoryLog()
    edge = Dispatch(app=app, clock=lambda: 7, entropy=lambda size: b"x" * size, log=log, development=development)
    app.route("/broken", methods=["GET"], content_types=[])(plain(edge, view))
    response = Gateway([app]).call("GET", "/api/broken")
    return response, dict(log.recorded)["internal_error"]


def secretive(_: Message) -> Answer:
    """Raise an exception whose message must not be in a log."""
    raise KeyError("a secret of somebody's")


def test_a_defect_shows_its_traceback_to_its_developer(capsys: pytest.CaptureFixture[str]) -> None:
    """``make dev`` prints the place and the message on the terminal. The log has neither."""
    response, noted = answered(secretive, development=True)
    shown = capsys.readouterr().err
    assert (response.status, noted["kind"]) == (500, "KeyError")
    assert "in secretive" in shown
    assert "a secret of somebody's" in shown
    assert b"secret of" not in response.body
    assert "secret of" not in str(noted)


def test_a_deployment_shows_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """The message may contain a secret, so only the type and the place of the exception are logged."""
    _, noted = answered(secretive, development=False)
    assert capsys.readouterr() == ("", "")
    assert "secretive" in str(noted["where"])


def test_the_developer_sees_that_a_view_must_return_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A view of Chalice returns a dict. A view of Baton returns an ``Answer``."""

    def returns_a_dict(_: Message) -> dict[str, int]:
        return {"amount": 1}

    response, _ = answered(returns_a_dict, development=True)
    assert response.status == 500
    assert "the view must return an Answer, not a dict" in capsys.readouterr().err


@pytest.mark.parametrize("by_caller", [False, True])
def test_a_503_that_a_caller_can_cause_has_its_own_event(*, by_caller: bool) -> None:
    """Parallel requests of one account cause 503 and must not raise the alarm for server errors.

    The answer is the same as after any other 503.
    """
    app = Chalice(app_name="busy", configure_logs=False)
    log = MemoryLog()
    edge = Dispatch(app=app, clock=lambda: 7, entropy=lambda size: b"x" * size, log=log)

    def busy(_: Message) -> Answer:
        raise errors.Unavailable("the account state kept moving", by_caller=by_caller)

    app.route("/busy", methods=["GET"], content_types=[])(plain(edge, busy))
    response = Gateway([app]).call("GET", "/api/busy")
    assert (response.status, json.loads(response.body)["code"]) == (503, "unavailable")
    assert "by_caller" not in response.body.decode()
    apart = ["unavailable_by_caller"] if by_caller else []
    assert [event for event, _ in log.recorded] == [*apart, "refused"]


def test_begin_is_called_once_for_each_request() -> None:
    """`begin` resets the time budget of the stores, for example. The result of the request does not matter."""
    app = Chalice(app_name="begun", configure_logs=False)
    begun: list[int] = []
    edge = Dispatch(
        app=app,
        clock=lambda: 7,
        entropy=lambda size: b"x" * size,
        log=MemoryLog(),
        begin=lambda: begun.append(1),
    )
    app.route("/fine", methods=["GET"], content_types=[])(plain(edge, lambda _: Answer(200)))
    app.route("/broken", methods=["GET"], content_types=[])(plain(edge, secretive))
    gateway = Gateway([app])
    for path, status in (("/api/fine", 200), ("/api/broken", 500), ("/api/fine", 200)):
        assert gateway.call("GET", path).status == status
    assert len(begun) == 3
