"""The commands in docs/baton/operations.md and in the runbooks exist."""

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
"""Commands of the AWS CLI that have no API operation, with their options."""


def commands(page: Path, program: str) -> list[str]:
    """Find the lines of a page that call a program: in blocks, and in the text."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.partition("   #")[0].strip() for line in [*blocks.splitlines(), *inline]]
    return [
        line[line.index(program) :] for line in lines if re.match(rf"([A-Z_]+=\S+ )*\S*{re.escape(program)} ", line)
    ]


@functools.cache
def operation(service: str, name: str) -> Any:
    """Find an operation by its name on the command line."""
    model = botocore.session.get_session().get_service_model(service)
    (found,) = [one for one in model.operation_names if botocore.xform_name(one, "-") == name]
    return model.operation_model(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_aws_command_exists(page: Path) -> None:
    """Service, operation and options are in the AWS API description, or in the list above."""
    for line in commands(page, "aws"):
        words = shlex.split(line.replace("...", "x"))
        _, service, name, *rest = words
        options = {word[2:] for word in rest if word.startswith("--")} - {"output", "query"}
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
def test_every_make_target_and_tool_exists(page: Path) -> None:
    """The test reads the arguments of `make` and `python -m`."""
    makefile = "".join((ROOT / name).read_text("utf-8") for name in ("Makefile", "baton.mk"))
    for line in commands(page, "make"):
        assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE), line
    for module, words in re.findall(r"python -m (tools\.[a-z.]+)((?: [a-z]+)*)", page.read_text("utf-8")):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()
        if module == "tools.deploy" and words:
            assert f'case ["{words.split()[0]}", name]' in Path(deploy.__file__).read_text("utf-8")


def test_the_hardened_template_is_deployed_through_a_bucket() -> None:
    """The template is too large for a direct CloudFormation call. Bug: the page described that call."""
    to_deploy = next(one for one in commands(OPERATIONS, "aws cloudformation deploy") if "baton-prod " in one)
    assert "--s3-bucket" in to_deploy
    assert "packaged.yaml" in to_deploy


def test_the_issuer_setting_is_the_parameter_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor and the operator's commands call the deployed URL, which has one definition."""
    assert "Issuer" not in package.names_of("prod")
    own = package.configuration()
    own["stages"]["prod"]["environment_variables"]["BATON_ISSUER"] = "https://login.example.org"
    monkeypatch.setattr(package, "configuration", lambda: own)
    assert package.names_of("prod")["Issuer"] == "https://login.example.org"


def test_the_sample_registry_for_production_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the stage ``prod`` accept it. No client of it issues bearer tokens."""
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    shown, *_ = re.findall(r"```toml\n(.*?)```", OPERATIONS.read_text("utf-8"), re.DOTALL)
    variables = package.configuration()["stages"]["prod"]["environment_variables"]
    (tmp_path / variables["BATON_CLIENTS"]).write_text(shown, "utf-8")
    assert f"chalicelib/{variables['BATON_CLIENTS']}" in shown
    registry = settings.read_settings(variables).registry
    assert {client.binding for client in registry} == {"required"}
