"""``make audit``: check dependencies, code, templates and, with STAGE, the AWS account. Exit 1 if anything is found.

An audit fails if a service is unreachable or if there is nothing to check. With OFFLINE=1 (``--offline``) it skips the
checks that need the network, and lists them: such an audit is incomplete.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from chalicelib.baton import errors
from chalicelib.baton.events.log import Log
from chalicelib.baton.policy import DAY_S, SIGNING_KEY_ROTATED_AFTER_S
from chalicelib.baton.settings import SettingsProblems, read_settings
from chalicelib.baton.storage.aws.deployment.audit import AuditConfiguration
from chalicelib.baton.storage.aws.deployment.look import Deployment
from chalicelib.baton.storage.aws.deployment.required import Finding
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from tools import aws
from tools.printed import counted, widths
from tools.stages import CONFIG, UnknownStage, enter, policies, read_config

ROOT: Final = Path(__file__).parents[1]
REPORT: Final = ROOT / "build" / "audit"
TOOLS: Final = ROOT / ".venv-audit" / "bin"
AUDITED_CODE: Final = ("app.py", "chalicelib", "tools", "clients")
PINS: Final = ("requirements.txt", "requirements-dev.txt", "requirements-audit.txt")
GRACE_S: Final = 2 * DAY_S

BANDIT_SKIPS: Final[Mapping[tuple[str, str], str]] = {
    ("B310", "tools/demo.py"): "its URLs begin with http://localhost, as the code beside the call shows",
    ("B310", "tools/doctor.py"): "the URL is the issuer: read_settings accepts https, and http only on localhost",
    ("B506", "tools/template.py"): "its loader is a SafeLoader, whose added tags only build dictionaries",
}
"""The skipped findings of bandit, each with its reason. bandit reports medium severity and higher here.

