"""The number of files of ``chalicelib`` whose code runs for a request. A reader who follows the request must read them.

Each case is one call of the gateway in a warm environment, over DynamoDB. A file counts if one of its functions runs.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from tests.baton.wire.conversation import Device, Said

SHIPPED = str(Path(__file__).parents[3] / "chalicelib")
KIT = f"{SHIPPED}/baton/testing/"
"""The gateway and the clock of a test. They are not deployed."""
QUEUE_OF_DEVELOPMENT = (f"{SHIPPED}/baton/service.py", f"{SHIPPED}/baton/mail/outbox.py")
"""The code of the queue, which does not count. A development server carries out its queue after each answer. In a
deployment another function does this."""


def walked(call: Callable[[], Said]) -> tuple[Said, dict[str, list[str]]]:
    """Run a call. Return its answer and the functions that ran, by file."""
    passed: dict[str, list[str]] = {}

    def entered(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(SHIPPED) and not name.startswith((KIT, *QUEUE_OF_DEVELOPMENT)):
            passed.setdefault(name.removeprefix(SHIPPED), []).append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(entered)
    try:
        said = call()
    finally:
        sys.setprofile(before)
    return said, passed


def exchange(phone: Device) -> Said:
    """Exchange the token."""
    return phone.exchange()


def login(phone: Device) -> Said:
    """Log in again."""
    return phone.login("ada@example.com")


def show(phone: Device) -> Said:
    """Read the account."""
    return phone.get("/me")


@pytest.mark.parametrize(("act", "files_max"), [(exchange, 28), (login, 49), (show, 29)])
def test_a_request_passes_through_few_files(
    make_device: Callable[..., Device], act: Callable[[Device], Said], files_max: int
) -> None:
    """A change that adds a file to a request must change this number, or join files."""
    phone = make_device()
    phone.register("ada@example.com")
    for _ in range(3):
        assert act(phone).status == 200
    said, passed = walked(lambda: act(phone))
    assert said.status == 200
    assert {"/baton/http/dispatch.py", "/baton/tokens/presented.py", "/baton/storage/dynamodb/lineages.py"} <= set(
        passed
    )
    assert len(passed) <= files_max, sorted(passed)
