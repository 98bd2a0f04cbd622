"""The texts of mails: ``texts/{name}.{language}.{txt|html}``.

A file of the same name in ``chalicelib/texts/`` replaces a text.

The first line of a text is the subject, the rest its body. A value replaces each ``$name`` (`string.Template`). A value
can come from a thief: for example, the holder of a device chooses its name. So control characters are removed from
every value. Characters that mail programs turn into links are removed from the name of a device. In HTML, each value is
escaped.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Final

from chalicelib.baton.mail.ports import Mail

NAMES: Final = (
    "reset",
    "verify",
    "register",
    "account_exists",
    "new_device",
    "password_changed",
    "password_reset",
    "token_reused",
    "factor_added",
    "factor_removed",
    "passkey_added",
    "passkey_removed",
    "factors_removed",
    "identity_linked",
    "identity_unlinked",
    "recovery_code_used",
    "restored_on_new_device",
    "second_factor_failing",
    "account_deleted",
    "new_address",
    "login",
    "address_changed",
)
"""The name of every text. A text has a plain file and an HTML file in each language."""

PARTS: Final = ("link", "undo", "not_me")
"""Parts of a text that only some mails have. In a text, ``$link`` is the place of the part ``link``.

A part has files of its own, such as ``link.en.txt``. These files have the value ``$url`` and no subject.
"""

LANGUAGES: Final = ("en", "zh")
DEFAULT_LANGUAGE: Final = "en"

_DEFAULTS: Final = Path(__file__).with_name("texts")
_FOLDERS: Final = [Path(__file__).parents[2] / "texts", _DEFAULTS]
"""The folder of the team's own texts, then the folder of Baton's texts."""

_MANY_BLANK_LINES: Final = re.compile(r"\n{3,}")
_IN_LINKS: Final = re.compile(r"[/\\@:<>\u3002\uff0e\uff61\u2024\uff20\uff1a\uff0f]|\.(?=\w)(?!\d)")
"""Characters from which mail programs build a link. Other full stops and fullwidth forms also match, because UTS 46 and
NFKC map them to such characters. The dot of ``example.com`` matches. The dot of ``15.2`` does not match."""


def render(
    name: str, *, language: str, to: str, values: Mapping[str, str], urls: Mapping[str, str] | None = None
) -> Mail:
    """Write a mail, in English if ``language`` has no texts. Raises ``KeyError`` if a text has an unknown ``$name``.

    ``urls`` maps names of ``PARTS`` to URLs. A part without a URL is left out of the mail.
    """
    chosen = language if language in LANGUAGES else DEFAULT_LANGUAGE
    plain = {key: _printable(value) for key, value in values.items()}
    escaped = {key: _escaped(value) for key, value in plain.items()}
    for part in PARTS:
        url = (urls or {}).get(part, "")
        plain[part] = _filled(f"{part}.{chosen}.txt", {"url": url}).strip("\n") if url else ""
        escaped[part] = _filled(f"{part}.{chosen}.html", {"url": _escaped(url)}).strip("\n") if url else ""
    subject, _, text = _filled(f"{name}.{chosen}.txt", plain).partition("\n")
    text = _MANY_BLANK_LINES.sub("\n\n", text)  # a part that is left out leaves blank lines
    html = _filled(f"{name}.{chosen}.html", escaped)
    return Mail(to=to, subject=subject.strip(), text=text.strip() + "\n", html=html)


def device_name(name: str) -> str:
    """Return the name of a device for a mail, without the characters that a mail program turns into a link."""
    return " ".join(_IN_LINKS.sub(" ", _printable(name)).split()) or "-"


def utc(at: int) -> str:
    """Write a Unix time (in seconds) for people: ``2026-11-29 09:31 UTC``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _filled(file: str, values: Mapping[str, str]) -> str:
    return Template(_read(file)).substitute(values)


def _printable(value: str) -> str:
    """Replace by spaces: line ends, control characters, and characters that change the direction of a text."""
    return "".join(character if character.isprintable() else " " for character in value)


def _escaped(value: str) -> str:
    import html  # noqa: PLC0415 - cold start

    return html.escape(value)


@lru_cache(maxsize=128)
def _read(file: str) -> str:
    path = next(folder / file for folder in _FOLDERS if (folder / file).is_file())
    return path.read_text("utf-8")
