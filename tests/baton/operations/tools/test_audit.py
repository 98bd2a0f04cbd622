"""The audit finds what is planted, explains what it passes over, and fails when it knows nothing."""

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
CHECKOV = {"check_id": "CKV_AWS_28", "check_name": "recovery", "resource": "AWS::DynamoDB::Table.Users"}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a stand-in for an audit tool in place: it says one thing, ends with one exit code, notes what it is given."""
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
    """Let there be templates to look at."""
    for name in ("infra/data.yaml", "build/package/sam.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}", "utf-8")
    monkeypatch.setattr(audit, "ROOT", tmp_path)


def test_a_known_vulnerability_is_found(tool: Callable[..., None]) -> None:
    """With the version that mends it."""
    tool("pip-audit", says=VULNERABLE, code=1)
    finding = next(audit.dependencies())
    assert (finding.problem, "pyjwt 1.0" in finding.subject, "2" in finding.remedy) == ("CVE-1", True, True)


@pytest.mark.parametrize("said", ["", "Connection refused", SKIPPED], ids=["silence", "words", "a skip"])
def test_a_database_that_cannot_be_asked_is_no_pass(tool: Callable[..., None], said: object) -> None:
    """`pip-audit` offline says nothing, or skips everything: neither is an answer."""
    tool("pip-audit", says=said, tells="ERROR: could not reach pypi.org", code=1)
    with pytest.raises(audit.Unreached):
        list(audit.dependencies())


def test_a_tool_that_is_not_there_is_no_pass(tool: Callable[..., None]) -> None:
    """Whichever it is."""
    for check in (audit.dependencies, audit.code):
        with pytest.raises(audit.Unreached, match="not installed"):
            list(check())


def test_a_dangerous_line_is_found_and_an_explained_one_is_not(tool: Callable[..., None]) -> None:
    """The explanation is for one rule in one file."""
    explained = BANDIT | {"test_id": "B310", "filename": "tools/demo.py"}
    tool("bandit", says={"errors": [], "results": [BANDIT, explained]}, code=1)
    assert [finding.subject for finding in audit.code()] == ["app.py:7"]
    tool("bandit", says={"errors": [{"filename": "app.py", "reason": "syntax"}], "results": []})
    with pytest.raises(audit.Unreached):
        list(audit.code())


@pytest.mark.usefixtures("packaged")
def test_an_unsafe_template_is_found_and_an_explained_check_is_not(tool: Callable[..., None]) -> None:
    """The explanation is for one check of one resource."""
    explained = CHECKOV | {"resource": "AWS::DynamoDB::Table.Audit"}
    tool("checkov", says={"summary": {"parsing_errors": 0}, "results": {"failed_checks": [CHECKOV, explained]}}, code=1)
    found = list(audit.infrastructure())
    assert [finding.subject for finding in found] == ["infra/data.yaml: Users", "build/package/sam.json: Users"]
    tool("checkov", says={"passed": 0, "failed": 0})
    with pytest.raises(audit.Unreached, match="could not read"):
        list(audit.infrastructure())


@pytest.mark.usefixtures("packaged")
def test_where_the_checkout_lies_is_no_secret(tool: Callable[..., None], tmp_path: Path) -> None:
    """Checkov takes a path of forty letters and slashes for an access key (CKV_AWS_45), so none is told it whole."""
    tool("checkov", says={"summary": {"parsing_errors": 0}, "results": {"failed_checks": []}})
    assert list(audit.infrastructure()) == []
    given = (tmp_path / "checkov.given").read_text("utf-8")
    assert ("build/package/sam.json" in given, str(tmp_path) in given) == (True, False)


@pytest.mark.usefixtures("packaged")
def test_a_template_that_does_not_lint_is_found(tool: Callable[..., None]) -> None:
    """With file and line."""
    complaint = {"Rule": {"Id": "E3001"}, "Message": "no Type", "Location": {"Start": {"LineNumber": 3}}}
    tool("cfn-lint", says=[complaint], code=2)
    assert next(audit.syntax()).subject == "infra/data.yaml:3"
    tool("cfn-lint")
    assert list(audit.syntax()) == []
    tool("cfn-lint", says="Traceback")
    with pytest.raises(audit.Unreached, match="did not answer in JSON"):
        list(audit.syntax())


def test_without_templates_there_is_nothing_to_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run before `make package`, it says so."""
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    with pytest.raises(audit.Unreached, match="make package"):
        list(audit.infrastructure())


