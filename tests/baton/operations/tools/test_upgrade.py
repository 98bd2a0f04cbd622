"""An upgrade of a team's tree to a test release, by the steps of docs/baton/upgrading.md, without network."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.baton.repository import ours_only
from tools import manifest, upgrade
from tools.template import ROOT

pytestmark = ours_only

TEAMS = (
    ".chalice",
    "Makefile",
    "app.py",
    "pyproject.toml",
    "requirements-app.in",
    "requirements-dev.txt",
    "requirements.txt",
)
OWN_ROUTE = '''
from chalicelib.orders import ORDERS


@app.route("/orders", methods=["GET"])
def list_orders() -> dict[str, list[str]]:
    """List the orders."""
    return {"orders": ORDERS}


'''
OWN_TARGET = "\n.PHONY: seed\nseed: ## Fill the development tables with examples\n\t@echo seeded\n"


def write(root: Path, name: str, text: str) -> None:
    """Write a file, and create its folder."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")


def edit(root: Path, name: str, before: str, after: str) -> None:
    """Replace a text that occurs once."""
    text = (root / name).read_text("utf-8")
    assert text.count(before) == 1, (name, before)
    (root / name).write_text(text.replace(before, after), "utf-8")


def seal(root: Path, version: str) -> None:
    """Turn a tree into a release."""
    write(root, manifest.VERSION, f"{version}\n")
    write(root, "chalicelib/__init__.py", f'"""Baton."""\n\n__version__ = "{version}"\n')
    write(root, manifest.MANIFEST, manifest.render(manifest.of_tree(root)))


def copy(names: Iterator[str], to: Path) -> None:
    """Copy files of this tree."""
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """Build the tree of a team: Baton 1.0.0, with a route, a module, a target, a setting and a test of the team.

    Baton 1.0.0 has a package, a public name and a route that 1.1.0 does not have.
    """
    root = tmp_path / "team"
    copy(manifest.names(ROOT), root)
    for name in TEAMS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("deployed", "deployments"))
        else:
            shutil.copy(ROOT / name, root / name)
    for registry in (ROOT / "chalicelib").glob("*.toml"):
        shutil.copy(registry, root / "chalicelib")
    write(root, "chalicelib/baton/fax/__init__.py", '"""Faxes."""\n')
    names = "__all__ = [\n"
    edit(root, "chalicelib/baton/__init__.py", names, f'Fax = object()\n\n{names}    "Fax",\n')
    shutil.copy(ROOT / "chalicelib" / "transfers.py", root / "chalicelib")
    description = json.loads((ROOT / manifest.DESCRIPTION).read_text("utf-8"))
    description["paths"]["/fax"] = {"post": {"responses": {"200": {}}}}
    write(root, manifest.DESCRIPTION, json.dumps(description))
    seal(root, "1.0.0")
    text = (root / "app.py").read_text("utf-8")
    write(root, "app.py", text + OWN_ROUTE)
    write(root, "chalicelib/orders.py", '"""Orders."""\n\nORDERS: list[str] = []\n')
    write(root, "tests/test_orders.py", '"""Orders."""\n')
    write(root, "docs/orders.md", "# Orders\n")
    write(root, "Makefile", (root / "Makefile").read_text("utf-8") + OWN_TARGET)
    edit(
        root,
        ".chalice/config.json",
        '"BATON_CLIENTS": "clients-prod.toml",',
        '"BATON_CLIENTS": "own.toml", "BATON_ORIGIN": "",',
    )
    return root


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Build the test release 1.1.0."""
    root = tmp_path / "release"
    copy(manifest.names(ROOT), root)
    write(root, "chalicelib/baton/ids.py", (ROOT / "chalicelib/baton/ids.py").read_text("utf-8") + "\n# 1.1.0\n")
    write(root, "chalicelib/baton/addition/__init__.py", '"""An addition."""\n')
    edit(
        root,
        "chalicelib/baton/settings.py",
        '"BATON_LOG_LEVEL",',
        '"BATON_LOGGING", "BATON_SENDER",',
    )
    edit(root, "chalicelib/baton/needs.toml", "required = [", 'required = ["BATON_SENDER", ')
    edit(
        root,
        "chalicelib/baton/needs.toml",
        "[settings.renamed]\n",
        '[settings.renamed]\nBATON_LOG_LEVEL = "BATON_LOGGING"\n',
    )
    edit(root, "chalicelib/baton/needs.toml", "[iam.api]\n", '[iam.api]\noutbox = ["dynamodb:PutItem"]\n')
    write(
        root,
        "chalicelib/baton/needs.toml",
        (root / "chalicelib/baton/needs.toml").read_text("utf-8") + '\n[iam.send_mail]\nother = ["ses:SendEmail"]\n',
    )
    edit(
        root,
        "chalicelib/baton/needs.toml",
        "account = { reads = [1], writes = 1 }",
        "account = { reads = [2, 3], writes = 2 }",
    )
    edit(
        root,
        "chalicelib/baton/needs.toml",
        "audit_row = { reads = [1], writes = 1 }",
        "audit_row = { reads = [1, 2], writes = 2 }",
    )
    edit(root, "requirements.in", "\nmsgspec\n", "\nmsgspec>=999\n")
    write(root, "app.py", "raise SystemExit('the app.py of the release is an example')\n")
    seal(root, "1.1.0")
    return root


def run(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a tree, as in the shell of a new user."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = {**kept, "PYTHONPATH": ".:clients/python", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(words, cwd=root, env=environ, capture_output=True, text=True, check=False, timeout=120)


def tool(root: Path, module: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of a tree."""
    return run(root, sys.executable, "-m", module, *words, **variables)


