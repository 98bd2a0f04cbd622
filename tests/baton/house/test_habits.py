"""The files for contributors: CONTRIBUTING.md, ``.github/``, ``.devcontainer/`` and ``.editorconfig``.

Each command and path in them exists. ``test_documented_commands.py`` runs the fenced commands of CONTRIBUTING.md.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.baton.house.test_house import tracked
from tests.baton.repository import ours_alone

ROOT = Path(__file__).parents[3]
GITHUB = ROOT / ".github"
ours_alone()
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
CONFIG = GITHUB / "ISSUE_TEMPLATE" / "config.yml"
FORMS = sorted(set((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) - {CONFIG})
WORKFLOW = GITHUB / "workflows" / "ci.yml"
DEPENDABOT = GITHUB / "dependabot.yml"
CONTAINER = ROOT / ".devcontainer" / "devcontainer.json"
PAGES = [CONTRIBUTING, GITHUB / "pull_request_template.md", CONFIG, *FORMS, WORKFLOW, CONTAINER]

MAKEFILE = (ROOT / "baton.mk").read_text("utf-8")
PYTHONS = sorted(set(re.findall(r"python(3\.\d+)", MAKEFILE)))
"""The versions that the Makefile searches for."""

FILE = re.compile(r"(?:[\w.-]+/)+(?:[\w-]*\.?[\w-]+)?|[\w-]+\.(?:md|py|toml|yaml|yml|json)|\.[a-z]+")
"""A path in backticks: it has a slash, a known ending, or a leading dot."""


def read_yaml(path: Path) -> dict[Any, Any]:
    """Parse a YAML file. Its key ``on`` is ``True``: PyYAML reads YAML 1.1."""
    read = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(read, dict)
    return read


def spans(text: str) -> list[str]:
    """List the fenced blocks and the words in backticks of a page."""
    return ["".join(found) for found in re.findall(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", text, re.DOTALL | re.MULTILINE)]


def code_of(path: Path) -> str:
    """Return the code of a Markdown page, and the whole text of any other file."""
    text = path.read_text("utf-8")
    return "\n".join(spans(text)) if path.suffix == ".md" else text


COMMANDS = sorted({name for page in PAGES for name in re.findall(r"\bmake ([a-z][a-z-]*)", code_of(page))})


@pytest.mark.parametrize("command", COMMANDS)
def test_each_make_command_exists(command: str) -> None:
    """`make` prints the commands that it would run. It fails on an unknown target."""
    done = subprocess.run(
        ["make", "-n", command, f"VENV={Path(sys.executable).parents[1]}"],  # noqa: S607 - the make on the PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_expected_commands_are_found() -> None:
    """The search for commands finds ``make`` targets that the pages certainly have."""
    assert {"setup", "dev", "check", "doctor", "test"} <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_exists(page: Path) -> None:
    """The files are the paths in backticks, and the targets of links within the repository."""
    text = page.read_text("utf-8")
    named = [word for span in spans(text) for word in re.split(r"[:\s]", span)[:1] if FILE.fullmatch(word)]
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [name for name in [*named, *linked] if not (ROOT / name).exists()] == []
    if page == CONTRIBUTING:
        assert len(named) > 20


def test_only_the_table_names_source_files() -> None:
    """If code moves, only one table must change. The sample command names this file."""
    table = {path for line in CONTRIBUTING.read_text("utf-8").splitlines() if line[:2] == "| " for path in spans(line)}
    rest = [line for line in CONTRIBUTING.read_text("utf-8").splitlines() if line[:2] != "| "]
    source = re.compile(r"\b(?:chalicelib|tools|tests|infra|docs)/[\w./-]*")
    assert {"chalicelib/baton/settings.py", "chalicelib/baton/errors.py", "infra/edge.yaml"} <= table
    assert source.findall("\n".join(rest)) == ["tests/baton/house/test_habits.py"]


# --- Issue forms ---------------------------------------------------------------------------------------------------

FIELDS = {
    "markdown": {"value"},
    "input": {"label", "description", "placeholder", "value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "dropdown": {"label", "description", "multiple", "options", "default"},
    "checkboxes": {"label", "description", "options"},
}
"""The attributes of each element; those of ``textarea`` are text. Source: GitHub Docs, "GitHub's form schema"."""

TOP = {"name", "description", "title", "labels", "assignees", "projects", "type", "body"}
"""The keys of a form. Source: GitHub Docs, "Syntax for issue forms"."""

NAME_TOO_SHORT = 3
"""Characters. GitHub does not show a form with such a name."""


def form_problems(form: dict[str, Any]) -> Iterator[str]:
    """Compare a form with GitHub's schema, which rejects the whole form on the first problem."""
    for key in ("name", "description"):
        if not (isinstance(form.get(key), str) and form[key].strip()):
            yield f"{key} is missing"
    if len(form.get("name") or "long enough") <= NAME_TOO_SHORT:
        yield "name is too short"
    yield from (f"{key} is not a key of a form" for key in form.keys() - TOP)
    body = form.get("body")
    if not isinstance(body, list) or not any(element.get("type") != "markdown" for element in body):
        yield "body has no field"
        return
    for at, element in enumerate(body):
        yield from (f"{at}: {problem}" for problem in element_problems(element))
    for key, values in (
        ("id", [element["id"] for element in body if "id" in element]),
        ("label", [element.get("attributes", {}).get("label", at) for at, element in enumerate(body)]),
    ):
        if len(set(values)) < len(values):
            yield f"two elements have one {key}"


