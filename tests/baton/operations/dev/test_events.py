"""The stream of events: new events, resuming after a lost connection, and the limit of streams."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.baton.operations.dev.conftest import Server
from tools.dev.api import events
from tools.dev.api.answers import DevRefusal
from tools.dev.api.events import KEPT, STREAMS_MAX, Events
from tools.dev.api.history import History
from tools.dev.api.records import RECORDS_KEPT, Records, Sent
from tools.dev.api.seen import Seen


@contextlib.contextmanager
def stream(server: Server, query: str = "", **fields: str) -> Iterator[http.client.HTTPResponse]:
    """Open a stream."""
    with contextlib.closing(http.client.HTTPConnection("localhost", server.port, timeout=10)) as connection:
        connection.request(
            "GET", f"/_dev/events{query}", headers={name.replace("_", "-"): v for name, v in fields.items()}
        )
        answer = connection.getresponse()
        yield answer
        answer.close()


def following(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream."""
    number = None
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            number = int(value)
        elif name == "data":
            event = json.loads(value)
            assert event.get("n") == number
            yield event
            number = None


def test_a_stream_has_the_following_events(server: Server) -> None:
    """The events are a request, a change of the clock, a fault and a mail. Earlier events are sent only on request."""
    with stream(server) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Connection"] == "close"
        phone, email = server.registered("phone 1")
        forgot = {"email": email, "client_id": "mobile", "device": {"public_key": phone.key.jwk()}}
        phone.post("/password/forgot", forgot, token=None)
        server.dev("POST", "/clock", {"skip": 60})
        server.dev("POST", "/faults", {"name": "throttled", "match": {"phone": "another"}})
        seen = following(answer)
        events_ = [next(seen) for _ in range(5)]
    assert [event["kind"] for event in events_] == ["request", "mail", "request", "clock", "fault"]
    assert events_[0]["phone"] == "phone 1"
    assert events_[1]["to"] == email
    assert events_[3]["skipped"] == 60
    assert events_[4]["change"] == "added"
    server.dev("DELETE", "/faults")
    server.dev("POST", "/clock", {"skip": -60})


@pytest.mark.parametrize("resume", ["query", "field"])
def test_a_stream_resumes_after_an_event(server: Server, resume: str) -> None:
    """A browser sends ``Last-Event-ID`` after a lost connection."""
    server.registered()
    with stream(server, "?after=0") as answer:
        first = next(following(answer))
    server.dev("POST", "/clock", {"skip": 0})
    after = first["n"]
    given = stream(server, f"?after={after}") if resume == "query" else stream(server, Last_Event_ID=str(after))
    with given as answer:
        assert next(following(answer))["n"] == after + 1


@pytest.mark.parametrize("query", ["?after=-1", "?after=x", "?since=1", "?after=1&after=2"])
def test_a_stream_takes_only_a_number(server: Server, query: str) -> None:
    """An unknown parameter is refused, and the refusal lists the known parameters."""
    with stream(server, query) as answer:
        assert answer.status == 400


def test_at_most_eight_streams_are_open(server: Server) -> None:
    """A closed stream makes room, even if no event is sent."""
    with contextlib.ExitStack() as opened:
        for _ in range(STREAMS_MAX):
            opened.enter_context(admitted(server))
        with stream(server) as answer:
            assert answer.status == 503
    with admitted(server):
        pass


@contextlib.contextmanager
def admitted(server: Server) -> Iterator[None]:
    """Open a stream as soon as there is room: the streams of earlier tests end within a second."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with stream(server) as answer:
            if answer.status == 200:
                yield
                return
        time.sleep(0.1)
    pytest.fail("no stream was released")


def test_a_quiet_stream_has_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sends them to detect that the reader has closed the connection."""
    monkeypatch.setattr(events, "COMMENT_EVERY_S", 0.01)
    sent = Events(lambda: 0.0).stream(None)
    assert [next(sent)[:1], next(sent)[:1], next(sent)] == [b":", b":", b": still here\n\n"]


def test_events_that_are_no_longer_kept_are_counted() -> None:
    """A page that was away for a long time can show that its list has a gap."""
    kept = Events(lambda: 1.5)
    for number in range(KEPT + 10):
        kept.publish("clock", skipped=number)
    sent = kept.stream(4)
    next(sent)
    assert next(sent) == b'event: missed\ndata: {"missed": 6}\n\n'
    lines = next(sent).decode().split("\n\n")[:-1]
    assert len(lines) == KEPT
    assert lines[0] == 'id: 11\ndata: {"n": 11, "at": 1.5, "kind": "clock", "skipped": 10}'
    kept.close()
    with pytest.raises(StopIteration):
        next(sent)


def test_a_stream_that_ends_makes_room() -> None:
    """It does not matter whether the stream was read."""
    kept = Events(lambda: 0.0)
    opened = [kept.stream(None) for _ in range(STREAMS_MAX)]
    for one in opened:
        next(one)
    with pytest.raises(DevRefusal):
        kept.stream(None)
    opened[0].close()  # type: ignore[attr-defined] # a generator
    kept.stream(None)


def test_an_event_that_is_no_longer_kept_is_freed() -> None:
    """The garbage collector does not track kept events and requests, and is not needed to free them."""
    freed = []

    class Body(bytes):
        def __del__(self) -> None:
            freed.append(1)

    events = Events(lambda: 0.0)
    records = Records(events, History(), frozenset)
    for _ in range(RECORDS_KEPT + 10):
        records.add(Sent("GET", "/api/x", [], Body(b"x"), ""), None, Seen(), faults="", ms=1, at=1)
    assert len(freed) == 10
    events.after(0)
    assert len(freed) == RECORDS_KEPT + 10, "a read event has its text only, and not the request"
