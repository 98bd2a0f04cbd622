"""Each command of a fenced block, and each ``python -m`` of the text, works as documented.

A command that needs AWS runs without a region. It must accept its arguments and end with one line that names the
missing setting. ``test_operations.py`` compares the commands of ``aws`` with the APIs of AWS.
"""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import baton_client
from baton_client import BatonClient, HttpTransport, MemoryStorage
from chalicelib.baton.testing import gateway
from tests.baton.repository import OURS, ours_only
from tools.dev.serve import development

ROOT = Path(__file__).parents[3]
PAGES = [
    *((ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md") if OURS else ()),
    *sorted((ROOT / "clients").rglob("*.md")),
    *sorted((ROOT / "docs" / "baton").rglob("*.md")),
]
SHELL = {"sh", "bash", "console", "shell"}
DATA = {"json", "http", "text", "mermaid", "toml", "yaml", "xml"}
"""Languages of blocks with data and without commands."""

BIN = Path(sys.executable).parent
NO_REGION = "Set AWS_DEFAULT_REGION: no region is set."
UNREACHED = "error: the deployment does not work: health: "
RUN = {
    "tools.deploy": NO_REGION,
    "tools.operate": NO_REGION,
    "tools.restore": NO_REGION,
    "tools.smoke": UNREACHED,
}
"""Documented modules that need a deployment, and the last line that each prints without a deployment."""

ELSEWHERE = {
    "tools.dev.aws": "tests/baton/operations/tools/test_deploy.py: aws",
    "tools.manifest": "tests/baton/operations/tools/test_manifest.py",
    "tools.dev.engine": "tests/baton/operations/tools/test_serve.py: chalice_local",
    "tools.errors_page": "tests/baton/house/test_house.py: errors_page",
    "tools.client_vectors": "tests/baton/wire/test_client_vectors.py",
}
"""Modules that another test runs as documented."""

INSTALLED_BY_A_PERSON = {"pip install cryptography"}
WORDS = {"E-MAIL": "ada@example.com", "URL": "http://127.0.0.1:9", "CLIENT": "mobile"}
"""The placeholders of the pages, and their values in this test."""


def blocks() -> Iterator[tuple[Path, str, str]]:
    """Return each fenced block: its page, its language, its text."""
    for page in PAGES:
        for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            yield page, kind, text


def command_lines() -> list[tuple[str, str]]:
    """List the command lines of all blocks, and the ``python -m`` of the running text, with their page."""
    found = []
    for page, kind, text in blocks():
        if kind in SHELL:
            joined = text.replace("\\\n", " ")
            lines = [line.removeprefix("$ ").partition("   #")[0].strip() for line in joined.splitlines()]
            found += [(page.name, re.sub(r"\s+#.*", "", line)) for line in lines if line and not line.startswith("#")]
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        found += [(page.name, line) for line in re.findall(r"`((?:[A-Z_]+=\S+ )*[^` ]*python -m [^`]+)`", prose)]
    return list(dict.fromkeys(found))


LINES = command_lines()


def words_of(line: str) -> tuple[dict[str, str], list[str], str]:
    """Split a line into variables, words and the folder where it runs."""
    folder = "."
    if inside := re.fullmatch(r"\(cd (\S+) && (.*)\)", line):
        folder, line = inside[1], inside[2]
    words, variables = shlex.split(line), {}
    while re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    return variables, words, folder


def program_of(line: str) -> str:
    """Return the program of a line."""
    _, words, _ = words_of(line)
    return "python -m" if words[1:2] == ["-m"] else Path(words[0]).name


def of(*programs: str) -> list[str]:
    """Return the lines of some programs, each once."""
    return sorted({line for _, line in LINES if program_of(line) in programs})


def test_every_block_names_its_language() -> None:
    """A command in a block without a language, or in a block of data, would not be tested."""
    assert {kind for _, kind, _ in blocks()} <= SHELL | DATA | {"python", "js", "kotlin", "swift", ""}
    command = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:make|aws|chalice|curl|pip|\S*python) ", re.MULTILINE)
    assert [text for _, kind, text in blocks() if kind not in SHELL and command.search(text)] == []


def test_every_command_has_a_test() -> None:
    """A new program needs a test in this module."""
    known = {"make", "python -m", "chalice", "aws", "pip", "curl"}
    assert [line for _, line in LINES if program_of(line) not in known] == []
    assert len(LINES) > 20
    assert set(of("pip")) == INSTALLED_BY_A_PERSON


@functools.cache
def newcomer() -> dict[str, str]:
    """Return the environment of a new user: no settings, no AWS, no PYTHONPATH."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **nothing, "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.mark.parametrize("line", of("make"))
def test_make_has_the_target_and_its_modules_exist(line: str) -> None:
    """`make` prints the commands that it would run. Each module in them exists."""
    variables, words, _ = words_of(line)
    done = subprocess.run(
        [*words, "-n", f"VENV={BIN.parent}"],
        cwd=ROOT,
        env={**newcomer(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for module in re.findall(r"-m ((?:tools|bench|tests)[\w.]*)", done.stdout):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize("line", [line for line in of("python -m") if "tools.dev.engine" not in line])
def test_a_module_runs_as_documented_without_pythonpath(line: str) -> None:
    """The command accepts its arguments (otherwise it exits with 2) and finds its imports."""
    variables, words, _ = words_of(line)
    assert words[0] in {".venv/bin/python", "python"}, f"write .venv/bin/python: {line}"
    module, arguments = words[2], [WORDS.get(word, word) for word in words[3:]]
    if module in ELSEWHERE:
        return
    arguments = ["http://127.0.0.1:9" if word.startswith("https://login.example.org") else word for word in arguments]
    command = [sys.executable, "-m", module, *arguments]
    if module == "pytest":  # only found and not run, because this test may be one of them. All folders would take 40 s
        command = [f"{word}/house" if word == "tests/baton" else word for word in command]
        command += ["--collect-only", "-p", "no:cacheprovider"]
    if module == "tools.smoke":  # it would wait a minute until a new API is available everywhere
        patched = f"import runpy, sys, time; time.sleep = lambda _: None; sys.argv[1:] = {arguments!r}; "
        command = [sys.executable, "-c", patched + f"runpy.run_module({module!r}, run_name='__main__')"]
    done = subprocess.run(
        command, cwd=ROOT, env={**newcomer(), **variables}, capture_output=True, text=True, check=False, timeout=120
    )
    if module == "tools.operate" and not arguments:
        assert done.returncode == 2, "its name alone prints its commands"
        return
    if module == "pytest":
        assert done.returncode == 0, done.stdout
        return
    if arguments[:1] == ["well-known"]:
        assert "there is no file 'clients-prod.toml'" in done.stderr, "it needs no AWS, only the registry of the stage"
        return
    assert done.stderr.startswith(RUN[module]), done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("line", of("chalice"))
def test_chalice_accepts_the_command_and_its_options(line: str) -> None:
    """The help of chalice lists them."""
    _, words, folder = words_of(line)
    assert (ROOT / folder / words[0]).parts[-3:] == (".venv", "bin", "chalice")
    assert folder in {".", "build/source"}
    done = subprocess.run([BIN / "chalice", words[1], "--help"], capture_output=True, text=True, check=True)
    assert [word for word in words[2:] if word.startswith("--") and word not in done.stdout] == []


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Run `make dev` with the sample in this process, and give its URL."""
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway, "APP", ROOT / "app.py")
        with development(0) as running:
            yield running.url
    os.environ.clear()
    os.environ.update(before)