def element_problems(element: dict[str, Any]) -> Iterator[str]:
    """Check one element of a body."""
    kind, attributes = element.get("type"), element.get("attributes")
    if kind not in FIELDS or not isinstance(attributes, dict):
        yield "type or attributes are missing"
        return
    required = {"markdown": ["value"], "dropdown": ["label", "options"], "checkboxes": ["label", "options"]}
    yield from (f"{key} is missing" for key in required.get(kind, ["label"]) if not attributes.get(key))
    yield from (f"{key} is not an attribute of {kind}" for key in attributes.keys() - FIELDS[kind])
    yield from (
        f"{key} is not text"
        for key, value in attributes.items()
        if key in FIELDS["textarea"] and type(value) is not str
    )
    allowed = {"type", "attributes"} if kind == "markdown" else {"type", "attributes", "id", "validations"}
    yield from (f"{key} is not a key of {kind}" for key in element.keys() - allowed)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", element.get("id", "none")):
        yield "id has other characters than letters, digits, - and _"
    if not set(element.get("validations", {}).items()) <= {("required", True), ("required", False)}:
        yield "validations are not required: true or false"


GOOD: dict[str, Any] = {"name": "Good", "description": "x", "body": [{"type": "input", "attributes": {"label": "x"}}]}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_has_the_keys_of_the_schema(path: Path) -> None:
    """GitHub shows no form that breaks its schema."""
    assert list(form_problems(read_yaml(path))) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "name"),
        ({"name": "Bug"}, "too short"),
        ({"description": None}, "description"),
        ({"about": "x"}, "about is not a key"),
        ({"body": []}, "no field"),
        ({"body": [{"type": "markdown", "attributes": {"value": "x"}}]}, "no field"),
        ({"body": [{"type": "text", "attributes": {"label": "x"}}]}, "type"),
        ({"body": [{"type": "input"}]}, "attributes"),
        ({"body": [{"type": "input", "attributes": {"description": "x"}}]}, "label is missing"),
        ({"body": [{"type": "input", "attributes": {"label": True}}]}, "label is not text"),
        ({"body": [{"type": "input", "attributes": {"label": "x", "render": "text"}}]}, "render is not"),
        ({"body": [{"type": "input", "attributes": {"label": "x"}, "required": True}]}, "required is not a key"),
        ({"body": [{"type": "input", "attributes": {"label": "x"}, "validations": {"required": "yes"}}]}, "true or"),
        ({"body": [{"type": "input", "attributes": {"label": "x"}, "id": "a b"}]}, "characters"),
        ({"body": [{"type": "dropdown", "attributes": {"label": "x"}}]}, "options is missing"),
        ({"body": [GOOD["body"][0]] * 2}, "one label"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_form_that_breaks_the_schema_is_found(change: dict[str, Any], problem: str) -> None:
    """Each change of the form has exactly one problem."""
    assert list(form_problems(GOOD)) == []
    (found,) = form_problems(GOOD | change)
    assert problem in found


def test_a_bug_report_has_what_a_maintainer_needs() -> None:
    """The output of ``make doctor``, the version and the steps are required fields."""
    form = read_yaml(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")
    required = {element["id"] for element in form["body"] if element.get("validations", {}).get("required")}
    assert {"doctor", "version", "steps"} <= required
    assert "SECURITY.md" in form["body"][0]["attributes"]["value"]


def test_a_security_problem_is_not_reported_in_public() -> None:
    """Every issue uses a form, and the page with the forms points to the private report."""
    config = read_yaml(CONFIG)
    assert config["blank_issues_enabled"] is False
    (link,) = config["contact_links"]
    assert link.keys() == {"name", "url", "about"}
    assert link["url"].startswith("https://docs.github.com/")
    assert "SECURITY.md" in link["about"]
    assert '"Report a vulnerability"' in link["about"]
    assert '"Report a vulnerability"' in " ".join((ROOT / "SECURITY.md").read_text("utf-8").split())


# --- Continuous integration ----------------------------------------------------------------------------------------


def test_the_workflow_runs_on_push_and_pull_request() -> None:
    """The workflow has only read access. One run of a pull request is active at a time."""
    workflow = read_yaml(WORKFLOW)
    assert workflow[True].keys() == {"push", "pull_request"}, "never pull_request_target: it has the secrets"
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    assert workflow["concurrency"].keys() == {"group", "cancel-in-progress"}


def test_each_job_ends_and_starts_a_command_of_this_repository() -> None:
    """One job runs ``.ci/run`` on Python 3.11. The other runs the tests on later versions that the Makefile accepts."""
    jobs = read_yaml(WORKFLOW)["jobs"]
    assert all(job["timeout-minutes"] <= 90 for job in jobs.values())
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert runs == {"ci": [".ci/run"], "test": ["make test"]}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    (chosen,) = [step["with"]["python-version"] for step in jobs["ci"]["steps"] if "python-version" in str(step)]
    assert chosen == PYTHONS[0] == "3.11"
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) <= set(PYTHONS) - {chosen}


def test_each_action_is_pinned_to_a_commit() -> None:
    """A tag can move to other code. The comment names the release, which Dependabot updates with the commit."""
    lines = re.findall(r"uses: (.*)", WORKFLOW.read_text("utf-8"))
    assert len(lines) == 4
    assert [line for line in lines if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)] == []
    for job in read_yaml(WORKFLOW)["jobs"].values():
        checkout = job["steps"][0]
        assert checkout["uses"].startswith("actions/checkout@")
        assert checkout["with"] == {"persist-credentials": False}, "no later step needs the token"


