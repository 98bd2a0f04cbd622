"""A deployment with mail and the people who use it."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.mail.ports import Mail
from chalicelib.baton.testing.world import World
from tests.baton.wire.conversation import NEW_PASSWORD, Device, Said, through
from tests.baton.wire.second_factor import stepped

ADA = "ada@example.com"
WRONG = "00000000"


@dataclass
class Town:
    """A deployment, its mailboxes, and the actions of people."""

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

    def start(self, device: Device, email: str = ADA) -> Said:
        """Request the code of a registration."""
        entry = device.entry(email)
        del entry["password"]
        return device.post("/register/start", entry, token=None)

    def forgot(self, device: Device, email: str = ADA, **members: Any) -> Said:
        """Request the code of a reset."""
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
        return find_code(self.mails(to)[-1])

    def verified(self, device: Device, email: str = ADA) -> Device:
        """Prove the address of a device's account."""
        session = device.post("/me/email/code", {}).members["mail_session"]
        said = device.post("/me/email/verify", {"mail_session": session, "code": self.code(email)})
        assert said.status == 204, said
        return device

    def link(self, to: str = ADA, *, mail: int = -1) -> str:
        """Read the ticket of the link in a mail to an address, by default the newest."""
        return find_link(self.mails(to)[mail])

    def undo(self, link: str) -> Said:
        """Press the button of the page that a link opens. The browser signs nothing."""
        return self.device(bound=False).post("/mail/undo", {"link": link}, token=None)

    def not_me(self, link: str) -> Said:
        """Press the button of the page that the link "this was not me" opens."""
        return self.device(bound=False).post("/mail/not-me", {"link": link}, token=None)

    def ask_move(self, device: Device, to: str, *, totp: str | None = None) -> Said:
        """Step up, and request the code for another address."""
        return stepped(device, "POST", "/me/email", json.dumps({"new_email": to}).encode(), totp=totp)

    def confirm_move(self, device: Device, session: str, code: str) -> Said:
        """Send the code of the new address."""
        return device.post("/me/email/confirm", {"mail_session": session, "code": code})

    def moved(self, device: Device, to: str, *, totp: str | None = None) -> Device:
        """Change the address of a device's account."""
        started = self.ask_move(device, to, totp=totp)
        assert started.status == 202, started
        said = self.confirm_move(device, started.members["mail_session"], self.code(to))
        assert said.status == 204, said
        return device

    def reset_by_mail(self, device: Device, email: str = ADA, password: str = NEW_PASSWORD) -> Device:
        """Reset the password on a device, with the code of the mailbox."""
        session = self.forgot(device, email).members["mail_session"]
        said = self.reset(device, session, self.code(email), password)
        assert said.status == 204, said
        return device

    @contextlib.contextmanager
    def calls(self) -> Iterator[list[str]]:
        """List the calls of a request, in order, until its mail is queued: the verbs of the stores, and the queue."""
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


def find_code(mail: Mail) -> str:
    """Read the code of a mail."""
    found = re.search(r"\b([0-9]{4} [0-9]{4})\b", mail.text)
    assert found, mail.text
    return found[1]


def find_link(mail: Mail, member: str = "t") -> str:
    """Read the ticket of the link of a mail. Its text and its page have the same link."""
    found = re.search(rf"^ *(https?://\S+)#{member}=(ml\.\S+)$", mail.text, re.MULTILINE)
    assert found, mail.text
    assert f"{found[1]}#{member}={found[2]}" in mail.html
    return found[2]