def of_the_team(root: Path) -> dict[str, bytes]:
    """Read all files that are not Baton's."""
    batons = {*manifest.names(root), manifest.MANIFEST}
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts]
    names = {path.relative_to(root).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if name not in batons and not name.endswith(".pyc")}


FINDINGS = {
    "error    pins      requirements.txt pins msgspec": "make lock",
    "error    settings  dev: BATON_LOG_LEVEL was renamed": "write BATON_LOGGING in .chalice/config.json",
    "error    settings  prod: BATON_SENDER is missing": "add it to .chalice/config.json: docs/baton/operations.md",
    "error    settings  prod: BATON_ORIGIN is not a setting; the nearest is BATON_ORIGINS": "correct or remove it in ",
    "error    IAM       prod: api may not dynamodb:PutItem on baton-prod-outbox": "allow it in .chalice/policy-",
    "error    IAM       dev: send_mail has no policy in .chalice/config.json": "write it with the actions of ",
    "error    wire      POST /fax was removed": 'read "Upgrading" in CHANGELOG.md of the release, and update',
    "error    formats   1.0.0 writes account items in format 1, which 1.1.0 cannot read": "upgrade to the release",
    "warning  formats   1.1.0 writes audit_row items in format 2, which 1.0.0 cannot read": "upgrade to the release",
    "error    names     chalicelib.baton.Fax was removed": 'read "Upgrading" in CHANGELOG.md of the release, and',
    "warning  files     tools/own.py is not a file of Baton": "move it out of the folders of Baton",
}


@pytest.mark.prove(ci=True)
def test_a_team_upgrades_by_the_documented_steps(team: Path, release: Path, tmp_path: Path) -> None:
    """The files of the team do not change, Baton's files become those of the release, and each finding is printed."""
    before = of_the_team(team)
    old = shutil.copytree(team, tmp_path / "old")

    done = tool(team, "tools.upgrade", str(release))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "ok: 1.0.0 -> 1.1.0: 8 files written, 1 deleted. Your files were not changed\nnext: read"
    )
    assert of_the_team(team) == before
    assert {
        "app.py",
        "chalicelib/orders.py",
        "tests/test_orders.py",
        "Makefile",
        "docs/orders.md",
    } <= before.keys()
    listed = manifest.read(release)
    assert manifest.read(team) == listed
    assert manifest.differences(listed, team) == manifest.Differences([], [], [])
    assert not (team / "chalicelib/baton/fax").exists()
    helped = run(team, "make", "help", f"VENV={Path(sys.executable).parents[1]}")
    assert "make seed" in helped.stdout
    assert "make upgrade-check" in helped.stdout

    assert tool(team, "tools.openapi").returncode == 0
    paths = json.loads((team / manifest.DESCRIPTION).read_text("utf-8"))["paths"]
    assert "/orders" in paths
    assert "/fax" not in paths

    write(team, "tools/own.py", '"""A tool of the team, in a folder of Baton."""\n')
    checked = tool(team, "tools.upgrade_check", SINCE=str(old))
    lines = checked.stdout.splitlines()
    assert checked.returncode == 1, checked.stderr
    assert lines[0].startswith(f"error: 1.0.0 ({old}) -> 1.1.0: ")
    for finding, remedy in FINDINGS.items():
        (place,) = [number for number, line in enumerate(lines) if line.strip().startswith(finding)]
        assert lines[place + 1].strip().startswith(f"remedy: {remedy}"), finding
    assert lines[-1] == "next: correct the errors, then: make upgrade-check"
    columns = {line.index("remedy: ") for line in lines if line.strip().startswith("remedy: ")}
    assert len(columns) == 1
    only_dev = tool(team, "tools.upgrade_check", SINCE=str(old), STAGE="dev").stdout
    assert "dev: BATON_SENDER is missing" in only_dev
    assert "prod: " not in only_dev


