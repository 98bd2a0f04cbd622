"""The reference client over the gateway, in one process."""

from collections.abc import Callable
from typing import Any

import pytest

from baton_client import Answer, BatonClient, MemoryStorage, NoResponse, Request
from tools.dev.gateway import DevelopmentClock, Gateway

BASE_URL = "https://api.example.com/api"
PASSWORD = "copper lantern drifting sideways"


class Line:
    """A transport over the gateway. It records its requests. A test can make it lose the next requests or answers."""

    def __init__(self, gateway: Gateway) -> None:
        """Send requests to this gateway."""
        self.gateway = gateway
        self.lose_requests = self.lose_answers = 0
        self.carried: list[tuple[Request, Answer]] = []

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request."""
        del timeout_s
        if self.lose_requests:
            self.lose_requests -= 1
            raise NoResponse("the request was lost")
        target = "/" + request.url.split("/", 3)[3]
        said = self.gateway.call(request.method, target, request.headers.items(), request.body)
        answer = Answer(said.status, {name.lower(): value for name, value in said.headers}, said.body)
        self.carried.append((request, answer))
        if self.lose_answers:
            self.lose_answers -= 1
            raise NoResponse("the answer was lost")
        return answer


@pytest.fixture
def make_client(gateway: Gateway, clock: DevelopmentClock) -> Callable[..., tuple[BatonClient, Line]]:
    """Make a client and its transport."""

    def make(
        client_id: str = "mobile", *, storage: Any = None, wrong_by_s: float = 0.0, **named: Any
    ) -> tuple[BatonClient, Line]:
        line = Line(gateway)
        client = BatonClient(
            BASE_URL,
            client_id,
            storage or MemoryStorage(),
            clock=lambda: clock.time() + wrong_by_s,
            transport=line,
            sleep=lambda _: None,
            **named,
        )
        return client, line

    return make