def test_dependabot_updates_every_kind_of_requirement() -> None:
    """Dependabot runs weekly and makes one pull request for each ecosystem."""
    updates = read_yaml(DEPENDABOT)["updates"]
    folders = {"uv": {"/"}, "github-actions": {"/"}, "maven": {"/clients/kotlin"}}
    folders["npm"] = {
        f"/{path.parent.relative_to(ROOT).as_posix()}" for path in tracked() if path.name == "package.json"
    }
    found = {one["package-ecosystem"]: set(one.get("directories", [one.get("directory")])) for one in updates}
    assert found == folders
    for update in updates:
        assert update["schedule"] == {"interval": "weekly"}
        assert [group["patterns"] for group in update["groups"].values()] == [["*"]]
    for path in ROOT.glob("requirements*.txt"):
        assert path.with_suffix(".in").exists()
        assert re.search(r"uv pip compile --universal --generate-hashes", path.read_text("utf-8")[:400])


def test_the_dev_container_is_ready_for_make_dev() -> None:
    """The Makefile accepts its Python. Its command creates the environment, and its port is that of ``make dev``."""
    container = json.loads(CONTAINER.read_text("utf-8"))
    assert container["image"].partition("devcontainers/python:")[2] in PYTHONS
    made = re.search(r"^setup: \$\(READY\) ## ", MAKEFILE, re.MULTILINE)
    assert container["postCreateCommand"] == "make setup"
    assert made
    (port,) = re.findall(r"^PORT \?= (\d+)$", MAKEFILE, re.MULTILINE)
    assert container["forwardPorts"] == [int(port)]
    assert container["portsAttributes"].keys() == {port}


# --- Editor settings -----------------------------------------------------------------------------------------------