def test_every_pass_over_says_why() -> None:
    """In a sentence's worth of words, or as what stands above it."""
    for reason in (*audit.BANDIT_SKIPS.values(), *audit.CHECKOV_SKIPS.values()):
        assert len(reason.split()) >= 2
    assert "*" not in {where for _, where in audit.BANDIT_SKIPS}


@pytest.fixture
def role(embedded_engine: None) -> Iterator[tuple[Any, str]]:
    """Give a function and its role, as `chalice deploy` leaves them, in this account, with the policy filled in."""
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
    """Fill in region, account and key, and put the policy on the role."""
    text = json.dumps(document).replace("REGION", "eu-central-1").replace("ACCOUNT", "123456789012")
    text = text.replace("key/KEY", "key/01234567-89ab-cdef-0123-456789abcdef")
    iam.put_role_policy(RoleName=name, PolicyName="baton", PolicyDocument=text)


def test_rights_that_drifted_are_found(role: tuple[Any, str]) -> None:
    """One more, one fewer, a condition gone, a managed policy attached: each is named; as deployed there is nothing."""
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
def test_rights_of_a_job_that_drifted_are_found(role: tuple[Any, str], partition: str) -> None:
    """The job that rotates keys may make tokens, and nobody looked at its role; as deployed, it is well."""
    iam, name = role
    place = deploy.Place("123456789012", "us-west-2", partition, "key/01234567-89ab-cdef-0123-456789abcdef")
    of_functions = stages.policies(name, configuration()["stages"]["prod"])
    assert of_functions == {
        name: "policy-prod.json",
        f"{name}-rotate_keys": "policy-prod-rotate_keys.json",
        f"{name}-audit_configuration": "policy-prod-audit_configuration.json",
    }
    for policy_file in of_functions.values():
        text = (ROOT / ".chalice" / policy_file).read_text("utf-8")
        filled = json.loads(deploy.filled_policy(text, place, "https://login.example.org", "abcde12345"))
        put(iam, name, filled)
        assert list(audit.drift(name, policy_file)) == []
        filled["Statement"][0]["Action"].append("dynamodb:Scan")
        put(iam, name, filled)
        assert {"dynamodb:Scan" in finding.problem for finding in audit.drift(name, policy_file)} == {True}


@pytest.mark.parametrize("where", ["restapis/abcde12345", "domainnames/login.example.org"])
def test_a_right_to_all_apis_is_no_right_to_ours(role: tuple[Any, str], where: str) -> None:
    """Which API and which domain were filled in is all alike; a pattern is not."""
    iam, name = role
    place = deploy.Place("123456789012", "us-west-2", "aws", "key/01234567-89ab-cdef-0123-456789abcdef")
    text = (ROOT / ".chalice" / "policy-prod-audit_configuration.json").read_text("utf-8")
    filled = deploy.filled_policy(text, place, "https://login.example.org", "abcde12345")
    put(iam, name, json.loads(filled.replace(where, f"{where.partition('/')[0]}/*")))
    found = [finding.problem for finding in audit.drift(name, "policy-prod-audit_configuration.json")]
    assert [re.match("it (has a right too many|lacks a right)", one) is not None for one in found] == [True] * 2


def test_a_role_that_cannot_be_seen_is_a_finding(embedded_engine: None) -> None:
    """Not a pass."""
    del embedded_engine
    (finding,) = audit.drift("baton-nowhere", "policy-prod.json")
    assert "cannot be read" in finding.problem


def test_a_signing_key_that_is_too_old_is_found() -> None:
    """Two days after it should have been rotated; a ring that cannot be read is a finding too."""
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


def test_the_whole_says_what_to_mend_and_fails(
    tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No network, no tools, no templates: five checks know nothing, none passes, and the report says so."""
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
def test_what_needs_no_network_may_pass_alone_and_says_that_it_is_not_the_whole(
    tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline nobody is asked about vulnerabilities; that stands in the last words and in the report."""
    monkeypatch.setattr(audit, "REPORT", tmp_path / "report")
    (tmp_path / "requirements.txt").write_text("", "utf-8")
    tool("pip-audit", says=VULNERABLE, code=1)
    tool("bandit", says={"errors": [], "results": []})
    tool("cyclonedx-py")
    tool("cfn-lint", says=[])
    tool("checkov", says={"summary": {"parsing_errors": 0}, "results": {"failed_checks": []}})
    assert audit.main(None, offline=True) == 0
    assert "warning: incomplete audit. Not checked: dependencies\n" in capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert {name for name, findings in report.items() if findings} == {"dependencies"}
    assert audit.main("dev", offline=True) == 2
