"""House rules that no linter says. Each is a function of a file, and each is shown a file that breaks it."""

import ast
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from chalicelib import __version__
from tests.baton.repository import OURS, ours_only
from tools import errors_page, manifest

ROOT = Path(__file__).parents[3]
MODULES = [path for part in ("chalicelib/baton", "tools", "clients") for path in (ROOT / part).rglob("*.py")]
if OURS:
    MODULES += [ROOT / "app.py", ROOT / "chalicelib" / "transfers.py"]

OUTSIDE = {"datetime", "os", "random", "secrets", "socket", "subprocess", "tempfile", "time", "uuid", "zoneinfo"}
WITHOUT_A_CLOCK = {
    *(f"chalicelib/baton/{room}" for room in ("accounts", "factors", "http", "keys", "lineages", "proof", "tokens")),
    "chalicelib/baton/events/names.py",
    "chalicelib/baton/events/record.py",
}
"""Packages and modules that are given the time and random bytes."""
VAGUE_NAMES = {"common", "data", "helper", "helpers", "manager", "misc", "util", "utils"}
HOMES = {
    "argon2": {"chalicelib/baton/factors/password_hash.py"},
    "botocore": {"chalicelib/baton/storage/aws"},
    "chalice": {
        "app.py",
        "chalicelib/transfers.py",
        "chalicelib/baton/http",
        "chalicelib/baton/service.py",
        "chalicelib/baton/testing",
    },
    "cryptography": {
        "chalicelib/baton/keys",
        "chalicelib/baton/proof",
        "chalicelib/baton/tokens",
        "chalicelib/baton/storage/dynamodb/key_wrapping.py",
        "chalicelib/baton/testing",
        "chalicelib/baton/factors/totp.py",
    },
    "idna": {"chalicelib/baton/accounts/email.py"},
    # Values are its structs: made ten times as fast as frozen dataclasses, and at import.
    "msgspec": {"app.py", "chalicelib"},
}
"""Where each third-party package may be known."""

EARLY = {"chalice", "cryptography", "msgspec"}
"""What nearly every first request needs. The rest is imported where it is first needed (cold start)."""

LATE = {
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.hazmat.primitives.twofactor.totp",
}
"""Modules of early packages that few requests need."""

MACHINE_PATH = re.compile(rb"(?<![\w.~-])/(?:work|tmp|root|farm|home/[a-z]+)/")


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name the modules imported anywhere in the tree, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno


def is_under(path: str, homes: set[str]) -> bool:
    """Tell whether a file is one of ``homes``, or lies in one."""
    return any(path == home or path.startswith(f"{home}/") for home in homes)


def ships(path: str) -> bool:
    """Tell whether a file goes to Lambda."""
    return is_under(path, {"app.py", "chalicelib"})


def reads_the_environment(path: str, tree: ast.Module) -> Iterator[str]:
    """Only ``settings.py`` reads the environment. The test kit does not ship."""
    if is_under(path, {"chalicelib/baton/settings.py", "chalicelib/baton/testing"}) or not ships(path):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
            yield f"{path}:{node.lineno} reads the environment"
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield f"{path}:{node.lineno} imports from os: say os.name, so that one sees what is used"


def knows_the_time(path: str, tree: ast.Module) -> Iterator[str]:
    """Rules, journeys and views are given the time and random bytes; they do not take them."""
    if is_under(path, WITHOUT_A_CLOCK):
        for name, line in imports(tree):
            if name.split(".")[0] in OUTSIDE:
                yield f"{path}:{line} imports {name}"


def is_a_guest(path: str, tree: ast.Module) -> Iterator[str]:
    """Every third-party package has a home, and is known nowhere else."""
    for name, line in imports(tree):
        package = name.split(".")[0]
        if package in HOMES and ships(path) and not is_under(path, HOMES[package]):
            yield f"{path}:{line} imports {name}, which lives in {', '.join(sorted(HOMES[package]))}"


