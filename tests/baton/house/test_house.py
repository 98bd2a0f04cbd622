"""Rules of this repository that no linter has.

Each is a function of a file, and each is tested with a file that breaks it.
"""

import ast
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest

from chalicelib import __version__
from chalicelib.baton.errors import Action
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
"""Packages and modules that get the time and random bytes as arguments."""
VAGUE_NAMES = {"common", "data", "helper", "helpers", "manager", "misc", "util", "utils"}
HOMES = {
    "argon2": {"chalicelib/baton/factors/hashes/argon2_hash.py", "chalicelib/baton/factors/password_hash.py"},
    "bcrypt": {"chalicelib/baton/factors/hashes/bcrypt_hash.py"},
    "botocore": {"chalicelib/baton/storage/aws", "chalicelib/baton/testing/dynamodb.py"},
    "chalice": {
        "app.py",
        "chalicelib/transfers.py",
        "chalicelib/baton/http",
        "chalicelib/baton/service.py",
        "chalicelib/baton/testing",
    },
    "cryptography": {
        "chalicelib/baton/attestation",
        "chalicelib/baton/federation",
        "chalicelib/baton/keys",
        "chalicelib/baton/proof",
        "chalicelib/baton/tokens",
        "chalicelib/baton/storage/dynamodb/key_wrapping.py",
        "chalicelib/baton/testing",
        "chalicelib/baton/factors/totp.py",
        "chalicelib/baton/factors/hashes/firebase_hash.py",
        "chalicelib/baton/factors/verify_passkey.py",
    },
    "idna": {"chalicelib/baton/accounts/email.py"},
    # Baton's values are msgspec structs. At import they are made ten times as fast as frozen dataclasses.
    "msgspec": {"app.py", "chalicelib"},
    "webauthn": {"chalicelib/baton/factors/verify_passkey.py"},
}
"""The files and folders that may import each third-party package."""

EARLY = {"chalice", "cryptography", "msgspec"}
"""The packages that nearly every first request needs. Others are imported at first use (cold start)."""

LATE = {
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.hazmat.primitives.twofactor.totp",
}
"""Modules of early packages that few requests need."""

MACHINE_PATH = re.compile(rb"(?<![\w.~-])/(?:work|tmp|root|farm|home/[a-z]+)/")


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each imported module with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno


def is_under(path: str, homes: set[str]) -> bool:
    """Return whether a file is one of ``homes`` or is in one of them."""
    return any(path == home or path.startswith(f"{home}/") for home in homes)


def ships(path: str) -> bool:
    """Return whether a file is deployed to Lambda."""
    return is_under(path, {"app.py", "chalicelib"})


def reads_the_environment(path: str, tree: ast.Module) -> Iterator[str]:
    """Only ``settings.py`` reads the environment. The test kit is not deployed."""
    if is_under(path, {"chalicelib/baton/settings.py", "chalicelib/baton/testing"}) or not ships(path):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
            yield f"{path}:{node.lineno} reads the environment"
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield f"{path}:{node.lineno} imports from os: import os, so that each use shows the module"


def reads_the_clock(path: str, tree: ast.Module) -> Iterator[str]:
    """Rules, flows and views get the time and random bytes as arguments."""
    if is_under(path, WITHOUT_A_CLOCK):
        for name, line in imports(tree):
            if name.split(".")[0] in OUTSIDE:
                yield f"{path}:{line} imports {name}"


def imports_outside_its_home(path: str, tree: ast.Module) -> Iterator[str]:
    """Each third-party package may be imported only in its home."""
    for name, line in imports(tree):
        package = name.split(".")[0]
        if package in HOMES and ships(path) and not is_under(path, HOMES[package]):
            yield f"{path}:{line} imports {name}, which is allowed in {', '.join(sorted(HOMES[package]))}"