def sections() -> dict[str, dict[str, str]]:
    """Read ``.editorconfig``: pattern -> settings. ``root`` is before the first section."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text("utf-8"))
    assert dict(parser["top"]) == {"root": "true"}
    return {name: dict(parser[name]) for name in parser.sections() if name != "top"}


def pattern(glob: str) -> re.Pattern[str]:
    """Translate the globs that ``.editorconfig`` uses: ``*``, ``**`` and ``{a,b}``."""
    parts = {"**": ".*", "*": "[^/]*", "{": "(?:", "}": ")", ",": "|"}
    found = "".join(parts.get(part) or re.escape(part) for part in re.findall(r"\*\*|.", glob))
    return re.compile(found if "/" in glob else f"(?:.*/)?{found}")


SECTIONS = {pattern(glob): settings for glob, settings in sections().items()}


def settings_of(path: str) -> dict[str, str]:
    """Merge the sections that match a path: a later section wins, and ``unset`` removes a setting."""
    merged: dict[str, str] = {}
    for matches, settings in SECTIONS.items():
        if matches.fullmatch(path):
            merged |= settings
    return {name: value for name, value in merged.items() if value != "unset"}


def format_problems(path: str, content: bytes) -> Iterator[str]:
    """Compare a file with its settings. Only JSON, YAML and scripts indent each line by whole steps."""
    settings, text = settings_of(path), content.decode()
    if "\r" in text:
        yield f"{path}: end_of_line"
    if "insert_final_newline" in settings and content and not text.endswith("\n"):
        yield f"{path}: insert_final_newline"
    if "trim_trailing_whitespace" in settings and re.search(r"[ \t]$", text, re.MULTILINE):
        yield f"{path}: trim_trailing_whitespace"
    if settings["indent_style"] == "space" and re.search(r"^ *\t", text, re.MULTILINE):
        yield f"{path}: indent_style"
    if path.endswith((".json", ".yaml", ".yml", ".mjs", "/run")) and "indent_size" in settings:
        step = int(settings["indent_size"])
        if any(len(spaces) % step for spaces in re.findall(r"^ +", text, re.MULTILINE)):
            yield f"{path}: indent_size"


def test_every_file_has_the_format_of_the_editor_settings() -> None:
    """An editor that reads ``.editorconfig`` changes only the lines that its user edits. A picture has no lines."""
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in tracked() if path.suffix != ".png"}
    assert [problem for path, content in files.items() for problem in format_problems(path, content)] == []


@pytest.mark.parametrize(
    ("path", "content", "setting"),
    [
        ("a.py", b"a\r\n", "end_of_line"),
        ("a.md", b"a", "insert_final_newline"),
        ("a.yaml", b"a: 1 \n", "trim_trailing_whitespace"),
        ("a.py", b"if a:\n\tb\n", "indent_style"),
        ("x/a.json", b"{\n   1\n}\n", "indent_size"),
        (".ci/run", b"if a\n   b\n", "indent_size"),
    ],
)
def test_a_file_with_another_format_is_found(path: str, content: bytes, setting: str) -> None:
    """Each change of the file has exactly one problem."""
    assert list(format_problems(path, content)) == [f"{path}: {setting}"]


def test_editor_and_formatter_agree() -> None:
    """They agree on the length of a line and on four spaces, which is the default of ruff."""
    ruff = tomllib.loads((ROOT / "baton.ruff.toml").read_text("utf-8"))
    settings = settings_of("chalicelib/any.py")
    assert int(settings["max_line_length"]) == ruff["line-length"]
    assert int(settings["indent_size"]) == ruff.get("indent-width", 4)
    assert settings["indent_style"] == ruff.get("format", {}).get("indent-style", "space")
    assert settings_of("Makefile")["indent_style"] == "tab"
    assert "insert_final_newline" not in settings_of("tests/vectors/rfc9421.json")
    assert settings_of("chalicelib/baton/http/openapi.json")["indent_size"] == "1"


def test_make_stores_bytecode_where_the_environment_forbids_it(tmp_path: Path) -> None:
    """Many container images set ``PYTHONDONTWRITEBYTECODE``. Without bytecode, each process compiles all modules."""
    (tmp_path / "Makefile").write_text(f"include {ROOT / 'baton.mk'}\n\nshow-environment:\n\t@env\n", "utf-8")
    made = subprocess.run(
        [shutil.which("make") or "make", "show-environment"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = {line.partition("=")[0] for line in made.stdout.splitlines()}
    assert "PYTHONUNBUFFERED" in names, "make passes on the other variables"
    assert "PYTHONDONTWRITEBYTECODE" not in names