def comes_too_early(path: str, tree: ast.Module) -> Iterator[str]:
    """Third-party packages that not every request needs are imported inside the functions that need them."""
    for statement in tree.body if ships(path) else []:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name, line in imports(statement):
                if name in LATE or name.split(".")[0] in HOMES.keys() - EARLY:
                    yield f"{path}:{line} imports {name} when the function starts"


def reaches_out(path: str, tree: ast.Module) -> Iterator[str]:
    """Only storage opens connections. import-linter takes ``urllib.request`` and ``urllib.parse`` for one module."""
    if is_under(path, {"chalicelib/baton"}) and not is_under(path, {"chalicelib/baton/storage"}):
        for name, line in imports(tree):
            if name == "urllib.request":
                yield f"{path}:{line} imports {name}"


def decides_by_itself(path: str, tree: ast.Module) -> Iterator[str]:
    """Who reads the attempt slots is the rule, or the codec; nobody else tells a retry from a thief."""
    if is_under(
        path,
        {
            "chalicelib/baton/lineages/rules.py",
            "chalicelib/baton/storage/dynamodb/items.py",
        },
    ):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "attempts":
            yield f"{path}:{node.lineno} reads attempts"


def replaces_what_the_server_uses(path: str, tree: ast.Module) -> Iterator[str]:
    """Only the test kit, which does not ship, replaces the clock, the storage or the cost of passwords."""
    if is_under(path, {"chalicelib/baton/testing"}) or not ships(path):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"EFFECTS.set", "TEST_COST.set"}:
            yield f"{path}:{node.lineno} is {ast.unparse(node)}"


def is_silent(path: str, tree: ast.Module) -> Iterator[str]:
    """Every public thing says what it is."""
    things = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_"]
    for thing in [tree, *things]:
        if not ast.get_docstring(thing):
            yield f"{path}: {getattr(thing, 'name', 'the module')} has no docstring"


def is_vague(path: str, tree: ast.Module) -> Iterator[str]:
    """Name a module for what it holds."""
    del tree
    yield from (
        f"{path}: '{part}' says nothing" for part in PurePosixPath(path).parts if Path(part).stem in VAGUE_NAMES
    )


Rule = Callable[[str, ast.Module], Iterator[str]]

RULES: dict[Rule, tuple[str, str]] = {
    reads_the_environment: (
        "chalicelib/baton/storage/dynamodb/database.py",
        "def late():\n    import os\n    return os.environ['X']",
    ),
    knows_the_time: ("chalicelib/baton/accounts/login.py", "def late():\n    from time import time\n    return time()"),
    is_a_guest: ("chalicelib/baton/lineages/rules.py", "def late():\n    import argon2.low_level\n    return argon2"),
    comes_too_early: (
        "chalicelib/baton/keys/public_key.py",
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey",
    ),
    reaches_out: ("chalicelib/baton/tokens/call.py", "def late():\n    import urllib.request"),
    decides_by_itself: ("chalicelib/baton/accounts/routes.py", "def late(lineage):\n    return lineage.attempts[-1]"),
    replaces_what_the_server_uses: ("chalicelib/baton/accounts/login.py", "def late():\n    TEST_COST.set((8, 1, 1))"),
    is_silent: ("chalicelib/baton/lineages/rules.py", '"""Say."""\n\ndef _said():\n    pass\n\ndef judge():\n    pass'),
    is_vague: ("tools/utils.py", ""),
}
"""Each rule, with a file that breaks it."""


LINES_MAX = 350


def test_a_module_has_at_most_350_lines() -> None:
    """A reader sees a whole module in a few screens."""
    modules = (path for path in MODULES if ships(path.relative_to(ROOT).as_posix()))
    long = {path.relative_to(ROOT).as_posix() for path in modules if path.read_text("utf-8").count("\n") > LINES_MAX}
    assert long == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    """No module breaks the rule."""
    complaints = [
        complaint
        for module in MODULES
        for complaint in rule(module.relative_to(ROOT).as_posix(), ast.parse(module.read_text("utf-8")))
    ]
    assert complaints == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_broken_rule_is_noticed(rule: Rule) -> None:
    """The planted file, and no other rule's silence, is complained about once."""
    path, source = RULES[rule]
    assert len(list(rule(path, ast.parse(source)))) == 1