@ours_only
def test_the_curl_command_of_the_readme_gets_the_documented_answer(server: str) -> None:
    """The server is `make dev` with its demo account.

    The answer has the members of the JSON block below the command.
    """
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    (line,) = of("curl")
    (shown,) = [text for page, kind, text in blocks() if page == ROOT / "README.md" and kind == "json"]
    words = [word.replace("http://localhost:8000/api", server) for word in shlex.split(line)[1:]]
    done = subprocess.run([curl, "--fail", *words], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout).keys() == json.loads(shown).keys()


PYTHON_ELSEWHERE = {
    ROOT / "README.md": "app.py has the block: tests/baton/house/test_readme.py",
    ROOT / "docs" / "baton" / "mail.md": "a test of a team: tests/baton/mail/test_documented.py",
    ROOT / "docs" / "baton" / "moving.md": "the lines of an app: tests/baton/accounts/test_documented_migration.py",
    ROOT / "docs" / "baton" / "routes.md": "a feature of a team: tests/baton/wire/test_documented_routes.py",
    ROOT / "docs" / "baton" / "storage-port.md": "a file of tests: tests/baton/storage/test_documented_port.py",
    ROOT / "docs" / "baton" / "tables.md": "a feature of a team: tests/baton/wire/test_own_tables.py",
    ROOT / "docs" / "baton" / "development.md": "faults: tests/baton/operations/dev/test_documented.py",
    ROOT / "docs" / "baton" / "web.md": "an app with a page: tests/baton/browser/test_documented.py",
    ROOT / "docs" / "baton" / "testing.md": "a project of a team: tests/baton/testing/test_documented_kit.py",
}
"""Pages whose Python another test runs. Blocks with `ask_for(` run in tests/baton/mail/test_client_documented.py."""

