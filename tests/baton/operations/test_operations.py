"""The page of operations, and the runbooks: what they tell to type is there to be typed."""

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import UnknownServiceError

from chalicelib.baton import settings
from tools import deploy, package
from tools.template import ROOT

OPERATIONS = ROOT / "docs" / "baton" / "operations.md"
PAGES = [OPERATIONS, *sorted((ROOT / "docs" / "baton" / "runbooks").glob("*.md")), ROOT / "README.md"]
OF_THE_CLI_ALONE = {
    "s3 mb": set(),
    "sso login": set(),
    "logs tail": {"filter-pattern"},
    "cloudformation package": {"template-file", "s3-bucket", "output-template-file"},
    "cloudformation deploy": {"stack-name", "template-file", "s3-bucket", "parameter-overrides", "capabilities"},
}
"""Commands that are no operation of an API, and their options."""


def commands(page: Path, program: str) -> list[str]:
    """Find the lines of a page that call a program: in blocks, and in the running text."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.partition("   #")[0].strip() for line in [*blocks.splitlines(), *inline]]
    return [
        line[line.index(program) :] for line in lines if re.match(rf"([A-Z_]+=\S+ )*\S*{re.escape(program)} ", line)
    ]


@functools.cache
def operation(service: str, name: str) -> Any:
    """Find an operation as the command line names it."""
    model = botocore.session.get_session().get_service_model(service)
    (found,) = [one for one in model.operation_names if botocore.xform_name(one, "-") == name]
    return model.operation_model(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_aws_is_one(page: Path) -> None:
    """Service, operation and options, as AWS describes them; for what the command line adds, as listed above."""
    for line in commands(page, "aws"):
        words = shlex.split(line.replace("...", "x"))
        _, service, name, *rest = words
        options = {word[2:] for word in rest if word.startswith("--")} - {"query"}
        if f"{service} {name}" in OF_THE_CLI_ALONE:
            assert options <= OF_THE_CLI_ALONE[f"{service} {name}"], line
            continue
        try:
            shape = operation(service, name).input_shape
        except (UnknownServiceError, ValueError):
            pytest.fail(f"no such command: {line}")
        members = {botocore.xform_name(member, "-"): shape.members[member] for member in shape.members}
        switches = {
            prefix + name for name, one in members.items() if one.type_name == "boolean" for prefix in ("", "no-")
        }
        assert options <= members.keys() | switches, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_target_and_tool_is_there(page: Path) -> None:
    """What `make` and `python -m` are told to do."""
    makefile = "".join((ROOT / name).read_text("utf-8") for name in ("Makefile", "baton.mk"))
    for line in commands(page, "make"):
        assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE), line
    for module, words in re.findall(r"python -m (tools\.[a-z.]+)((?: [a-z]+)*)", page.read_text("utf-8")):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()
        if module == "tools.deploy" and words:
            assert f'case ["{words.split()[0]}", name]' in Path(deploy.__file__).read_text("utf-8")


def test_the_hardened_template_is_deployed_by_way_of_a_bucket() -> None:
    """It is larger than CloudFormation takes from the command line: what this page said could not be done."""
    (to_deploy,) = commands(OPERATIONS, "aws cloudformation deploy")
    assert "--s3-bucket" in to_deploy
    assert "packaged.yaml" in to_deploy


def test_a_configured_issuer_is_the_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """One place to write it: the doctor and the operator's commands ask the URL that is deployed."""
    assert "Issuer" not in package.names_of("prod")
    own = package.configuration()
    own["stages"]["prod"]["environment_variables"]["BATON_ISSUER"] = "https://login.example.org"
    monkeypatch.setattr(package, "configuration", lambda: own)
    assert package.names_of("prod")["Issuer"] == "https://login.example.org"


def test_the_registry_for_production_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written where the stage ``prod`` names it, its settings start; and no client of it issues bearer tokens."""
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    (shown,) = re.findall(r"```toml\n(.*?)```", OPERATIONS.read_text("utf-8"), re.DOTALL)
    variables = package.configuration()["stages"]["prod"]["environment_variables"]
    (tmp_path / variables["BATON_CLIENTS"]).write_text(shown, "utf-8")
    assert f"chalicelib/{variables['BATON_CLIENTS']}" in shown
    registry = settings.read_settings(variables).registry
    assert {client.binding for client in registry} == {"required"}