def test_every_package_that_ships_has_a_home() -> None:
    """What requirements.in names is what the rules above know; Lambda brings botocore, and Chalice itself."""
    distributions = {"argon2-cffi": "argon2"}
    named = {line for line in (ROOT / "requirements.in").read_text("utf-8").split("\n") if line and line[0] != "#"}
    packages = {distributions.get(name, name.replace("-", "_")) for name in named}
    assert packages == HOMES.keys() - {"botocore", "chalice"}


def pins(name: str) -> dict[str, str]:
    """Read what a requirements file pins: name -> version with its marker."""
    found = re.findall(r"^([a-z0-9.-]+)==([^\\\n]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    return {package: version.strip() for package, version in found}


def test_what_is_tested_is_what_ships() -> None:
    """Every runtime pin is the tests' pin too."""
    assert len(pins("requirements.txt")) > 5
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_carries_its_hashes(name: str) -> None:
    """No index, no link, no package without a hash: what is installed is what was looked at."""
    text = (ROOT / name).read_text("utf-8")
    assert not re.search(
        r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b|://", text, re.MULTILINE
    )
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_page_of_errors_is_the_code() -> None:
    """docs/baton/errors.md is what ``python -m tools.errors_page`` writes, and names every code once."""
    page = errors_page.PAGE.read_text("utf-8")
    assert page == errors_page.render(), "run: make format"
    assert sorted(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == sorted({leaf.code for leaf in errors_page.leaves()})


@ours_only
def test_the_manifest_is_the_tree() -> None:
    """MANIFEST has the SHA-256 of each of Baton's files. A team's own changes are for `make upgrade-check`."""
    assert manifest.differences(manifest.read(ROOT), ROOT) == manifest.Differences([], [], []), "run: make format"


def test_git_tracks_every_file_of_the_manifest() -> None:
    """A file that was forgotten, or that a tool wrote, is no part of a release."""
    untracked = manifest.read(ROOT).keys() - {path.relative_to(ROOT).as_posix() for path in tracked()}
    assert untracked == set(), "run: git add --all"


def test_the_version_is_written_once() -> None:
    """The constant of the package, which the routes import, is the file that the tools read."""
    assert __version__ == manifest.version(ROOT)
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+(-dev)?", __version__)


@ours_only
def test_every_release_says_how_to_upgrade() -> None:
    """CHANGELOG.md: a section "Upgrading" for each release."""
    releases = re.split(r"^## \[", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert [release.partition("]")[0] for release in releases if "\n### Upgrading\n" not in release] == []
    assert releases


def test_every_refusal_tells_what_to_do() -> None:
    """A code for the switch, a family word, a sentence for a reader."""
    for leaf in errors_page.leaves():
        refusal = leaf()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", refusal.code), leaf
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", refusal.error), leaf
        assert refusal.detail.endswith("."), leaf


def tracked() -> list[Path]:
    """List the files git keeps here. Skips where there is no checkout, such as in an unpacked archive."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there are no tracked files to look at")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@ours_only
def test_no_file_names_a_machine() -> None:
    """A path of somebody's machine works nowhere else, and tells where it came from."""
    assert MACHINE_PATH.search(b"see /" + b"root/.aws")
    found = {
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked()
        if (match := MACHINE_PATH.search(path.read_bytes()))
    }
    assert found == set()


@ours_only
def test_every_command_that_is_written_about_exists() -> None:
    """A ``make`` command of a page is a target of baton.mk or Makefile, and every target is in ``make help``."""
    makefile = "".join((ROOT / name).read_text("utf-8") for name in ("Makefile", "baton.mk"))
    targets = set(re.findall(r"^([a-z][a-z-]*):.* ## ", makefile, re.MULTILINE))
    assert set(re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, re.MULTILINE)) == targets
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "clients").rglob("*.md")]
    written = {
        name
        for page in pages
        for name in re.findall(r"(?:`|^\$ )make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert {"dev", "test"} <= written <= targets
