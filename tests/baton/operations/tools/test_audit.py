"""The audit finds seeded faults, explains its exceptions, and fails if a check cannot run."""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.keys.rotation import make_ring
from chalicelib.baton.policy import DAY_S
from tests.baton.memory import GivenKeyRing
from tools import audit, deploy, stages
from tools.package import configuration

ROOT = Path(__file__).parents[4]
VULNERABLE = {"dependencies": [{"name": "pyjwt", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}
SKIPPED = {"dependencies": [{"name": "pyjwt", "skip_reason": "no network"}]}
BANDIT = {"test_id": "B602", "filename": "app.py", "line_number": 7, "issue_text": "shell=True"}
CHECKOV = {
    "check_id": "CKV_AWS_28",
    "check_name": "recovery",
    "resource": "AWS::DynamoDB::Table.Users",
    "file_path": "/infra/data.yaml",
}
PASSED = CHECKOV | {"file_path": "/build/package/sam.json"}

VARIABLES = {
    "BATON_ISSUER": "https://login.example.org",
    "BATON_MAIL": "ses",
    "BATON_MAIL_FROM": "Example <login@example.org>",
}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a replacement for an audit tool: it prints a text, has an exit code, and records its arguments."""
    monkeypatch.setattr(audit, "TOOLS", tmp_path)

    def put(name: str, *, says: object = "", tells: str = "", code: int = 0) -> None:
        path = tmp_path / name
        said = says if isinstance(says, str) else json.dumps(says)
        path.write_text(
            f"#!/bin/sh\necho \"$@\" > '{path}.given'\ncat <<'SAID'\n{said}\nSAID\necho '{tells}' >&2\nexit {code}\n",
            "utf-8",
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return put


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide templates for the audit."""
    for name in ("infra/data.yaml", "build/package/sam.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}", "utf-8")
    monkeypatch.setattr(audit, "ROOT", tmp_path)


def test_a_known_vulnerability_is_found(tool: Callable[..., None]) -> None:
    """The finding has the version that fixes it."""
    tool("pip-audit", says=VULNERABLE, code=1)
    finding = next(audit.dependencies())
    assert (finding.problem, "pyjwt 1.0" in finding.subject, "2" in finding.remedy) == ("CVE-1", True, True)


@pytest.mark.parametrize("said", ["", "Connection refused", SKIPPED], ids=["silence", "words", "a skip"])
def test_an_unreachable_vulnerability_database_is_a_failure(tool: Callable[..., None], said: object) -> None:
    """Offline, `pip-audit` prints nothing or skips all packages. In both cases the audit fails."""
    tool("pip-audit", says=said, tells="ERROR: could not reach pypi.org", code=1)
    with pytest.raises(audit.Unreached):
        list(audit.dependencies())


def test_a_missing_tool_is_a_failure(tool: Callable[..., None]) -> None:
    """The checks of dependencies and of code cannot run without their tools."""
    for check in (audit.dependencies, audit.code):
        with pytest.raises(audit.Unreached, match="not installed"):
            list(check())


def test_an_unsafe_line_is_found_and_an_explained_one_is_not(tool: Callable[..., None]) -> None:
    """An explanation covers one rule in one file."""
    explained = BANDIT | {"test_id": "B310", "filename": "tools/demo.py"}
    tool("bandit", says={"errors": [], "results": [BANDIT, explained]}, code=1)
    assert [finding.subject for finding in audit.code()] == ["app.py:7"]
    tool("bandit", says={"errors": [{"filename": "app.py", "reason": "syntax"}], "results": []})
    with pytest.raises(audit.Unreached):
        list(audit.code())


@pytest.mark.usefixtures("packaged")
def test_an_unsafe_template_is_found_and_an_explained_check_is_not(tool: Callable[..., None]) -> None:
    """An explanation covers one check of one resource."""
    explained = CHECKOV | {"resource": "AWS::DynamoDB::Table.Audit"}
    elsewhere = CHECKOV | {"file_path": "/build/package/sam.json"}
    tool("checkov", says={"results": {"failed_checks": [CHECKOV, explained, elsewhere]}}, code=1)
    found = list(audit.infrastructure())
    assert [finding.subject for finding in found] == ["infra/data.yaml: Users", "build/package/sam.json: Users"]


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize("results", [{}, {"results": {"failed_checks": [CHECKOV], "passed_checks": []}}])
def test_a_template_that_checkov_skips_is_a_failure(tool: Callable[..., None], results: object) -> None:
    """Checkov reports no error for a file that it cannot parse. The message names the template."""
    tool("checkov", says=results)
    with pytest.raises(audit.Unreached, match=r"checkov could not read .*build/package/sam\.json"):
        list(audit.infrastructure())


@pytest.mark.usefixtures("packaged")
def test_the_path_of_the_checkout_is_not_reported_as_a_secret(tool: Callable[..., None], tmp_path: Path) -> None:
    """Checkov treats a path of forty letters and slashes as an access key (CKV_AWS_45), so it gets a relative path."""
    tool("checkov", says={"results": {"failed_checks": [], "passed_checks": [CHECKOV, PASSED]}})
    assert list(audit.infrastructure()) == []
    given = (tmp_path / "checkov.given").read_text("utf-8")
    assert ("build/package/sam.json" in given, str(tmp_path) in given) == (True, False)


@pytest.mark.usefixtures("packaged")
def test_a_template_with_a_lint_error_is_found(tool: Callable[..., None]) -> None:
    """The finding has file and line."""
    line = {"Start": {"LineNumber": 3}}
    complaint = {"Rule": {"Id": "E3001"}, "Message": "no Type", "Filename": "infra/data.yaml", "Location": line}
    tool("cfn-lint", says=[complaint], code=2)
    assert next(audit.syntax()).subject == "infra/data.yaml:3"
    tool("cfn-lint")
    assert list(audit.syntax()) == []
    tool("cfn-lint", says="Traceback")
    with pytest.raises(audit.Unreached, match="did not answer in JSON"):
        list(audit.syntax())


def test_without_templates_the_audit_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `make package`, the message names that command."""
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    with pytest.raises(audit.Unreached, match="make package"):
        list(audit.infrastructure())


def test_every_exception_has_a_reason() -> None:
    """The reason has at least a few words, or refers to the reason above."""
    for reason in (*audit.BANDIT_SKIPS.values(), *audit.CHECKOV_SKIPS.values()):
        assert len(reason.split()) >= 2
    assert "*" not in {where for _, where in audit.BANDIT_SKIPS}


@pytest.fixture
def role(embedded_engine: None) -> Iterator[tuple[Any, str]]:
    """Provide a function and its role, as `chalice deploy` leaves them, with the policy filled in for this account."""
    del embedded_engine
    iam, lambda_, name = boto3.client("iam"), boto3.client("lambda"), "baton-drifting"
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    lambda_.create_function(FunctionName=name, Runtime="python3.13", Role=arn, Handler="x", Code={"ZipFile": b"PK"})
    yield iam, name
    lambda_.delete_function(FunctionName=name)
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=attached["PolicyArn"])
    iam.delete_role(RoleName=name)


def put(iam: Any, name: str, document: dict[str, Any]) -> None:
    """Fill in region, account and key, and store the policy in the role."""
    text = json.dumps(document).replace("REGION", "eu-central-1").replace("ACCOUNT", "123456789012")
    text = text.replace("key/KEY", "key/01234567-89ab-cdef-0123-456789abcdef")
    iam.put_role_policy(RoleName=name, PolicyName="baton", PolicyDocument=text)


def test_changed_permissions_are_found(role: tuple[Any, str]) -> None:
    """The changes are one right more, one fewer, a removed condition and a managed policy.

    Without a change, there is no finding.
    """
    iam, name = role
    document = json.loads((ROOT / ".chalice" / "policy-prod.json").read_text("utf-8"))
    put(iam, name, document)
    assert list(audit.drift(name, "policy-prod.json")) == []
    document["Statement"][1]["Action"].append("dynamodb:DeleteItem")
    put(iam, name, document)
    (more,) = audit.drift(name, "policy-prod.json")
    assert re.search(r"it has a right too many: Allow dynamodb:DeleteItem on .*baton-prod-lineages", more.problem)
    document["Statement"][1]["Action"] = ["dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"]
    put(iam, name, document)
    (fewer,) = audit.drift(name, "policy-prod.json")
    assert "it lacks a right: Allow dynamodb:PutItem" in fewer.problem
    document = json.loads((ROOT / ".chalice" / "policy-prod.json").read_text("utf-8"))
    put(iam, name, document | {"Statement": [one for one in document["Statement"] if one["Effect"] == "Allow"]})
    undenied = [finding.problem for finding in audit.drift(name, "policy-prod.json")]
    assert len(undenied) == 7
    assert all(problem.startswith("it lacks a right: Deny dynamodb:") for problem in undenied)
    wide = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    put(iam, name, document | {"Statement": [*document["Statement"], wide]})
    assert any(
        "it has a right too many: Allow * on *" in finding.problem for finding in audit.drift(name, "policy-prod.json")
    )
    policy = iam.create_policy(PolicyName="administrator", PolicyDocument=json.dumps(document | {"Statement": [wide]}))
    iam.attach_role_policy(RoleName=name, PolicyArn=policy["Policy"]["Arn"])
    assert any("is attached" in finding.problem for finding in audit.drift(name, "policy-prod.json"))


@pytest.mark.parametrize("partition", ["aws", "aws-cn"])
def test_changed_permissions_of_a_job_are_found(role: tuple[Any, str], partition: str) -> None:
    """Bug: the role of the key rotation job, which can forge tokens, was not checked."""
    iam, name = role
    place = deploy.Place("123456789012", "us-west-2", partition, "key/01234567-89ab-cdef-0123-456789abcdef")
    prod = configuration()["stages"]["prod"]
    of_functions = stages.policies(name, prod | {"environment_variables": VARIABLES})
    assert of_functions == {
        name: "policy-prod.json",
        f"{name}-rotate_keys": "policy-prod-rotate_keys.json",
        f"{name}-audit_configuration": "policy-prod-audit_configuration.json",
        f"{name}-android_revocations": "policy-prod-android_revocations.json",
        f"{name}-apple_revocations": "policy-prod-apple_revocations.json",
        f"{name}-operate": "policy-prod-operate.json",
        f"{name}-jobs": "policy-prod-jobs.json",
        f"{name}-mail_feedback": "policy-prod-mail_feedback.json",
    }
    for policy_file in of_functions.values():
        text = (ROOT / ".chalice" / policy_file).read_text("utf-8")
        filled = json.loads(deploy.filled_policy(text, place, VARIABLES, "abcde12345"))
        put(iam, name, filled)
        assert list(audit.drift(name, policy_file)) == []
        filled["Statement"][0]["Action"].append("dynamodb:Scan")
        put(iam, name, filled)
        assert {"dynamodb:Scan" in finding.problem for finding in audit.drift(name, policy_file)} == {True}


def test_another_sender_is_accepted_and_a_pattern_is_not(role: tuple[Any, str]) -> None:
    """The sender is a setting. A pattern lets the function send as every address of the account."""
    iam, name = role
    text = (ROOT / ".chalice" / "policy-prod-jobs.json").read_text("utf-8")
    put(iam, name, json.loads(text.replace("MAIL_FROM", "hello@example.org")))
    assert list(audit.drift(name, "policy-prod-jobs.json")) == []
    put(iam, name, json.loads(text.replace("MAIL_FROM", "*@example.org")))
    assert len(list(audit.drift(name, "policy-prod-jobs.json"))) == 4


@pytest.mark.parametrize("where", ["restapis/abcde12345", "domainnames/login.example.org"])
def test_a_permission_on_all_apis_is_found(role: tuple[Any, str], where: str) -> None:
    """The id of the API and the domain may be any value, but not a pattern."""
    iam, name = role
    place = deploy.Place("123456789012", "us-west-2", "aws", "key/01234567-89ab-cdef-0123-456789abcdef")
    text = (ROOT / ".chalice" / "policy-prod-audit_configuration.json").read_text("utf-8")
    filled = deploy.filled_policy(text, place, VARIABLES, "abcde12345")
    put(iam, name, json.loads(filled.replace(where, f"{where.partition('/')[0]}/*")))
    found = [finding.problem for finding in audit.drift(name, "policy-prod-audit_configuration.json")]
    assert [re.match("it (has a right too many|lacks a right)", one) is not None for one in found] == [True] * 2


def test_an_unreadable_role_is_a_finding(embedded_engine: None) -> None:
    """The check does not pass."""
    del embedded_engine
    (finding,) = audit.drift("baton-nowhere", "policy-prod.json")
    assert "cannot be read" in finding.problem


def test_a_signing_key_that_is_too_old_is_found() -> None:
    """The limit is two days after its rotation was due. An unreadable key ring is a finding too."""
    made_at = 1_700_000_000
    ring: Any = GivenKeyRing(make_ring(os.urandom, now=made_at))
    assert list(audit.key_ages(ring, now=made_at + 92 * DAY_S)) == []
    (finding,) = audit.key_ages(ring, now=made_at + 93 * DAY_S)
    assert "93 days" in finding.problem

    def absent(**_: object) -> None:
        raise Unavailable("the key ring is absent")

    ring.current = absent
    (finding,) = audit.key_ages(ring, now=made_at)
    assert "absent" in finding.problem


def test_the_report_lists_each_failed_check(
    tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without network, tools and templates, five checks cannot run. The report says that they did not pass."""
    monkeypatch.setattr(audit, "REPORT", tmp_path / "report")
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text("pyjwt==2.0 \\\n", "utf-8")
    assert audit.main(None) == 1
    said = capsys.readouterr().out
    assert said.count("not checked: ") == 5
    assert "Not checked: dependencies, code, bill of materials, template syntax, infrastructure\n" in said
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert [len(findings) for findings in report.values()] == [1] * 5
    assert audit.main("production") == 2


@pytest.mark.usefixtures("packaged")
def test_an_offline_audit_can_pass_and_is_reported_as_incomplete(
    tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline, vulnerabilities are not checked. The last line and the report say so."""
    monkeypatch.setattr(audit, "REPORT", tmp_path / "report")
    (tmp_path / "requirements.txt").write_text("", "utf-8")
    tool("pip-audit", says=VULNERABLE, code=1)
    tool("bandit", says={"errors": [], "results": []})
    tool("cyclonedx-py")
    tool("cfn-lint", says=[])
    tool("checkov", says={"results": {"passed_checks": [CHECKOV, PASSED]}})
    assert audit.main(None, offline=True) == 0
    assert "warning: incomplete audit. Not checked: dependencies\n" in capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert {name for name, findings in report.items() if findings} == {"dependencies"}
    assert audit.main("dev", offline=True) == 2
