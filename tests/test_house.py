"""House rules that linters cannot say."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.core import errors
from tools.errors_page import PAGE, leaves, render

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "chalicelib").rglob("*.py"))
IMPURE = {"os", "time", "random", "secrets", "datetime", "uuid", "socket", "subprocess"}
VAGUE = {"util", "utils", "helper", "helpers", "manager", "service", "data", "misc", "common"}


def imported(path: Path) -> Iterator[str]:
    """Name every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def relative(path: Path) -> str:
    """Name a file from the root."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("shelf", ["core", "flows", "web"])
def test_rules_and_journeys_know_no_clock_no_randomness_no_environment(shelf: str) -> None:
    """Time and random bytes are arguments, or ports."""
    for path in (ROOT / "chalicelib" / shelf).rglob("*.py"):
        found = {name.split(".", maxsplit=1)[0] for name in imported(path)} & IMPURE
        assert not found, f"{relative(path)} imports {found}"


def test_the_environment_is_read_in_one_place() -> None:
    """``settings.py`` alone."""
    readers = [
        relative(path) for path in SHIPPED if {"os"} & set(imported(path)) or "getenv" in path.read_text("utf-8")
    ]
    assert readers == ["chalicelib/settings.py"]


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("jwt", {"chalicelib/core/tokens.py"}),
        ("argon2", {"chalicelib/core/passwords.py"}),
        ("http_sf", {"chalicelib/core/signatures.py"}),
        ("msgspec", {"chalicelib/web/"}),
        ("aws_lambda_powertools", {"chalicelib/signals.py"}),
        ("chalice", {"chalicelib/web/"}),
        ("botocore", {"chalicelib/stores/"}),
        ("boto3", {"chalicelib/stores/"}),
    ],
)
def test_each_library_has_its_home(package: str, homes: set[str]) -> None:
    """Replacing a library is one file's work."""
    for path in SHIPPED:
        if package in {name.split(".", maxsplit=1)[0] for name in imported(path)}:
            assert any(relative(path).startswith(home) for home in homes), f"{relative(path)} imports {package}"


def test_nothing_is_decided_outside_the_rule() -> None:
    """Who reads a generation or an attempt slot is the rule, the codec, or the minting of the child."""
    deciders = {
        relative(path)
        for path in SHIPPED
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "attempts"
    }
    assert deciders <= {"chalicelib/core/lineage.py", "chalicelib/stores/gates.py", "chalicelib/stores/items.py"}


def test_names_say_what_a_thing_is() -> None:
    """No utils, no helpers, no managers."""
    for path in (*SHIPPED, *(ROOT / "tools").rglob("*.py"), *(ROOT / "clients").rglob("*.py")):
        assert path.stem not in VAGUE, relative(path)


def test_every_public_thing_that_ships_is_documented() -> None:
    """Modules, classes and functions; the linter sees to the methods."""
    for path in SHIPPED:
        tree = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(tree), relative(path)
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{relative(path)}: {node.name}"


def test_the_page_of_errors_is_the_family_of_errors() -> None:
    """``make format`` writes it anew."""
    assert PAGE.read_text("utf-8") == render()


def test_every_refusal_tells_what_to_do() -> None:
    """A code, an action, a sentence for a reader; codes are slugs."""
    for leaf in leaves():
        refusal = leaf()
        assert refusal.code.replace("_", "").isalpha()
        assert refusal.sentence.endswith(".")
        assert refusal.error
        assert isinstance(refusal, errors.Refusal)


def test_no_file_names_a_machine() -> None:
    """No path of somebody's machine is in the tree."""
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607 - whichever git is there
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not in a git checkout: there is no list of files to read")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path == Path(__file__) or not path.is_file() or path.suffix in {".png", ".svg"}:
            continue
        text = path.read_text("utf-8", errors="replace")
        for machine in ("/wor" + "k/", "/roo" + "t/", "/ho" + "me/", "/Use" + "rs/"):
            assert machine not in text, f"{name} names {machine}"