The S rules of ruff cover low severity in `make check`.
"""

CHECKOV_SKIPS: Final[Mapping[tuple[str, str], str]] = {
    ("CKV_AWS_119", "Ephemeral"): "digests that are valid for minutes: AWS's own key is sufficient",
    ("CKV_AWS_28", "Ephemeral"): "after a loss, clients retry",
    ("CKV_AWS_28", "Audit"): "its stream feeds an archive; no decision depends on it",
    (
        "CKV_AWS_116",
        "*",
    ): "API Gateway calls it and waits; the scheduled jobs run again at their next time, and alarms report a failure",
    (
        "CKV_AWS_117",
        "*",
    ): "it calls only AWS's public endpoints, as its policy says; a VPC would add a NAT and no security",
    (
        "CKV_AWS_115",
        "*",
    ): "the throttles of the stage limit it; a reserved share would refuse logins while the account is idle",
    ("CKV_AWS_173", "*"): "its settings contain no secret, only digests and names (settings.py)",
    ("CKV_AWS_73", "*"): "traces would add no information to request_id and lineage in the log",
    ("CKV_AWS_120", "*"): "an answer is for one caller: a cache would give it to another caller",
}
"""The skipped checks of checkov: check and resource -> reason. The resource ``*`` means every resource."""


class Unreached(Exception):
    """A check could not run, so it has no result. The message says why."""


def run(command: list[str]) -> str:
    """Run a tool and return its standard output.

    Raises ``Unreached`` if the tool is not installed, or if it fails without output.
    """
    if not Path(command[0]).exists():
        raise Unreached(f"{Path(command[0]).name} is not installed: run `make audit`, which installs it")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.stdout.strip():
        return done.stdout
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unreached(
            f"{Path(command[0]).name} gave no answer: {told[-1] if told else 'exit ' + str(done.returncode)}"
        )
    return ""


def parsed(command: list[str], *, silence: str = "") -> Any:  # noqa: ANN401 - each tool's own shape
    """Run a tool and parse its JSON output. ``silence`` replaces empty output.

    Raises ``Unreached`` as `run` does, and for output that is not JSON.
    """
    said = run(command) or silence
    try:
        return json.loads(said)
    except json.JSONDecodeError:
        raise Unreached(f"{Path(command[0]).name} did not answer in JSON: {said[:80]!r}") from None


def dependencies() -> Iterator[Finding]:
    """Check every pin with the vulnerability database. Raises ``Unreached`` if a pin cannot be checked."""
    for name in PINS:
        audit = [str(TOOLS / "pip-audit"), "--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        answer = parsed([*audit, "--format", "json", "-r", name])
        for package in answer["dependencies"]:
            if "skip_reason" in package:
                raise Unreached(f"{package['name']} of {name} could not be looked up: {package['skip_reason']}")
            for known in package["vulns"]:
                remedy = f"raise it in requirements to {', '.join(known['fix_versions']) or 'a version without it'}"
                yield Finding(f"{name}: {package['name']} {package['version']}", known["id"], remedy)


def code() -> Iterator[Finding]:
    """Check ``AUDITED_CODE`` with bandit. Skip ``BANDIT_SKIPS``. Raises ``Unreached`` if a file cannot be read."""
    answer = parsed([str(TOOLS / "bandit"), "-q", "-ll", "-r", *AUDITED_CODE, "-f", "json"])
    for error in answer["errors"]:
        raise Unreached(f"bandit could not read {error['filename']}: {error['reason']}")
    for result in answer["results"]:
        where = result["filename"].removeprefix("./")
        if (result["test_id"], where) not in BANDIT_SKIPS:
            yield Finding(
                f"{where}:{result['line_number']}", f"{result['test_id']} {result['issue_text']}", "correct it"
            )


def templates() -> list[Path]:
    """List the templates to check, relative to the root: the data stack, and the last package of each architecture.

    The paths are relative, because checkov treats a path of forty letters and slashes as an access key (CKV_AWS_45).
    """
    data = ROOT / "infra" / "data.yaml"
    packaged = sorted((ROOT / "build" / "package").rglob("sam.yaml")) + sorted(
        (ROOT / "build" / "package").rglob("sam.json")
    )
    if not data.exists() or not packaged:
        missing = "infra/data.yaml" if not data.exists() else "a packaged template"
        raise Unreached(f"there is no {missing}: run `make package` first")
    return [template.relative_to(ROOT) for template in (data, *packaged)]


def syntax() -> Iterator[Finding]:
    """Check each template of `templates` with cfn-lint."""
    command = [str(TOOLS / "cfn-lint"), "--format", "json"]
    for complaint in parsed([*command, *map(str, templates())], silence="[]"):
        where = f"{complaint['Filename']}:{complaint['Location']['Start']['LineNumber']}"
        yield Finding(where, f"{complaint['Rule']['Id']} {complaint['Message']}", "correct it")


def infrastructure() -> Iterator[Finding]:
    """Check the templates with checkov, offline.

    Raises ``Unreached`` if a template has no result: checkov skips a template that it cannot read, without an error.
    """
    unread = {str(template) for template in templates()}
    command = [str(TOOLS / "checkov"), "--compact", "--skip-download", "-o", "json"]
    answer = parsed([*command, "--framework", "cloudformation", "-f", *sorted(unread)])
    for results in (report.get("results", {}) for report in (answer if isinstance(answer, list) else [answer])):
        for check in (*results.get("failed_checks", ()), *results.get("passed_checks", ())):
            unread.discard(check["file_path"].lstrip("/"))
        for failed in results.get("failed_checks", ()):
            resource = failed["resource"].rsplit(".", maxsplit=1)[-1]
            if not {(failed["check_id"], resource), (failed["check_id"], "*")} & CHECKOV_SKIPS.keys():
                where = f"{failed['file_path'].lstrip('/')}: {resource}"
                problem = f"{failed['check_id']} {failed['check_name']}"
                yield Finding(where, problem, failed.get("guideline") or "correct it")
    if unread:
        raise Unreached(f"checkov could not read {', '.join(sorted(unread))}")


def bill_of_materials() -> Iterator[Finding]:
    """Write the bill of materials (CycloneDX), and check that it lists every pin of requirements.txt."""
    target = REPORT / "sbom.json"
    target.unlink(missing_ok=True)
    run([str(TOOLS / "cyclonedx-py"), "requirements", "requirements.txt", "--of", "JSON", "-o", str(target)])
    listed = (
        {part["name"].lower() for part in json.loads(target.read_text("utf-8"))["components"]}
        if target.exists()
        else set()
    )
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE))
    for name in sorted(pinned - listed):
        yield Finding(
            "build/audit/sbom.json", f"{name} is in the zip and not in this list", "read the output of cyclonedx-py"
        )


def configuration() -> Iterator[Finding]:
    """Run the checks of the daily audit. Also check the age of the signing key and the rights of each role."""
    settings = read_settings()
    if settings.kms_key_id is None:
        raise Unreached("these settings are for development: there is no AWS account to audit")
    tables = Tables(settings.table_prefix)
    log = Log(service=settings.deployment, level="ERROR", metrics=False)
    yield from AuditConfiguration(
        Deployment(settings.deployment, tables, key_id=settings.kms_key_id, issuer=settings.issuer), log, EXPIRY
    )()
    yield from key_ages(KeyRing(DynamoDB(tables), KmsWrapper(settings.kms_key_id), os.urandom), now=int(time.time()))
    described = read_config()["stages"][os.environ["STAGE"]]
    for function, policy in policies(settings.deployment, described).items():
        yield from drift(function, policy)


def key_ages(key_ring: KeyRing, *, now: int) -> Iterator[Finding]:
    """Check that the newest signing key is not older than the scheduled rotation allows."""
    try:
        age_s = now - key_ring.current(now=now).signing[-1].made_at
    except errors.Unavailable as trouble:
        yield Finding(
            "the key ring", f"it cannot be read: {trouble.reason}", "make doctor, with the same STAGE, names the cause"
        )
        return
    if age_s > SIGNING_KEY_ROTATED_AFTER_S + GRACE_S:
        remedy = ".venv/bin/python -m tools.operate rotate-signing-key; then find out why rotate_keys does not run"
        yield Finding("the key ring", f"its newest signing key is {counted(age_s // DAY_S, 'day')} old", remedy)


def drift(function: str, policy_file: str) -> Iterator[Finding]:
    """Check that the role of a function has exactly the rights of ``policy_file`` in ``.chalice/``."""
    lambda_, iam = AwsClient("lambda"), AwsClient("iam")
    try:
        role_arn = lambda_.call("get_function_configuration", FunctionName=function)["Role"]
        role = role_arn.rsplit("/", maxsplit=1)[-1]
        attached = iam.call("list_attached_role_policies", RoleName=role)["AttachedPolicies"]
        documents = [
            iam.call("get_role_policy", RoleName=role, PolicyName=name)["PolicyDocument"]
            for name in iam.call("list_role_policies", RoleName=role)["PolicyNames"]
        ]
    except errors.Unavailable as trouble:
        yield Finding(
            f"the role of {function}",
            f"it cannot be read: {trouble.reason}",
            "use credentials that are allowed to read it",
        )
        return
    for policy in attached:
        yield Finding(
            role, f"{policy['PolicyArn']} is attached to it", f"aws iam detach-role-policy --role-name {role}"
        )
    expected = _rights(json.loads((CONFIG.parent / policy_file).read_text("utf-8")))
    found = frozenset[str]().union(*(_rights(document) for document in documents))
    remedy = f"deploy again with .chalice/{policy_file}"
    for right in sorted(found - expected):
        yield Finding(role, f"it has a right too many: {right}", remedy)
    for right in sorted(expected - found):
        yield Finding(role, f"it lacks a right: {right}", remedy)


def _rights(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the rights of a policy, one for each action and resource. Account and key ids are replaced by words."""
    rights = set()
    for statement in document["Statement"]:
        condition = json.dumps(statement.get("Condition", {}), sort_keys=True)
        for action in _listed(statement.get("Action", statement.get("NotAction"))):
            for resource in _listed(statement.get("Resource", "*")):
                negated = "all but " if "NotAction" in statement else ""
                rights.add(_blanked(f"{statement['Effect']} {negated}{action} on {resource} if {condition}"))
    return frozenset(rights)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _blanked(right: str) -> str:
    """Replace region, account, key, API, host and sender by words, in any partition of AWS."""
    right = re.sub(r"arn:aws[a-z-]*:", "arn:aws:", right)
    right = re.sub(r"(arn:aws:[a-z]+:)[a-z]{2}(?:-[a-z]+)+-\d:\d{12}:", r"\1REGION:ACCOUNT:", right)
    right = re.sub(r"(arn:aws:iam::)\d{12}:", r"\1ACCOUNT:", right)
    right = re.sub(r"(arn:aws:apigateway:)[a-z]{2}(?:-[a-z]+)+-\d::", r"\1REGION::", right)
    right = re.sub(r"(?<=/restapis/)[a-z0-9]+(?=/)", "API", right)
    right = re.sub(r"(?<=/domainnames/)[a-z0-9.-]+(?=/)", "HOST", right)
    right = re.sub(r"(:key/)[0-9a-f-]{36}", r"\1KEY", right)
    right = re.sub(r'(?<="ses:FromAddress": ")[^"*?]+(?=")', "MAIL_FROM", right)
    return re.sub(r"dynamodb\.[a-z]{2}(?:-[a-z]+)+-\d\.amazonaws", "dynamodb.REGION.amazonaws", right)


