"""clients/python/README.md: the code that asks a person for input runs, and survives a lost answer after each input.

The tables of methods are those of the client.
"""

import inspect
import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from baton_client import BatonClient, LoginStep, Proof
from tests.baton.mail.test_client import Line
from tests.baton.mail.test_client import client as make_client
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import PASSWORD
from tests.baton.wire.second_factor import Person, wrong

PAGE = (Path(__file__).parents[3] / "clients" / "python" / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TURN_ON, LOST, SECOND = "Turn on an authenticator app", "Lost phone", "A login that needs a second factor"


def section(heading: str) -> str:
    """Return the text below a heading, until the next heading."""
    return re.split(r"\n##+ ", PAGE.partition(f"# {heading}\n")[2])[0]


def block(heading: str) -> str:
    """Return the Python below a heading."""
    (source,) = BLOCK.findall(section(heading))
    return str(source)


class App:
    """The app of the page: its screens, and a person who reads an authenticator app, mails and recovery codes."""

    def __init__(self, town: Town) -> None:
        """Begin on a phone that has no login."""
        self.town, self.ada = town, Person(lambda: town.world.clock.now)
        self.line: Line | None = None
        self.shown: list[list[str]] = []
        self.mistyped = 0

    def ask_for(self, what: str) -> str:
        """Answer as the person would. The answer of the server to the next request is lost."""
        assert self.line is not None
        self.line.lose = True
        if what == "the password":
            return PASSWORD
        if what == "the code in the mail":
            return self.town.code()
        if what == "a recovery code":
            return self.shown[-1].pop()
        assert what == "the code of the app"
        self.town.world.clock.skip(seconds=60)
        if self.mistyped:
            self.mistyped -= 1
            return wrong(self.ada.code())
        return self.ada.fresh_code()

    def show_qr_code(self, uri: str) -> None:
        """Give the secret to the authenticator app of the person."""
        self.ada.secret, self.ada.used_step = parse_qs(urlsplit(uri).query)["secret"][0], 0

    def run(self, client: BatonClient, line: Line, heading: str) -> None:
        """Run the code of the page on a phone."""
        self.line = line
        names: dict[str, Any] = {"Proof": Proof, "secrets": secrets, "email": ADA, "client": client}
        screens = {"ask_for": self.ask_for, "show_qr_code": self.show_qr_code, "show_once": self.shown.append}
        exec(compile(block(heading), heading, "exec"), names | screens)  # noqa: S102 - code of the page
        line.lose = False


def test_an_app_is_turned_on_and_replaced_after_the_phone_was_lost(town: Town) -> None:
    """The second login is on another phone, with a recovery code."""
    app, (phone, line), (new_phone, new_line) = App(town), make_client(town), make_client(town)
    phone.register(ADA, PASSWORD, "phone")
    app.run(phone, line, TURN_ON)
    assert "totp" in phone.factors()
    app.run(new_phone, new_line, LOST)
    assert "totp" in new_phone.factors()
    assert [len(codes) for codes in app.shown] == [9, 10]
    assert not set(app.shown[0]) & set(app.shown[1])
    assert new_phone.factors()["recovery_codes"]["left"] == 10


def test_a_wrong_code_of_a_login_is_shown(town: Town, capsys: Any) -> None:
    """The next code logs in."""
    app, (phone, line), (tablet, new_line) = App(town), make_client(town), make_client(town)
    phone.register(ADA, PASSWORD, "phone")
    app.run(phone, line, TURN_ON)
    app.mistyped = 2
    app.run(tablet, new_line, SECOND)
    assert capsys.readouterr().out == "Wrong code.\n" * 2
    assert tablet.me()["acr"] == "aal2"


def test_every_block_that_asks_a_person_is_one_of_these() -> None:
    """The other blocks of the page run against `make dev`."""
    asking = [source for source in BLOCK.findall(PAGE) if "ask_for(" in source]
    assert asking == [block(SECOND), block(TURN_ON), block(LOST)]


def rows(heading: str) -> dict[str, tuple[list[str], set[str]]]:
    """Return the methods in the first column of a table, each with its required and its optional parameters."""
    spans = [
        span
        for row in re.findall(r"^\| (`.*?) \| ", section(heading), re.MULTILINE)
        for span in re.findall(r"`(.+?)`", row)
    ]
    parts = [(span.partition("(")[0], span.partition("(")[2].rstrip(")").split(", ")) for span in spans]
    return {
        name: (
            [one for one in given if one and not one.endswith("=")],
            {one[:-1] for one in given if one.endswith("=")},
        )
        for name, given in parts
    }


STEP_MEMBERS = {"factors", "enrol", "expires_at", "problem", "refusal", "recovery_codes", "recovery_codes_left"}


def test_every_method_is_on_the_page_with_its_parameters() -> None:
    """The required parameters are in their order. Of the optional parameters, only `deadline_s` may be missing."""
    hidden = {"call": set(), "step_up": {"attempt"}}
    for kind, heading, others in (
        (BatonClient, "The methods", set()),
        (
            LoginStep,
            SECOND,
            {"factors", "enrol", "expires_at", "problem", "refusal", "recovery_codes", "recovery_codes_left"},
        ),
    ):
        named = rows(heading)
        members = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
        assert named.keys() == members.keys() | others
        for name, method in members.items():
            if not callable(method):
                continue
            parameters = list(inspect.signature(method).parameters.values())[1:]
            required = [one.name for one in parameters if one.default is one.empty]
            optional = {one.name for one in parameters} - {*required, "deadline_s"} - hidden.get(name, set())
            assert named[name] == (required, optional), name
