"""`python -m tools.common_passwords`: the list has the entries of its sources, and a changed source writes nothing."""

import gzip
import zipfile
from pathlib import Path

import pytest

from chalicelib.baton.factors.block_list import LISTED_CHARACTERS_MIN
from tools import common_passwords
from tools.common_passwords import DJANGO, LIST, PHRASES, ZXCVBN, entries, main, render

ZXCVBN_SOURCE = """# generated
FREQUENCY_LISTS = {
    "passwords": "123456,trustno1,PASSWORD,trustno2".split(","),
    "surnames": "brzeczyszczykiewicz".split(","),
}
"""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Make two small wheels."""
    with zipfile.ZipFile(tmp_path / DJANGO, "w") as wheel:
        wheel.writestr(
            "django/contrib/auth/common-passwords.txt.gz", gzip.compress(b"password\nqwerty\nfriend of emily\n")
        )
        wheel.writestr("Django-5.2.dist-info/LICENSE", "Redistribution and use")
    with zipfile.ZipFile(tmp_path / ZXCVBN, "w") as wheel:
        wheel.writestr("zxcvbn/frequency_lists.py", ZXCVBN_SOURCE)
        wheel.writestr("zxcvbn-4.5.0.dist-info/LICENSE.txt", "Permission is hereby granted")
    return tmp_path


def test_the_entries_are_folded_and_none_is_short() -> None:
    """The separators of a phrase are removed. Those of a password stay."""
    assert entries(["Password", "p-assword", "short", "password"], ["To be, or not to be", "Hi you"]) == [
        "p-assword",
        "password",
        "tobeornottobe",
    ]


def test_the_list_has_both_sources_and_their_licences(wheels: Path) -> None:
    """The other lists of zxcvbn contain names and words, and are left out."""
    head, _, listed = render(wheels / DJANGO, wheels / ZXCVBN).partition("\n\n")
    assert {"password", "friend of emily", "trustno1"} <= set(listed.split("\n"))
    assert "brzeczyszczykiewicz" not in listed
    assert "123456\n" not in listed
    assert all(notice in head for notice in ("Redistribution and use", "Permission is hereby granted"))
    assert all(line.startswith("#") for line in head.split("\n"))


def test_a_changed_source_writes_nothing(
    wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its hash differs from the pinned hash."""
    monkeypatch.setattr(common_passwords, "LIST", wheels / "list.txt")
    assert main([str(wheels)]) == 1
    assert "another SHA-256" in capsys.readouterr().out
    assert not (wheels / "list.txt").exists()
    assert main([]) == 2


def test_the_list_of_the_tree_is_what_the_command_writes() -> None:
    """The list is sorted, has the licences of both sources, and contains each phrase."""
    head, _, listed = LIST.read_text("utf-8").partition("\n\n")
    rows = listed.removesuffix("\n").split("\n")
    assert rows == sorted(set(rows))
    assert min(map(len, rows)) == LISTED_CHARACTERS_MIN
    assert set(entries([], PHRASES)) <= set(rows)
    for notice in ("Django Software Foundation", "Redistributions in binary form", "Daniel Wolf", "MIT License"):
        assert notice in head
