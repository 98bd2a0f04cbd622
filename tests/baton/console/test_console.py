"""The files of the console: pure functions in Node.js, size, vendored modules, and the rules of the strict policy."""

import gzip
import hashlib
import re
import subprocess
from typing import get_args

import pytest

from chalicelib.baton.lineages.model import EndReason
from tests.baton.clients.node import node
from tests.baton.repository import ROOT
from tools.dev.api.seen import Outcome

CONSOLE = ROOT / "tools/console"
CLIENT = ROOT / "clients/typescript/src"
GZIP_MAX = 120_000
SERVED = {".html", ".js", ".css", ".svg"}
VENDORED = {
    "preact.js": ("preact 11.2.0", "bdcbd9abdf2c77c5c45326eab42191e949222d479d0d5f69467387a77040cb55"),
    "hooks.js": ("preact 11.2.0", "e862ab2973aa6455eaa0f77c5d832d2157d6be59a17c8ba546550a575b58c6b4"),
    "htm.js": ("htm 3.1.1", "ab33dd3f38059b9be4d5f5350128eefb2356639c4e0bbe9d9e8b3ba75847e9e4"),
}
"""The file in the package, and the SHA-256 of this file in npm's package."""
OWN = [path for path in sorted(CONSOLE.rglob("*.js")) if path.parent.name != "vendor"]


@pytest.mark.parametrize("suite", ["picture", "rules"])
def test_the_pure_functions(suite: str) -> None:
    """The tests of Node.js cover the layout, the sentences and the filters."""
    told = subprocess.run(
        [node(), "--test", "--test-reporter=spec", f"tests/baton/console/{suite}.test.mjs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"^\S pass [1-9]", told.stdout, re.MULTILINE), told.stdout


@pytest.mark.parametrize(("name", "origin"), VENDORED.items(), ids=list(VENDORED))
def test_a_vendored_module_is_that_of_its_package(name: str, origin: tuple[str, str]) -> None:
    """``hooks.js`` has one change: the address of ``preact``. Without this change, the file is the file of npm."""
    package, digest = origin
    text = (CONSOLE / "vendor" / name).read_bytes()
    if name == "hooks.js":
        assert text.count(b'from"./preact.js"') == 1
        text = text.replace(b'from"./preact.js"', b'from"preact"')
    assert hashlib.sha256(text).hexdigest() == digest
    said = (CONSOLE / "vendor/README.md").read_text("utf-8")
    assert f"`{name}`" in said
    assert package.split()[1] in said
    assert "LICENSE" in (CONSOLE / "vendor" / f"LICENSE-{package.split()[0]}").name


def loaded(entry: str) -> set[str]:
    """Return the modules that a module loads, with itself, as paths that the server serves."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        file = CLIENT / name.removeprefix("client/") if name.startswith("client/") else CONSOLE / name
        text = file.read_text("utf-8")
        for target in re.findall(r'(?:from|import)\s*"(\.[^"]+)"', text):
            folder = name.split("/")[:-1]
            for step in target.split("/"):
                if step == "..":
                    folder.pop()
                elif step != ".":
                    folder.append(step)
            waiting.append("/".join(folder))
    return found


def test_every_module_is_there_and_used() -> None:
    """Each loaded module exists. A module that no page loads is dead code."""
    modules = loaded("main.js")
    assert {path.relative_to(CONSOLE).as_posix() for path in CONSOLE.rglob("*.js")} == {
        name for name in modules if not name.startswith("client/")
    }


def test_the_whole_page_is_small() -> None:
    """Page and client library have at most 120 kB, with each file compressed separately."""
    files = [CLIENT / name.removeprefix("client/") for name in loaded("main.js") if name.startswith("client/")]
    files += [path for path in CONSOLE.rglob("*") if path.suffix in SERVED]
    sizes = {path: len(gzip.compress(path.read_bytes(), 9)) for path in files}
    assert 20_000 < sum(sizes.values()) <= GZIP_MAX, sum(sizes.values())


def test_nothing_needs_a_weaker_policy() -> None:
    """The pages have no inline script or style, make no markup from text, and name no other host."""
    page = (CONSOLE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []
    for path in [*OWN, CONSOLE / "index.html", *CONSOLE.rglob("*.css")]:
        text = path.read_text("utf-8")
        for forbidden in ("innerHTML", "dangerouslySetInnerHTML", "eval(", "new Function", "document.write", "@import"):
            assert forbidden not in text, (path, forbidden)
        assert re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?https?:", text) == [], path


def test_every_reason_of_an_end_has_words() -> None:
    """The list has every end reason, and no other word."""
    text = (CONSOLE / "rules/words.js").read_text("utf-8")
    reasons = text.partition("REASONS = {")[2].partition("};")[0]
    assert set(re.findall(r"^  (\w+):", reasons, re.MULTILINE)) == set(EndReason)


def test_every_outcome_of_a_second_presentation_has_words() -> None:
    """The list has every outcome, and no other word."""
    text = (CONSOLE / "rules/words.js").read_text("utf-8")
    outcomes = text.partition("OUTCOMES = {")[2].partition("\n};")[0]
    told = set(re.findall(r"^  (\w+):", outcomes, re.MULTILINE))
    assert told == set(get_args(Outcome)) - {"exchanged", "inactive"}


def test_the_files_are_short() -> None:
    """A file has at most 350 lines, as everywhere in this project."""
    for path in [*OWN, *CONSOLE.rglob("*.css")]:
        assert len(path.read_text("utf-8").splitlines()) <= 350, path
