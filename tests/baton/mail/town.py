"""A deployment with mail and the people who use it."""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.mail.ports import Mail
from chalicelib.baton.testing.world import World
from tests.baton.wire.conversation import NEW_PASSWORD, Device, Said, through

ADA = "ada@example.com"
WRONG = "00000000"


@dataclass
class Town:
    """A deployment, its mailboxes, and what people do."""

    world: World

    def device(self, **members: Any) -> Device:
        """Make a device."""
        return Device(through(self.world.gateway), lambda: self.world.clock.now, **members)

    def registered(self, email: str = ADA, **members: Any) -> Device:
        """Make a device that registers."""
        device = self.device(**members)
        said = device.register(email)
        assert said.status == 201, said
        return device

    def forgot(self, device: Device, email: str = ADA, **members: Any) -> Said:
        """Ask for the code of a reset."""
        entry = device.entry(email)
        del entry["password"]
        return device.post("/password/forgot", entry | members, token=None)

    def reset(self, device: Device, session: str, code: str, password: str = NEW_PASSWORD, **more: Any) -> Said:
        """Reset with a code."""
        body = {"mail_session": session, "code": code, "new_password": password}
        return device.post("/password/reset", body | more, token=None)

    def mails(self, to: str = ADA) -> list[Mail]:
        """List the mails to an address."""
        return [mail for mail in self.world.mails if mail.to == to]

    def code(self, to: str = ADA) -> str:
        """Read the code of the newest mail to an address."""
        found = re.search(r"\b([0-9]{4} [0-9]{4})\b", self.mails(to)[-1].text)
        assert found, self.mails(to)[-1].text
        return found[1]

    def verified(self, device: Device, email: str = ADA) -> Device:
        """Prove the address of a device's account."""
        session = device.post("/me/email/code", {}).members["mail_session"]
        said = device.post("/me/email/verify", {"mail_session": session, "code": self.code(email)})
        assert said.status == 204, said
        return device

    @contextlib.contextmanager
    def calls(self) -> Iterator[list[str]]:
        """List what a request calls, in order, until its mail is queued: the verbs of the stores, and the queue."""
        called: list[str] = []
        fails, puts = self.world.storage.call, PendingOrders.put

        def call(name: str, verb: Callable[..., object], *arguments: object, **named: object) -> object:
            if "put" not in called:
                called.append(name)
            return fails(name, verb, *arguments, **named)

        def put(outbox: PendingOrders, order: str, *, delay_s: int = 0) -> None:
            called.append("put")
            puts(outbox, order, delay_s=delay_s)

        with patch.object(self.world.storage, "call", call), patch.object(PendingOrders, "put", put):
            yield called