CHECKS: Final[Mapping[str, Callable[[], Iterator[Finding]]]] = {
    "dependencies": dependencies,
    "code": code,
    "bill of materials": bill_of_materials,
    "template syntax": syntax,
    "infrastructure": infrastructure,
}


ASKS_THE_NETWORK: Final = frozenset({"dependencies"})
"""The checks in ``CHECKS`` that need the network: ``dependencies`` reads the newly published vulnerabilities.

The other checks in ``CHECKS`` read only files of this folder.
"""


def conclude(count: int, unasked: list[str], *, stage: str | None, offline: bool) -> None:
    """Print the number of findings, the checks that did not run, and the next step."""
    print(
        f"\n{counted(count, 'finding')}. remedy: see each line above, or build/audit/report.json"
        if count
        else "\nok: no findings"
    )
    if unasked:
        print(f"warning: incomplete audit. Not checked: {', '.join(unasked)}")
    if offline:
        print("next: make audit, on a machine that can reach pypi.org")
    elif unasked:
        print("next: correct these errors and run it again; make audit OFFLINE=1 needs no network")
    elif not stage:
        print("next: make audit STAGE=prod, which checks the live account too")


@aws.in_one_line
def main(stage: str | None, *, offline: bool = False) -> int:
    """Run the checks, write build/audit/report.json, and print the findings and the checks that did not run."""
    if stage and offline:
        print(
            "error: a live account cannot be audited offline. remedy: set STAGE or OFFLINE, not both", file=sys.stderr
        )
        return 2
    if stage:
        aws.require_account()
        try:
            enter(stage)
        except UnknownStage as unknown:
            print(f"error: {unknown}", file=sys.stderr)
            return 2
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    checks = {**CHECKS, **({f"account, stage {stage}": configuration} if stage else {})}
    left_out = sorted(ASKS_THE_NETWORK & checks.keys()) if offline else []
    checks = {name: check for name, check in checks.items() if name not in left_out}
    unasked = [*left_out]
    report: dict[str, list[dict[str, str]]] = {}
    (width,) = widths([[name] for name in checks])
    for number, (name, check) in enumerate(checks.items(), start=1):
        print(f"{number}/{len(checks)} {name:<{width}}  ", end="", flush=True)
        findings: list[Finding] = []
        try:
            findings += check()
        except (Unreached, SettingsProblems) as trouble:
            findings.append(Finding(name, f"not checked: {trouble}", "correct this, and run it again"))
            unasked.append(name)
        verdict = counted(len(findings), "finding") if findings else "ok"
        print(f"\033[{31 if findings else 32}m{verdict}\033[0m" if coloured else verdict)
        for finding in findings:
            print(f"      {finding.subject}\n        {finding.problem}\n        remedy: {finding.remedy}")
        report[name] = [
            {"subject": finding.subject, "problem": finding.problem, "remedy": finding.remedy} for finding in findings
        ]
    count = sum(map(len, report.values()))
    report |= {
        name: [{"subject": name, "problem": "not checked: skipped", "remedy": "make audit"}] for name in left_out
    }
    (REPORT / "report.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    conclude(count, unasked, stage=stage, offline=offline)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(os.environ.get("STAGE") or None, offline="--offline" in sys.argv[1:]))
