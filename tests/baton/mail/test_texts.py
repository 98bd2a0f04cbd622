"""The texts of mails: every language, hostile values, and texts of the team that replace Baton's.

The numbers of cases are those of docs/baton/attacks.md.
"""

import html as escaping
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton.mail import templates
from chalicelib.baton.mail.templates import LANGUAGES, NAMES, device_name, render, utc

VALUES = {"product": "Example", "code": "1234 5678", "minutes": "20", "device": "Ada's phone", "time": utc(0)}
HOSTILE = (
    "<script>alert(1)</script>",
    "${code} $product",
    "x\r\nBcc: eve@example.com",
    '"><a href=//eve.example>',
    "\u202eexe.eman",
    "www.eve.example/pay",
    "eve@example.com",
    "\0\x1b[31m",
)


@pytest.mark.parametrize("stop", "\u3002\uff0e\uff61\u2024")
def test_other_full_stops_in_the_name_of_a_device_make_no_link(stop: str) -> None:
    """Browsers and mail programs treat these characters as dots of a domain (UTS 46)."""
    assert device_name(f"eve{stop}example") == "eve example"


class Parsed(HTMLParser):
    """The tags and the words of a page."""

    def __init__(self, page: str) -> None:
        """Parse a page."""
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag, and each address that it would load."""
        assert not {"src", "href", "background"} & {name for name, _ in attrs}
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Record the words."""
        self.words += data


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_text_is_there_in_every_language(name: str, language: str) -> None:
    """Both forms have the same values, nothing is loaded from another server, and the subject is one line."""
    mail = render(name, language=language, to="ada@example.com", values=VALUES)
    assert mail.subject
    assert len(mail.subject) < 80
    assert "$" not in mail.subject + mail.text + mail.html
    used = {value for value in VALUES.values() if value in mail.text}
    page = Parsed(mail.html)
    assert {value for value in VALUES.values() if value in page.words} >= used
    assert not {"img", "script", "style", "link", "iframe"} & set(page.tags)
    assert mail.html.startswith("<!doctype html>")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_value_is_text_in_the_html_form(language: str) -> None:
    """The name of the product may have characters with a meaning in HTML."""
    product = "Smith & <b>Sons</b>"
    mail = render("reset", language=language, to="ada@example.com", values=VALUES | {"product": product})
    page = Parsed(mail.html)
    assert product in page.words
    assert "b" not in page.tags
    assert product in mail.text


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_device_name_changes_no_mail(name: str, language: str, hostile: str) -> None:
    """Case 50: the name adds no tag, header or link, changes no text direction, and reads no other value."""
    plain = render(name, language=language, to="ada@example.com", values=VALUES)
    mail = render(name, language=language, to="ada@example.com", values=VALUES | {"device": device_name(hostile)})
    assert Parsed(mail.html).tags == Parsed(plain.html).tags
    assert mail.subject == plain.subject
    assert mail.text.count("\n") == plain.text.count("\n")
    assert mail.text.count("1234 5678") == plain.text.count("1234 5678")
    for part in (mail.text, escaping.unescape(mail.html)):
        assert "\u202e" not in part
        assert not re.search(r"eve[.@]example", part)
        assert "\x1b" not in part


@given(st.text(max_size=40))
def test_no_device_name_makes_a_link(name: str) -> None:
    """Any text becomes one line of printable characters, without characters that start a link."""
    safe = device_name(name)
    assert safe
    assert safe.isprintable()
    assert not re.search(r"[/\\@:<>]", safe)
    assert not re.search(r"\.[^\W\d]", safe)


@pytest.mark.parametrize("name", ["Ada's iPhone 15.2", "Büro-PC (2)", "小明的手机", "Pixel 9"])
def test_an_honest_device_name_stays(name: str) -> None:
    """A number with a point is not treated as a link."""
    assert device_name(name) == name


def test_a_language_without_texts_is_english() -> None:
    """The language comes from the request."""
    unknown, english = (render("reset", language=one, to="a", values=VALUES) for one in ("xx", "en"))
    assert unknown == english


@given(st.integers(0, 253_402_300_799))
def test_times_are_written_in_utc(at: int) -> None:
    """The text is the same as that of the standard library."""
    assert utc(at) == datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def test_a_teams_own_text_wins_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is replaced separately. An unknown value is an error at the first mail, not an empty text."""
    monkeypatch.setattr(templates, "_FOLDERS", [tmp_path, *templates._FOLDERS])
    templates._read.cache_clear()
    (tmp_path / "reset.en.txt").write_text("Hello from $product\nYour code: $code\n")
    (tmp_path / "verify.en.txt").write_text("$surname\n")
    mail = render("reset", language="en", to="a", values=VALUES)
    assert (mail.subject, mail.text) == ("Hello from Example", "Your code: 1234 5678\n")
    with pytest.raises(KeyError, match="surname"):
        render("verify", language="en", to="a", values=VALUES)
    templates._read.cache_clear()


def test_every_file_is_a_text_of_the_list() -> None:
    """Every text has its four files."""
    folder = Path(templates.__file__).with_name("texts")
    found = {path.name for path in folder.iterdir()}
    names = (*NAMES, *getattr(templates, "PARTS", ()))
    assert found == {f"{name}.{one}.{form}" for name in names for one in LANGUAGES for form in ("txt", "html")}
