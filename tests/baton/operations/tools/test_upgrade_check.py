"""The comparisons of `make upgrade-check`, one by one; ``test_upgrade.py`` runs the command."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.keys.ring_format import _FORMAT
from chalicelib.baton.settings import KNOWN, SettingsProblems, read_settings
from chalicelib.baton.storage.dynamodb.database import KEYS
from tests.baton.repository import ours_only
from tools import openapi, upgrade_check
from tools.manifest import DESCRIPTION, VERSION, Differences
from tools.template import ROOT
from tools.upgrade_check import Finding

NEEDS: dict[str, Any] = tomllib.loads((ROOT / upgrade_check.NEEDS).read_text("utf-8"))
CONFIG: dict[str, Any] = json.loads((ROOT / upgrade_check.CONFIG).read_text("utf-8"))
DEPLOYED = ("dev", "prod")


def policy(name: str) -> Mapping[str, Any]:
    """Read a policy of this tree."""
    read: Mapping[str, Any] = json.loads((ROOT / ".chalice" / name).read_text("utf-8"))
    return read


# --- needs.toml matches the code ---------------------------------------------------------------------------------


def test_the_required_settings_are_those_of_settings_py() -> None:
    """With only these settings, a deployment starts.

    Without any one of these settings it does not start, and the problem names the setting.
    """
    values = {
        "BATON_CLIENTS": "clients-dev.toml",
        "BATON_ISSUER": "https://api.example.com/api",
        "BATON_KEY_RING": "kms:alias/x",
        "BATON_TABLE_PREFIX": "x",
    }
    required = NEEDS["settings"]["required"]
    assert set(required) == values.keys()
    read_settings(values)
    for name in required:
        with pytest.raises(SettingsProblems, match=name):
            read_settings({one: value for one, value in values.items() if one != name})


def test_a_renamed_setting_has_a_new_name() -> None:
    """The new name is a setting, and the old name is not."""
    renamed = NEEDS["settings"]["renamed"]
    assert set(renamed.values()) <= KNOWN
    assert not renamed.keys() & KNOWN


@ours_only
@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_actions_of_needs_are_those_of_the_policies(stage: str) -> None:
    """`make check` compares the policies with the calls that the tests made."""
    described = CONFIG["stages"][stage]
    functions = {"api": described["iam_policy_file"]} | {
        name: job["iam_policy_file"] for name, job in described["lambda_functions"].items()
    }
    granted: dict[str, dict[str, set[str]]] = {}
    for function, file in functions.items():
        for statement in policy(file)["Statement"]:
            for resource in statement["Resource"] if statement["Effect"] == "Allow" else ():
                target = resource.rpartition("-")[2] if ":table/" in resource else "other"
                granted.setdefault(function, {}).setdefault(target, set()).update(statement["Action"])
    needed = {
        function: {target: set(actions) for target, actions in needs.items()}
        for function, needs in NEEDS["iam"].items()
    }
    assert needed == granted
    assert {target for needs in needed.values() for target in needs} == {*KEYS, "other"}


def test_a_release_writes_a_format_that_it_reads_and_reads_at_most_two() -> None:
    """A release reads format N and format N-1, and writes one of the two."""
    for kind, formats in NEEDS["formats"].items():
        newest = max(formats["reads"])
        assert formats["writes"] in formats["reads"], kind
        assert set(formats["reads"]) == {newest, newest - 1} - {0}, kind


def test_the_format_of_the_key_ring_is_the_written_format() -> None:
    """Today only the key ring stores its format number in the item."""
    assert NEEDS["formats"]["key_ring"]["writes"] == _FORMAT


# --- Settings ----------------------------------------------------------------------------------------------------

SETTINGS = {"settings": {"required": ["BATON_ISSUER", "BATON_ORIGINS"], "renamed": {"BATON_PAGES": "BATON_ORIGINS"}}}


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"BATON_ISSUER": "x", "BATON_ORIGINS": "x", "OTHER": "x"}, []),
        ({"BATON_ISSUER": "x", "BATON_PAGES": "x"}, ["prod: BATON_PAGES was renamed"]),
        ({"BATON_ORIGINS": "x"}, ["prod: BATON_ISSUER is missing"]),
        ({"BATON_ORIGINS": "x", "BATON_ISSUER": ""}, ["prod: BATON_ISSUER is missing"]),
        (
            {"BATON_ISSUER": "x", "BATON_ORIGINS": "x", "BATON_ISUER": "x"},
            ["prod: BATON_ISUER is not a setting; the nearest is BATON_ISSUER"],
        ),
        ({"BATON_DEVELOPMENT": "1"}, []),
        ({"BATON_DEVELOPMENT": "1", "BATON_PAGES": "x"}, ["prod: BATON_PAGES was renamed"]),
    ],
)
def test_settings_are_missing_renamed_or_unknown(variables: dict[str, str], found: list[str]) -> None:
    """A renamed setting is reported once, as renamed and not also as missing. A development stage has defaults."""
    findings = list(upgrade_check.settings("prod", variables, SETTINGS))
    assert [finding.found for finding in findings] == found
    assert {finding.state for finding in findings} <= {"error"}


# --- IAM ---------------------------------------------------------------------------------------------------------


def with_mail(stage: str) -> Mapping[str, Any]:
    """Describe a stage that sends mails, so that it has every function."""
    described = CONFIG["stages"][stage]
    return {**described, "environment_variables": {**described["environment_variables"], "BATON_MAIL": "ses"}}


def test_a_stage_without_a_queue_needs_no_policy_of_its_jobs() -> None:
    """An upgrade of a deployment without mail adds no function."""
    described = {**CONFIG["stages"]["prod"], "lambda_functions": {}}
    found = [finding.found for finding in upgrade_check.rights("prod", described, NEEDS, policy)]
    assert found == [
        f"prod: {function} has no policy in .chalice/config.json"
        for function in ("android_revocations", "apple_revocations", "audit_configuration", "operate", "rotate_keys")
    ]


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_policies_of_this_tree_have_no_finding(stage: str) -> None:
    """They grant what each function needs."""
    assert list(upgrade_check.rights(stage, with_mail(stage), NEEDS, policy)) == []


@pytest.mark.parametrize("stage", DEPLOYED)
def test_each_action_that_is_not_granted_is_named(stage: str) -> None:
    """There is one finding for each action, table and function."""
    nothing = {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    findings = list(upgrade_check.rights(stage, with_mail(stage), NEEDS, lambda _: nothing))
    needed = [action for needs in NEEDS["iam"].values() for actions in needs.values() for action in actions]
    assert len(findings) == len(needed) > 10
    assert f"{stage}: api may not dynamodb:PutItem on baton-{stage}-audit" in [finding.found for finding in findings]


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ({"Action": ["dynamodb:GetItem"], "Resource": ["arn:aws:dynamodb:REGION:ACCOUNT:table/x-users"]}, True),
        ({"Action": "dynamodb:*", "Resource": "arn:aws:dynamodb:eu-west-1:123456789012:table/x-*"}, True),
        ({"Action": "dynamodb:getitem", "Resource": "*"}, True),
        ({"Action": "dynamodb:GetItem", "Resource": "arn:aws:dynamodb:REGION:ACCOUNT:table/x-audit"}, False),
        ({"Action": "dynamodb:PutItem", "Resource": "*"}, False),
        ({"NotAction": "dynamodb:GetItem", "Resource": "*"}, False),
    ],
)
def test_actions_and_resources_are_compared_as_iam_does(statement: dict[str, Any], *, allowed: bool) -> None:
    """The policies have wildcards, lists or single values, and actions in any case."""
    described = {"iam_policy_file": "p.json", "environment_variables": {"BATON_TABLE_PREFIX": "x"}}
    needs = {"iam": {"api": {"users": ["dynamodb:GetItem"]}}}
    granted = {"Statement": [{"Effect": "Allow", **statement}]}
    assert (list(upgrade_check.rights("prod", described, needs, lambda _: granted)) == []) is allowed


def test_a_function_without_a_policy_is_named() -> None:
    """The test has a new scheduled job, and a policy file that does not exist."""
    described = {"iam_policy_file": "policy-own.json"}
    needs = {"iam": {"api": {"other": ["kms:Decrypt"]}, "send_mail": {"other": ["ses:SendEmail"]}}}
    assert [finding.found for finding in upgrade_check.rights("own", described, needs, lambda _: None)] == [
        "own: api has no policy: .chalice/policy-own.json is missing",
        "own: send_mail has no policy in .chalice/config.json",
    ]


# --- Stored formats and public names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "states"),
    [
        (([1], 1), ([1], 1), []),
        (([1], 1), ([1, 2], 1), []),
        (([1, 2], 1), ([1, 2], 2), []),
        (([1], 1), ([1, 2], 2), ["warning"]),
        (([1, 2], 2), ([2, 3], 2), ["warning"]),
        (([1], 1), ([2, 3], 2), ["error", "warning"]),
        (([1], 1), None, ["error"]),
    ],
)
def test_stored_formats_are_read_by_both_releases(
    old: tuple[list[int], int], new: tuple[list[int], int] | None, states: list[str]
) -> None:
    """It is an error if the new release cannot read the old format, and a warning if a rollback is not possible."""
    before = {"account": {"reads": old[0], "writes": old[1]}}
    after = {"account": {"reads": new[0], "writes": new[1]}} if new else {}
    assert [one.state for one in upgrade_check.formats(before, after, ("1.0.0", "1.1.0"))] == states


def test_removed_public_names_are_named() -> None:
    """``__all__`` may be a list or a tuple, with or without an annotation. A module without it has no public names."""
    old, new = '__all__ = ["Answer", "Baton"]\n', '__all__: tuple[str, ...] = ("Baton", "Body")\n'
    assert [one.found for one in upgrade_check.names(old, new, "error")] == ["chalicelib.baton.Answer was removed"]
    assert list(upgrade_check.names('"""Baton."""\nx = 1\n', new, "error")) == []


@pytest.mark.parametrize(("version", "state"), [("1.9.0", "error"), ("2.0.0-dev", "warning")])
def test_only_a_major_version_may_remove_a_public_name(
    version: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal is an error in a minor version, and a warning in a major version."""
    for name, text in {
        VERSION: version,
        upgrade_check.PUBLIC: '__all__ = ["Baton"]\n',
        upgrade_check.NEEDS: "[formats]\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.setattr(openapi, "current", lambda: '{"paths": {}}')
    old = {
        VERSION: "1.0.0\n",
        upgrade_check.PUBLIC: '__all__ = ["Answer", "Baton"]\n',
        upgrade_check.NEEDS: "[formats]\n",
        DESCRIPTION: '{"paths": {"/x": {"get": {}}}}',
    }
    findings = list(upgrade_check.of_the_old_release(tmp_path, old.get))
    assert [(one.part, one.state) for one in findings] == [("wire", state), ("names", state)]


# --- The command -------------------------------------------------------------------------------------------------


def test_a_missing_file_of_baton_is_an_error() -> None:
    """A changed file is only a warning."""
    found = upgrade_check.local_changes(Differences(["tools/a.py"], ["tools/b.py"], ["tools/c.py"]))
    assert [one.state for one in found] == ["warning", "error", "warning"]


def test_findings_are_printed_with_errors_first() -> None:
    """Each finding has its remedy below, and all begin in one column."""
    found = [Finding("skipped", "old release", "a", "x"), Finding("error", "pins", "b", "make lock")]
    assert list(upgrade_check.laid_out(found)) == [
        "  error    pins         b",
        "                        remedy: make lock",
        "  skipped  old release  a",
        "                        remedy: x",
    ]


def test_a_tree_without_findings_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line has the result, the compared parts, and the next command."""
    monkeypatch.setattr(upgrade_check, "findings", lambda *_: iter(()))
    assert upgrade_check.main(ROOT, {"SINCE": str(ROOT)}) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("ok: ")
    assert line.endswith("next: make test")


def test_warnings_do_not_fail_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A person must read them, but a script may continue."""
    monkeypatch.setattr(upgrade_check, "findings", lambda *_: iter([Finding("warning", "files", "a", "b")]))
    assert upgrade_check.main(ROOT, {"SINCE": str(ROOT)}) == 0
    assert capsys.readouterr().out.startswith("warning: ")


def test_an_unknown_stage_is_named_with_the_existing_stages(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else is printed."""
    assert upgrade_check.main(ROOT, {"SINCE": str(ROOT), "STAGE": "produ"}) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: STAGE is one of local, dev, prod, not 'produ'\nremedy: ")
    assert said.out == ""
