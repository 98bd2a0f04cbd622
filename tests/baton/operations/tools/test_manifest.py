"""The list of Baton's files: written only in development, and compared with a tree."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools import manifest

DIGEST = "0" * 64


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Write a small tree, with its manifest."""
    for name, text in {
        "app.py": "the team's",
        "baton.mk": "all:\n",
        "chalicelib/__init__.py": "",
        "chalicelib/orders.py": "the team's",
        "chalicelib/baton/VERSION": "1.0.0\n",
        "chalicelib/baton/call.py": "call = 1\n",
        "chalicelib/baton/__pycache__/call.pyc": "a cache",
        "chalicelib/baton/.hidden": "an editor's",
        "chalicelib/baton/http/openapi.json": "{}",
        "tools/plan.py": "plan = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / manifest.MANIFEST).write_text(manifest.render(manifest.of_tree(tmp_path)), "utf-8")
    return tmp_path


def test_a_manifest_names_the_files_of_baton_only(tree: Path) -> None:
    """The list is sorted. It has no file of the team, no cache, not itself, and not the description of all routes."""
    listed = manifest.read(tree)
    assert list(listed) == [
        "baton.mk",
        "chalicelib/__init__.py",
        "chalicelib/baton/VERSION",
        "chalicelib/baton/call.py",
        "tools/plan.py",
    ]
    assert manifest.differences(listed, tree) == manifest.Differences([], [], [])


def test_the_page_lists_the_files_of_baton() -> None:
    """docs/baton/upgrading.md and the code name the same folders and files."""
    page = (manifest.ROOT / "docs" / "baton" / "upgrading.md").read_text("utf-8")
    (row,) = re.findall(r"^\| Baton: [^|]*\|([^|]*)\|$", page, re.MULTILINE)
    assert re.findall(r"`([^`]+)`", row) == [*(f"{folder}/" for folder in manifest.FOLDERS), *manifest.FILES]


def test_sha256sum_reads_a_manifest(tree: Path) -> None:
    """A person can compare a tree without Baton's tools."""
    sha256sum = shutil.which("sha256sum")
    if sha256sum is None:
        pytest.skip("sha256sum is not installed")
    command = [sha256sum, "--check", "--quiet", manifest.MANIFEST]
    assert subprocess.run(command, cwd=tree, check=False, capture_output=True).returncode == 0
    (tree / "baton.mk").write_text("other:\n", "utf-8")
    assert subprocess.run(command, cwd=tree, check=False, capture_output=True).returncode == 1


def test_each_difference_is_named(tree: Path) -> None:
    """The differences are a changed file, a deleted file, and a file that is not in the release."""
    (tree / "chalicelib/baton/call.py").write_text("call = 2\n", "utf-8")
    (tree / "tools/plan.py").unlink()
    (tree / "tools/own.py").write_text("", "utf-8")
    found = manifest.differences(manifest.read(tree), tree)
    assert found == manifest.Differences(["chalicelib/baton/call.py"], ["tools/plan.py"], ["tools/own.py"])


@pytest.mark.parametrize(
    "line",
    [
        f"{DIGEST}  ../outside",
        f"{DIGEST}  /etc/passwd",
        f"{DIGEST}  tools/../app.py",
        f"{DIGEST}  tools//x",
        f"{DIGEST}  tools\\x",
        f"{DIGEST} tools/x",
        f"{DIGEST[1:]}  tools/x",
        "",
    ],
)
def test_a_line_that_is_no_path_of_the_tree_is_refused(line: str) -> None:
    """An upgrade writes and deletes the listed files, so no path may lead out of the tree."""
    with pytest.raises(manifest.NoManifest):
        manifest.parse(f"{DIGEST}  tools/plan.py\n{line}\n")


def test_a_missing_manifest_is_reported(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(manifest.NoManifest, match="MANIFEST does not exist"):
        manifest.read(tmp_path)


def test_the_manifest_of_a_release_is_not_written_again(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make format` in the tree of a team must not hide a changed file from `make upgrade-check`."""
    before = manifest.read(tree)
    (tree / "tools/plan.py").write_text("plan = 2\n", "utf-8")
    assert manifest.main(tree, []) == 0
    assert capsys.readouterr().out.startswith("skipped: MANIFEST is that of release 1.0.0. next: make upgrade-check")
    assert manifest.read(tree) == before
    assert manifest.main(tree, ["--release"]) == 0
    assert manifest.read(tree) == manifest.of_tree(tree) != before


def test_in_development_the_manifest_is_written(tree: Path) -> None:
    """Between two releases of Baton, the manifest follows the tree."""
    (tree / manifest.VERSION).write_text("1.1.0-dev\n", "utf-8")
    assert manifest.main(tree, []) == 0
    assert manifest.differences(manifest.read(tree), tree) == manifest.Differences([], [], [])


def test_an_unknown_argument_is_refused(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt option writes nothing."""
    assert manifest.main(tree, ["--releases"]) == 2
    assert "usage" in capsys.readouterr().err