def test_make_lock_reads_both_sources_in_the_tree_of_a_team(team: Path, tmp_path: Path) -> None:
    """The result is one requirements.txt with hashes. Without uv, one line says so.

    If uv fails, its last lines are printed.
    """
    write(tmp_path, "bin/uv", f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    (tmp_path / "bin/uv").chmod(stat.S_IRWXU)
    done = run(team, "make", "lock", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert first.endswith(" requirements-dev.in -o requirements-dev.txt")
    assert second.endswith(" requirements.in requirements-app.in -c requirements-dev.txt -o requirements.txt")
    assert all("--generate-hashes" in line for line in (first, second))
    write(tmp_path, "bin/uv", "#!/bin/sh\nseq 1000 >&2; echo the reason >&2; exit 1\n")
    failed = run(team, "make", "lock", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) < 20
    assert "the reason\nerror: uv did not find pins for all requirements. remedy: " in failed.stderr
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    for name in ("sh", "make", "cksum", "tr"):
        (nowhere / name).symlink_to(shutil.which(name) or name)
    missing = run(team, "make", "lock", PATH=str(nowhere))
    assert missing.returncode == 2
    assert missing.stderr.splitlines()[0].startswith(
        "error: uv is not installed. Nothing was changed. remedy: install uv"
    )


@pytest.mark.prove(ci=True)
def test_the_old_release_is_read_from_git(team: Path, release: Path) -> None:
    """Before the upgrade is committed, HEAD is the old release. SINCE can name an older commit."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "Baton 1.0.0"]):
        assert run(team, git, *words).returncode == 0
    assert tool(team, "tools.upgrade", str(release)).returncode == 0
    uncommitted = tool(team, "tools.upgrade_check").stdout
    assert uncommitted.startswith("error: 1.0.0 (HEAD) -> 1.1.0: ")
    assert "POST /fax was removed" in uncommitted
    for words in (["add", "-A"], [*identity, "commit", "-q", "-m", "Baton 1.1.0"]):
        assert run(team, git, *words).returncode == 0
    committed = tool(team, "tools.upgrade_check").stdout
    assert "skipped  old release  wire, formats and names were compared with 1.1.0 itself: the commit has" in committed
    assert "remedy: make upgrade-check SINCE=<commit or folder of the old release>" in committed
    assert "POST /fax was removed" in tool(team, "tools.upgrade_check", SINCE="HEAD~1").stdout
    for unknown in ("HEAD~9", "-h"):
        lost = tool(team, "tools.upgrade_check", SINCE=unknown)
        assert "skipped  old release  wire, formats and names were not compared: " in lost.stdout


@pytest.mark.prove(ci=True)
def test_code_that_does_not_start_is_a_finding(team: Path, release: Path, tmp_path: Path) -> None:
    """A module of the team imports a name that the release does not have.

    The check prints one line, with the other findings.
    """
    old = shutil.copytree(team, tmp_path / "old")
    write(team, "chalicelib/orders.py", "from chalicelib.baton.fax import send\n\nORDERS = send\n")
    assert tool(team, "tools.upgrade", str(release)).returncode == 0
    checked = tool(team, "tools.upgrade_check", SINCE=str(old))
    found = "error    wire      app.py does not start: ModuleNotFoundError: No module named 'chalicelib.baton.fax'"
    assert found in checked.stdout, checked.stderr
    assert "BATON_SENDER is missing" in checked.stdout


def small(tmp_path: Path, name: str, files: dict[str, str], version: str) -> Path:
    """Build a small tree with a manifest."""
    root = tmp_path / name
    for file, text in files.items():
        write(root, file, text)
    seal(root, version)
    return root


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Build a small tree and a small release. One file changes, one is new, and one is removed."""
    here = small(tmp_path, "here", {"tools/a.py": "a = 1\n", "tools/old/b.py": "b = 1\n"}, "1.0.0")
    write(here, "app.py", "the team's\n")
    write(here, "tools/old/__pycache__/b.pyc", "bytecode")
    return here, small(tmp_path, "next", {"tools/a.py": "a = 2\n", "tools/c.py": "c = 1\n"}, "1.1.0")


def refusal(here: Path, release: Path, capsys: pytest.CaptureFixture[str], **environ: str) -> str:
    """Run an upgrade that is refused, and check that no file was written."""
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert upgrade.main(here, [str(release)], environ) == 1
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
    said = capsys.readouterr().err
    assert said.startswith("error: nothing was changed: ")
    assert "\nremedy: " in said
    return said


def test_an_upgrade_writes_and_deletes_the_files_of_the_manifests(pair: tuple[Path, Path]) -> None:
    """A folder that has only bytecode left is deleted too."""
    here, release = pair
    assert upgrade.main(here, [str(release)], {}) == 0
    assert (here / "tools/a.py").read_text("utf-8") == "a = 2\n"
    assert (here / "tools/c.py").exists()
    assert not (here / "tools/old").exists()
    assert (here / "app.py").read_text("utf-8") == "the team's\n"
    assert manifest.version(here) == "1.1.0"
    assert not list(here.rglob("*.new"))


@pytest.mark.parametrize("files", range(4))
def test_an_interrupted_upgrade_can_be_repeated(
    files: int, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interruption may come after any number of written files.

    Files of the new release do not count as local changes.
    """
    here, release = pair
    copied: list[object] = []
    real = shutil.copy

    def copy_some(source: Path, target: Path) -> None:
        if len(copied) == files:
            raise KeyboardInterrupt
        copied.append(real(source, target))

    monkeypatch.setattr(shutil, "copy", copy_some)
    with pytest.raises(KeyboardInterrupt):
        upgrade.main(here, [str(release)], {})
    assert manifest.read(here) != manifest.read(release)
    monkeypatch.undo()
    assert upgrade.main(here, [str(release)], {}) == 0
    assert manifest.differences(manifest.read(release), here) == manifest.Differences([], [], [])


@pytest.mark.parametrize("name", ["tools/a.py", "tools/old/b.py"])
def test_a_local_change_is_not_overwritten(
    name: str, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a new version nor a deletion of the file is carried out. OVERWRITE=1 accepts the loss."""
    here, release = pair
    write(here, name, "changed = 1\n")
    assert f"1 file of Baton has changes that were made here: {name}\n" in refusal(here, release, capsys)
    assert upgrade.main(here, [str(release)], {"OVERWRITE": "1"}) == 0
    assert manifest.differences(manifest.read(release), here) == manifest.Differences([], [], [])


def test_a_file_of_the_team_is_not_overwritten(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A new file of the release has the name of a team's file. OVERWRITE=1 does not help.

    Equal content is no conflict.
    """
    here, release = pair
    write(here, "tools/c.py", "the team's\n")
    assert "tools/c.py" in refusal(here, release, capsys)
    assert "rename your file" in refusal(here, release, capsys, OVERWRITE="1")
    write(here, "tools/c.py", "c = 1\n")
    assert upgrade.main(here, [str(release)], {}) == 0


def test_a_damaged_release_is_refused(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The damage is a file with another SHA-256, a missing file, a link out of the tree, or a missing manifest."""
    here, release = pair
    write(release, "tools/a.py", "a = 3\n")
    assert "1 file of the release has another SHA-256 than its MANIFEST: tools/a.py" in refusal(here, release, capsys)
    (release / "tools/a.py").unlink()
    assert "tools/a.py" in refusal(here, release, capsys)
    write(release.parent, "outside.py", "a = 2\n")
    (release / "tools/a.py").symlink_to(release.parent / "outside.py")
    assert "tools/a.py" in refusal(here, release, capsys)
    (release / manifest.MANIFEST).unlink()
    assert "MANIFEST does not exist" in refusal(here, release, capsys)


def test_nothing_is_written_outside_the_tree(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The test has a link in the tree, and a path in a manifest."""
    here, release = pair
    shutil.move(here / "tools", here.parent / "elsewhere")
    (here / "tools").symlink_to(here.parent / "elsewhere", target_is_directory=True)
    assert "a link that leads out of this tree" in refusal(here, release, capsys)
    (here / "tools").unlink()
    shutil.move(here.parent / "elsewhere", here / "tools")
    write(release, manifest.MANIFEST, f"{'0' * 64}  ../app.py\n")
    assert "is not a SHA-256 and a path" in refusal(here, release, capsys)


def test_without_a_release_the_usage_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An example is `make upgrade` without arguments."""
    assert upgrade.main(tmp_path, [], {}) == 2
    assert "make upgrade FROM=<folder of the unpacked release>" in capsys.readouterr().err
