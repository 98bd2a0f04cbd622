"""A team's route does not break Baton's tests: they pass in a tree in which all files of the team are changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baton.operations.team import NOTHING_PUBLIC, SHOP_PUBLIC, make_team_tree
from tests.baton.repository import ROOT, is_batons, ours_only

pytestmark = ours_only

A_FEW = (
    "tests/test_app.py",
    "tests/baton/app/test_public_names.py",
    "tests/baton/house/test_house.py",
    "tests/baton/house/test_promises.py",
    "tests/baton/house/test_readme.py",
    "tests/baton/http/test_chalices_own_words.py",
    "tests/baton/http/test_signed.py",
    "tests/baton/lineages/test_clients.py",
    "tests/baton/operations/test_stages.py",
    "tests/baton/proofs/engines/test_cost.py::test_every_route_has_its_row",
    "tests/baton/wire/test_codes.py::test_every_code_has_a_case",
    "tests/baton/wire/test_openapi.py",
    "tests/baton/wire/test_wire.py",
)
"""Tests that depend most on a route, a registry or a page of the team. They take a few seconds."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the tree of a team."""
    return make_team_tree(tmp_path_factory.mktemp("team") / "shop")


def run(tree: Path, *arguments: str) -> tuple[int, str]:
    """Run pytest in the tree, as a team does. Return the exit code and the output."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", *arguments],
        cwd=tree,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_tree_of_a_team_is_not_the_repository_of_baton(tree: Path) -> None:
    """Its README has another title. The tree of a release is not the repository of Baton either."""
    assert is_batons(ROOT)
    assert not is_batons(tree)


@pytest.mark.prove(ci=True)
def test_batons_tests_pass_in_the_tree_of_a_team(tree: Path) -> None:
    """They run in one process with the team's tests. Each suite uses its own application and registry."""
    code, printed = run(tree, *A_FEW)
    assert code == pytest.ExitCode.OK, printed


@pytest.mark.prove
def test_all_of_batons_tests_pass_in_the_tree_of_a_team(tree: Path) -> None:
    """The test runs the whole of ``tests/baton`` without the long proofs, and the team's tests."""
    code, printed = run(tree, "-n", str(os.cpu_count() or 1), "tests")
    assert code == pytest.ExitCode.OK, printed


@pytest.mark.parametrize(
    ("file", "before", "after", "noticed"),
    [
        ("tests/test_app.py", SHOP_PUBLIC, NOTHING_PUBLIC, "GET /catalogue answers without a token"),
        ("tests/test_app.py", SHOP_PUBLIC, SHOP_PUBLIC.replace("plain", "plane"), "GET /plane"),
    ],
    ids=["a public route without its name", "a name without its route"],
)
def test_an_unlisted_public_route_fails_the_teams_tests(
    tree: Path, file: str, before: str, after: str, noticed: str
) -> None:
    """A control of the sample test in ``tests/test_app.py``: it fails for such a route."""
    text = (tree / file).read_text("utf-8")
    assert before in text
    (tree / file).write_text(text.replace(before, after), "utf-8")
    try:
        code, printed = run(tree, "tests", "--ignore=tests/baton")
    finally:
        (tree / file).write_text(text, "utf-8")
    assert code == pytest.ExitCode.TESTS_FAILED, printed
    assert noticed in printed