PYTHON = [
    pytest.param(page, text, id=f"{page.parent.name}/{page.name}:{number}")
    for number, (page, kind, text) in enumerate(blocks())
    if kind == "python" and page not in PYTHON_ELSEWHERE and "ask_for(" not in text
]


@ours_only
@pytest.mark.parametrize(("page", "text"), PYTHON)
def test_a_block_of_python_runs_against_make_dev(
    page: Path, text: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test fills in its own address and file, and the placeholders of the page."""
    del page
    password = "copper lantern drifting sideways"
    transports: list[HttpTransport] = []

    class Kept(HttpTransport):
        """A transport that the test closes at its end. In the page, the end of the program closes it."""

        def __init__(self) -> None:
            super().__init__()
            transports.append(self)

    monkeypatch.setattr(baton_client, "HttpTransport", Kept)
    ada = BatonClient(server, "mobile", MemoryStorage())
    ada.register("ada@example.com", password, device_name="first")
    try:
        text = text.replace("https://api.example.com/api", server).replace("http://localhost:8000/api", server)
        text = text.replace("Development()", f"Development({server.removesuffix('/api')!r})")
        text = text.replace("~/.config/example/session.json", str(tmp_path / "session.json"))
        given = {
            "password": password,
            "ask_for_password": lambda: password,
            "url": server,
            "storage": MemoryStorage(),
        }
        if "import BatonClient" not in text:
            given["BatonClient"] = BatonClient
        exec(compile(text, "the page", "exec"), given)  # noqa: S102 - code of a page of this repository
        assert isinstance(given["client"], BatonClient)
    finally:
        ada.delete_account(password)
        for transport in transports:
            transport.close()


@ours_only
def test_git_does_not_ignore_the_record_of_deployments() -> None:
    """The page says to keep this file in the repository."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert not [line for line in ignored if "deployed" in line]
    assert "Commit `.chalice/deployed/`" in (ROOT / "docs" / "baton" / "operations.md").read_text("utf-8")


def test_make_help_keeps_its_columns() -> None:
    """Even with a long name, each description begins in the same column."""
    done = subprocess.run(
        ["make", "--no-print-directory", "help", f"VENV={BIN.parent}"],  # noqa: S607 - the make on the PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len({re.match(r"  make \S+ +", line)[0].__len__() for line in lines if line}) == 1  # type: ignore[index]
    assert all(len(line) <= 120 for line in lines)