def imports_too_early(path: str, tree: ast.Module) -> Iterator[str]:
    """Import a package that few requests need inside the function that needs it."""
    for statement in tree.body if ships(path) else []:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name, line in imports(statement):
                if name in LATE or name.split(".")[0] in HOMES.keys() - EARLY:
                    yield f"{path}:{line} imports {name} when the function starts"


def opens_connections(path: str, tree: ast.Module) -> Iterator[str]:
    """Only storage opens connections. import-linter cannot distinguish ``urllib.request`` from ``urllib.parse``."""
    if is_under(path, {"chalicelib/baton"}) and not is_under(path, {"chalicelib/baton/storage"}):
        for name, line in imports(tree):
            if name == "urllib.request":
                yield f"{path}:{line} imports {name}"


def reads_attempt_slots(path: str, tree: ast.Module) -> Iterator[str]:
    """Only the rule and the codec read attempt slots, so only they distinguish a repetition from reuse."""
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
    """Only the test kit, which is not deployed, replaces the clock, the storage or the cost of passwords."""
    if is_under(path, {"chalicelib/baton/testing"}) or not ships(path):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"EFFECTS.set", "TEST_COST.set"}:
            yield f"{path}:{node.lineno} is {ast.unparse(node)}"


def has_no_docstring(path: str, tree: ast.Module) -> Iterator[str]:
    """Each public class, function and module has a docstring."""
    things = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_"]
    for thing in [tree, *things]:
        if not ast.get_docstring(thing):
            yield f"{path}: {getattr(thing, 'name', 'the module')} has no docstring"


def has_a_vague_name(path: str, tree: ast.Module) -> Iterator[str]:
    """Name a module for its content."""
    del tree
    yield from (
        f"{path}: '{part}' is too general" for part in PurePosixPath(path).parts if Path(part).stem in VAGUE_NAMES
    )


Rule = Callable[[str, ast.Module], Iterator[str]]

RULES: dict[Rule, tuple[str, str]] = {
    reads_the_environment: (
        "chalicelib/baton/storage/dynamodb/database.py",
        "def late():\n    import os\n    return os.environ['X']",
    ),
    reads_the_clock: (
        "chalicelib/baton/accounts/login.py",
        "def late():\n    from time import time\n    return time()",
    ),
    imports_outside_its_home: (
        "chalicelib/baton/lineages/rules.py",
        "def late():\n    import argon2.low_level\n    return argon2",
    ),
    imports_too_early: (
        "chalicelib/baton/keys/public_key.py",
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey",
    ),
    opens_connections: ("chalicelib/baton/tokens/call.py", "def late():\n    import urllib.request"),
    reads_attempt_slots: ("chalicelib/baton/accounts/routes.py", "def late(lineage):\n    return lineage.attempts[-1]"),
    replaces_what_the_server_uses: ("chalicelib/baton/accounts/login.py", "def late():\n    TEST_COST.set((8, 1, 1))"),
    has_no_docstring: (
        "chalicelib/baton/lineages/rules.py",
        '"""Say."""\n\ndef _said():\n    pass\n\ndef judge():\n    pass',
    ),
    has_a_vague_name: ("tools/utils.py", ""),
}
"""Each rule, with a file that breaks it."""


LINES_MAX = 350


def test_a_module_has_at_most_350_lines() -> None:
    """A reader can see the whole module on a few screens."""
    modules = (path for path in MODULES if ships(path.relative_to(ROOT).as_posix()))
    long = {path.relative_to(ROOT).as_posix() for path in modules if path.read_text("utf-8").count("\n") > LINES_MAX}
    assert long == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_follows_the_rules_of_the_house(rule: Rule) -> None:
    """No module breaks the rule."""
    complaints = [
        complaint
        for module in MODULES
        for complaint in rule(module.relative_to(ROOT).as_posix(), ast.parse(module.read_text("utf-8")))
    ]
    assert complaints == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_broken_rule_is_detected(rule: Rule) -> None:
    """The rule finds exactly one problem in the example file."""
    path, source = RULES[rule]
    assert len(list(rule(path, ast.parse(source)))) == 1


