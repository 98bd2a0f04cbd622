"""The README shows files, commands and code as they are in the repository."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.baton.fixture import FOLDER
from tests.baton.repository import ours_alone
from tools.dev.serve import DEMO_EMAIL

ROOT = Path(__file__).parents[3]
ours_alone()
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(set(re.findall(r"make (\w+)", "".join(text for kind, text in BLOCKS if kind == "sh"))))


def test_the_signed_route_of_the_readme_is_the_sample() -> None:
    """The text is equal, so that a copy works."""
    (python,) = [text for kind, text in BLOCKS if kind == "python"]
    assert python in (ROOT / "chalicelib" / "transfers.py").read_text("utf-8")
    assert len([line for line in python.splitlines() if line]) <= 12


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_command_in_the_readme_exists_and_ci_runs_it(command: str) -> None:
    """``make test`` is the last step of ``make check``."""
    makefile = "".join((ROOT / name).read_text("utf-8") for name in ("Makefile", "baton.mk"))
    assert re.search(rf"^{command}:.*## \w", makefile, re.MULTILINE)
    if command != "test":
        assert re.search(rf"\bmake {command}$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE) or re.search(
            rf"\bmake {command} ", (ROOT / ".ci" / "run").read_text("utf-8")
        )


def test_every_file_that_the_readme_links_to_exists() -> None:
    """Links within the repository are checked."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_guarantee_is_in_the_readme() -> None:
    """Their numbers are those that the tests use."""
    promises = README.split("## Guarantees")[1].split("## ")[0]
    assert re.findall(r"^(\d+)\.", promises, re.MULTILINE) == [str(number) for number in range(1, 15)]


def test_the_table_of_make_dev_is_the_printed_one() -> None:
    """The first lines of the printed table have the same names."""
    (shown,) = [text for kind, text in BLOCKS if kind == "text" and "Baton is running" in text]
    source = (ROOT / "tools" / "dev" / "serve.py").read_text("utf-8")
    for line in shown.splitlines()[2:-1]:
        assert f'"{line.strip().split("  ")[0]}"' in source, line
    assert DEMO_EMAIL in shown


def test_make_without_a_target_lists_the_commands() -> None:
    """A new user often types it first."""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607 - the make on the PATH
    for command in COMMANDS:
        assert f"make {command}" in listed.stdout


def test_the_commands_for_chalice_local_are_tested() -> None:
    """The port is that of the stage. The emulator of DynamoDB prints the same "next" line."""
    (lines,) = [text for kind, text in BLOCKS if kind == "sh" and "chalice local" in text]
    engine, chalice = lines.strip().splitlines()
    assert engine == ".venv/bin/python -m tools.dev.engine 8002"
    assert chalice in (ROOT / "tools" / "dev" / "engine.py").read_text("utf-8").replace(
        "{ENDPOINT}={url}", "AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8002"
    )
    stage = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))["stages"]["local"]
    issuer = stage["environment_variables"]["BATON_ISSUER"]
    assert issuer.rpartition(":")[2] == chalice.rpartition(" ")[2]
    assert f"`{issuer}`" in README


def test_passkeys_are_on_in_make_dev_for_the_origin_of_the_pages() -> None:
    """The included registry has this origin, for the clients that docs/baton/passkeys.md names."""
    registry = tomllib.loads((ROOT / "chalicelib" / "clients.toml").read_text("utf-8"))
    (origin,) = registry["webauthn"]["origins"]
    on = [name for name, row in registry["client"].items() if origin in row.get("webauthn_origins", [])]
    page = (ROOT / "docs" / "baton" / "passkeys.md").read_text("utf-8").replace("\n", " ")
    *others, last = (f"`{name}`" for name in on)
    assert f"passkeys are on for the clients {', '.join(others)} and {last}, which have a web origin" in page
    assert f"`rp_id` is `{registry['webauthn']['rp_id']}`, and the only web origin for passkeys is `{origin}`" in page
    assert f"pages of `{origin}`" in README


def test_the_calls_of_a_browser_are_those_that_run_in_chromium() -> None:
    """The code of docs/baton/passkeys.md is equal, apart from blanks."""
    page = (ROOT / "docs" / "baton" / "passkeys.md").read_text("utf-8")
    tested = re.sub(r"\s", "", (ROOT / "tests" / "baton" / "chromium" / "platform.mjs").read_text("utf-8"))
    calls = re.findall(r"\| `publicKey = (\w.*?)\(options\)`, then `\((.*?)\)\.toJSON\(\)` \|", page)
    assert len(calls) == 2
    for parse, ask in calls:
        assert re.sub(r"\s", "", f"const publicKey = {parse}(json); return ({ask}).toJSON();") in tested


def test_the_app_of_the_tests_is_the_shipped_one() -> None:
    """The app of the tests differs from ``app.py`` by its sample. The registries are those of the release."""
    names = ("app.py", "tests/baton/fixture_app/app.py")
    code = [(ROOT / name).read_text("utf-8").partition('"""\n\n')[2] for name in names]
    assert code[0].replace("chalicelib.transfers", "tests.baton.fixture_app.transfers") == code[1]
    for name in ("clients.toml", "clients-dev.toml"):
        assert (FOLDER / name).read_bytes() == (ROOT / "chalicelib" / name).read_bytes()


def test_app_py_is_short_and_registers_the_sample() -> None:
    """A team replaces one line of ``app.py``."""
    source = (ROOT / "app.py").read_text("utf-8")
    assert "app.register_blueprint(transfers(baton))" in source
    assert len(source.splitlines()) <= 12