def test_every_package_of_lambda_has_a_home() -> None:
    """The packages are those of requirements.in. Lambda itself has botocore, and Chalice adds itself."""
    distributions = {"argon2-cffi": "argon2"}
    lines = (ROOT / "requirements.in").read_text("utf-8").split("\n")
    named = {re.split("[<>= ]", line)[0] for line in lines if line and line[0] != "#"}
    packages = {distributions.get(name, name.replace("-", "_")) for name in named}
    assert packages == HOMES.keys() - {"botocore", "chalice"}


def pins(name: str) -> dict[str, str]:
    """Read the pins of a requirements file: name -> version. A marker only narrows where a pin is installed."""
    found = re.findall(r"^([a-z0-9.-]+)==([^\\\n;]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    return {package: version.strip() for package, version in found}


def test_tests_use_the_deployed_versions() -> None:
    """Each pin of the runtime is also a pin of the tests."""
    assert len(pins("requirements.txt")) > 5
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_has_its_hashes(name: str) -> None:
    """A file has no index, no link and no package without a hash, so pip installs only reviewed files."""
    text = (ROOT / name).read_text("utf-8")
    assert not re.search(
        r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b|://", text, re.MULTILINE
    )
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_page_of_errors_matches_the_code() -> None:
    """docs/baton/errors.md is the output of ``python -m tools.errors_page``. It has each code once."""
    page = errors_page.PAGE.read_text("utf-8")
    assert page == errors_page.render(), "run: make format"
    assert sorted(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == sorted({leaf.code for leaf in errors_page.leaves()})


def test_every_action_is_on_the_page_of_errors() -> None:
    """The page has no other action, and its table is that of wire.md."""
    page = errors_page.PAGE.read_text("utf-8").partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(get_args(Action))


@ours_only
def test_the_manifest_matches_the_files() -> None:
    """MANIFEST has the SHA-256 of each of Baton's files. `make upgrade-check` reports a team's own changes."""
    assert manifest.differences(manifest.read(ROOT), ROOT) == manifest.Differences([], [], []), "run: make format"


def test_git_tracks_every_file_of_the_manifest() -> None:
    """An untracked or generated file must not be part of a release."""
    untracked = manifest.read(ROOT).keys() - {path.relative_to(ROOT).as_posix() for path in tracked()}
    assert untracked == set(), "run: git add --all"


def test_the_version_is_defined_once() -> None:
    """The routes import the constant of the package. The tools read the file that defines it."""
    assert __version__ == manifest.version(ROOT)
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+(-dev)?", __version__)


@ours_only
def test_every_release_has_upgrade_instructions() -> None:
    """CHANGELOG.md has a section "Upgrading" for each release."""
    releases = re.split(r"^## \[", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert [release.partition("]")[0] for release in releases if "\n### Upgrading\n" not in release] == []
    assert releases


def test_every_refusal_says_what_to_do() -> None:
    """A refusal has a code, an error of its family, and a sentence for the developer."""
    for leaf in errors_page.leaves():
        refusal = leaf()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", refusal.code), leaf
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", refusal.error), leaf
        assert refusal.detail.endswith("."), leaf


def tracked() -> list[Path]:
    """List the files that git tracks. Skip where there is no checkout, for example in an unpacked archive."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there are no tracked files to look at")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@ours_only
def test_no_file_contains_a_path_of_a_machine() -> None:
    """Such a path exists on one machine only, and reveals where the file was made."""
    assert MACHINE_PATH.search(b"see /" + b"root/.aws")
    found = {
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked()
        if (match := MACHINE_PATH.search(path.read_bytes()))
    }
    assert found == set()


@ours_only
def test_every_documented_command_exists() -> None:
    """A ``make`` command of a page is a target of baton.mk or Makefile. Each target is in ``make help``."""
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
