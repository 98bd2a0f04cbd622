"""The stages of ``.chalice/config.json``: which can be deployed, and which cannot."""

import ast
import fnmatch
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chalice.config import Config

from chalicelib.baton.policy import REQUEST_MAX_S
from chalicelib.baton.settings import SettingsProblems, read_settings
from chalicelib.baton.storage.aws.deployment.required import KEY_WRITES, KEYS_DENIED
from chalicelib.baton.storage.dynamodb.database import KEYS
from chalicelib.baton.storage.dynamodb.key_ring import RING_KEY
from chalicelib.baton.storage.dynamodb.key_wrapping import PURPOSE
from tests.baton.repository import ours_alone
from tests.baton.witness import allowed as allowed_by
from tests.baton.witness import of_baton
from tools import stages

ROOT = Path(__file__).parents[3]
ours_alone()
CONFIG: dict[str, Any] = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))
IN_LAMBDA = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_REGION": "eu-central-1"}
DEPLOYED = ["dev", "prod"]
SCHEDULED = ["rotate_keys", "audit_configuration", "android_revocations", "apple_revocations"]
FUNCTIONS = [None, *SCHEDULED, "operate", "jobs", "mail_feedback"]


def test_a_stage_without_a_domain_uses_the_deployed_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bug: doctor, audit and drill called the placeholder, so a deployment by `make deploy` always had errors."""
    record = {
        "resources": [{"resource_type": "rest_api", "rest_api_url": "https://abc.execute-api.x.amazonaws.com/api/"}]
    }
    monkeypatch.setattr(stages, "DEPLOYED", tmp_path)
    monkeypatch.setattr(os, "environ", {})
    stages.enter("dev")
    assert os.environ.pop("BATON_ISSUER") == stages.PLACEHOLDER
    (tmp_path / "dev.json").write_text(json.dumps(record), "utf-8")
    stages.enter("dev")
    assert os.environ["BATON_ISSUER"] == "https://abc.execute-api.x.amazonaws.com/api"


def test_a_stage_has_the_variables_of_the_top_level_as_in_chalice(tmp_path: Path) -> None:
    """Bug: `make doctor` and `make deploy` did not read settings that a team had written once for all stages."""
    config = {
        "environment_variables": {"BATON_LOG_LEVEL": "INFO", "BATON_RATE_LIMITS": "on"},
        "stages": {"dev": {"environment_variables": {"BATON_LOG_LEVEL": "DEBUG"}}, "prod": {}},
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), "utf-8")
    read = stages.read_config(file)["stages"]
    assert read["dev"]["environment_variables"] == {"BATON_LOG_LEVEL": "DEBUG", "BATON_RATE_LIMITS": "on"}
    for stage, described in read.items():
        assert described["environment_variables"] == Config(stage, config_from_disk=config).environment_variables


def environment(stage: str) -> dict[str, str]:
    """Return the environment variables of a stage."""
    variables = CONFIG["stages"][stage]["environment_variables"]
    assert isinstance(variables, dict)
    return variables


def policy_of(stage: str, function: str | None = None) -> Mapping[str, Any]:
    """Read the policy of a stage's API, or of one of its scheduled functions."""
    of_stage = CONFIG["stages"][stage]
    name = (of_stage["lambda_functions"][function] if function else of_stage)["iam_policy_file"]
    read: Mapping[str, Any] = json.loads((ROOT / ".chalice" / name).read_text("utf-8"))
    return read


def statements(stage: str, function: str | None = None) -> list[Mapping[str, Any]]:
    """Return the statements of a policy that belong to Baton."""
    return of_baton(policy_of(stage, function))


def reaches_baton(policy: Mapping[str, Any], stage: str) -> list[str]:
    """List a team's statements that allow an action on a table or an index of Baton, also by a pattern."""
    tables = [f"table/{environment(stage)['BATON_TABLE_PREFIX']}-{name}" for name in KEYS]
    return [
        str(statement["Sid"])
        for statement in policy["Statement"]
        if statement not in of_baton(policy) and statement["Effect"] == "Allow"
        if any(
            fnmatch.fnmatchcase(table, resource.rpartition(":")[2]) or f"{resource}/".find(f":{table}/") >= 0
            for resource in statement["Resource"]
            for table in tables
        )
    ]


def test_the_function_has_the_configured_size() -> None:
    """The configuration is REGIONAL, arm64, 1,024 MB, 15 s. The defaults of Chalice are EDGE, x86_64, 128 MB, 60 s."""
    assert CONFIG["api_gateway_endpoint_type"] == "REGIONAL"
    assert CONFIG["lambda_architecture"] == "arm64"
    assert CONFIG["lambda_memory_size"] >= 1024
    assert 10 <= CONFIG["lambda_timeout"] <= REQUEST_MAX_S
    assert CONFIG["autogen_policy"] is False
    assert CONFIG["stages"].keys() == {"local", *DEPLOYED}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_deployed_stage_has_complete_and_safe_settings(stage: str) -> None:
    """KMS and rate limits are on, development is off, and every setting is known."""
    variables = environment(stage)
    if stage == "prod":  # a team writes the registry of prod
        with pytest.raises(SettingsProblems) as refused:
            read_settings(variables | IN_LAMBDA)
        assert [problem.split(":")[0] for problem in refused.value.problems] == ["BATON_CLIENTS"]
        variables = variables | {"BATON_CLIENTS": "clients-dev.toml"}
    settings = read_settings(variables | IN_LAMBDA)
    assert not any(client.mechanism.name == "long_lived" for client in settings.registry)
    assert settings.kms_key_id
    assert settings.limits
    assert environment(stage)["BATON_CLIENTS"]
    assert settings.access_key is None, "Lambda's own credentials are not in the configuration"
    assert environment(stage).get("BATON_AWS_CLIENT", "small") == "small"
    assert not settings.development
    known = set(re.findall(r'"(BATON_[A-Z_]+)"', (ROOT / "chalicelib" / "baton" / "settings.py").read_text("utf-8")))
    assert environment(stage).keys() <= known


def test_the_local_stage_cannot_be_deployed() -> None:
    """Chalice refuses to deploy a stage without a role. With a role, Baton refuses to start."""
    assert CONFIG["stages"]["local"]["manage_iam_role"] is False
    assert "iam_role_arn" not in CONFIG["stages"]["local"] | CONFIG
    assert read_settings(environment("local")).development
    with pytest.raises(SettingsProblems, match="BATON_DEVELOPMENT"):
        read_settings(environment("local") | IN_LAMBDA)


def test_the_local_stage_cannot_reach_an_aws_account() -> None:
    """Its credentials are invalid and replace those of the developer."""
    variables = environment("local")
    assert variables["AWS_ACCESS_KEY_ID"] == variables["AWS_SECRET_ACCESS_KEY"] == "development"


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_policy_names_every_action_and_resource(stage: str, function: str | None) -> None:
    """The only wildcards are the function's own log streams, the deployment's roles, and the identities of SES.

    In the sandbox, SES compares the identity of the recipient too. The condition names the sender.
    """
    own_log_group = f":log-group:/aws/lambda/baton-{stage}{f'-{function}' if function else ''}"
    role = f"role/baton-{stage}-"  # CloudFormation adds a suffix to the names of roles
    for statement in statements(stage, function):
        assert statement["Effect"] == "Allow" or statement["Sid"] == "NoKeyItems"
        assert not [action for action in statement["Action"] if re.search(r"[*?]", action)]
        for resource in statement["Resource"]:
            service, account = resource.split(":")[2], resource.split(":")[3:5]
            if service == "apigateway":
                account[1] = account[1] or "ACCOUNT"  # it writes no item
            if service == "iam":
                account[0] = account[0] or "REGION"  # it has no table
                assert function == "audit_configuration"
                assert resource.endswith(f":{role}*")
                resource = resource.removesuffix("*")  # noqa: PLW2901 - stripped for the comparison
            if service == "ses" and resource.endswith(":identity/*"):
                assert function == "jobs"
                assert statement["Condition"]["StringEquals"].keys() == {"ses:FromAddress"}
                resource = resource.removesuffix("*")  # noqa: PLW2901 - stripped for the comparison
            filled_in = re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", account[0]) and re.fullmatch(r"\d{12}", account[1])
            assert account == ["REGION", "ACCOUNT"] or filled_in, "as `tools.deploy fill` leaves them"
            assert not re.search(r"[*?]", resource.removesuffix(f"{own_log_group}:*"))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_statement_of_a_team_allows_no_table_of_baton(stage: str, function: str | None) -> None:
    """A team may allow access to its own tables. Only Baton's statements allow access to Baton's tables."""
    assert reaches_baton(policy_of(stage, function), stage) == []


@pytest.mark.parametrize(
    ("resource", "reaches"),
    [
        ("arn:aws:dynamodb:REGION:ACCOUNT:table/baton-dev-orders", False),
        ("arn:aws:dynamodb:REGION:ACCOUNT:table/baton-dev-orders/index/*", False),
        ("arn:aws:dynamodb:REGION:ACCOUNT:table/baton-dev-users-of-ours", False),
        ("arn:aws:dynamodb:REGION:ACCOUNT:table/baton-dev-lineages", True),
        ("arn:aws:dynamodb:REGION:ACCOUNT:table/baton-dev-users/index/any", True),
        ("arn:aws:dynamodb:REGION:ACCOUNT:table/baton-dev-*", True),
        ("*", True),
    ],
)
def test_a_statement_of_a_team_on_a_table_of_baton_is_noticed(resource: str, *, reaches: bool) -> None:
    """The statement names the table, its index, or a pattern.

    The tests of Baton's policies ignore the statements of a team.
    """
    policy = policy_of("dev")
    own = {"Sid": "AppOrders", "Effect": "Allow", "Action": ["dynamodb:PutItem"], "Resource": [resource]}
    more = {**policy, "Statement": [*policy["Statement"], own]}
    assert reaches_baton(more, "dev") == (["AppOrders"] if reaches else [])
    assert of_baton(more) == policy["Statement"]
    assert allowed_by(more) == allowed_by(policy)


@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_policy_names_only_the_tables_of_its_stage(stage: str) -> None:
    """It names all four tables, with the prefix of the stage's settings."""
    prefix = environment(stage)["BATON_TABLE_PREFIX"]
    named = {
        resource.rsplit("/", maxsplit=1)[1]
        for statement in statements(stage)
        for resource in statement["Resource"]
        if ":dynamodb:" in resource
    }
    assert named == {f"{prefix}-{table}" for table in KEYS}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_policy_allows_exactly_the_operations_of_the_stores(stage: str) -> None:
    """The operations and the parts of transactions are read from the stores. A transaction has no action of its own.

    Only an operator may write in batches: a batch deletes the events of a deleted account.
    """
    done = {
        "".join(word[0].upper() + word[1:] for word in node.value.removesuffix("_item").split("_")) + "Item"
        for path in (ROOT / "chalicelib" / "baton" / "storage").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"(get|put|update|delete)_item|Put|Update|Delete|ConditionCheck", node.value)
    } | {"Query"}  # the events of an account
    allowed = {
        action for statement in statements(stage) if statement["Effect"] == "Allow" for action in statement["Action"]
    }
    assert {action for action in allowed if action.startswith("dynamodb:")} == {f"dynamodb:{name}" for name in done}
    assert {action for action in allowed if action.startswith("kms:")} == {"kms:Decrypt"}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_key_can_be_used_only_for_the_key_ring_and_the_tables(stage: str) -> None:
    """Code with the role of the function cannot decrypt other data with the key."""
    conditions = [
        statement["Condition"]["StringEquals"]
        for statement in statements(stage)
        if "kms:Decrypt" in statement["Action"]
    ]
    tables = conditions[1].pop("kms:ViaService")
    assert conditions == [{f"kms:EncryptionContext:{name}": value for name, value in PURPOSE.items()}, {}]
    assert re.fullmatch(r"dynamodb\.(REGION|[a-z0-9-]+)\.amazonaws\.com", tables)


def may(policy: list[Mapping[str, Any]], action: str, table: str, *keys: str) -> bool:
    """Evaluate a policy as IAM does. A matching Deny beats every Allow. Without an Allow, the action is denied.

    ``keys`` are the leading keys (partition keys) of the items in the request. ForAllValues is true if every key
    matches, or if there is no key. ForAnyValue is true if one key matches. Null "false" is true if there is a key.
    """

    def applies(statement: Mapping[str, Any]) -> bool:
        if action not in statement["Action"] or not any(
            one.endswith(f":table/{table}") for one in statement["Resource"]
        ):
            return False
        holds = []
        for operator, condition in statement.get("Condition", {}).items():
            ((key, values),) = condition.items()
            assert key == "dynamodb:LeadingKeys"
            if operator == "Null":
                holds.append((not keys) == (values == "true"))
                continue
            quantifier, comparison = operator.split(":")
            like = {"StringEquals": False, "StringLike": True}[comparison]
            each = [any(fnmatch.fnmatchcase(one, value) if like else one == value for value in values) for one in keys]
            holds.append(all(each) if {"ForAllValues": True, "ForAnyValue": False}[quantifier] else any(each))
        return all(holds)

    effects = {statement["Effect"] for statement in policy if applies(statement)}
    return effects == {"Allow"}


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("stage", DEPLOYED)
@pytest.mark.parametrize("action", KEY_WRITES)
def test_the_api_cannot_write_the_key_ring(stage: str, action: str) -> None:
    """Code in the API function could otherwise store its own key ring. The function only needs to read it."""
    policy, users = statements(stage), f"{environment(stage)['BATON_TABLE_PREFIX']}-users"
    granted = action in {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
    for key in ("U#AbCd", "E#AbCd", "C#AbCd"):
        assert may(policy, action, users, key) == granted
    for key in (RING_KEY["pk"]["S"], "K#switches", "K#provider#apple", "K#"):
        assert not may(policy, action, users, key)
        assert not may(policy, action, users, "U#AbCd", key), "nor beside an item that may be written"
        open_to_all = [*policy, {"Effect": "Allow", "Action": KEY_WRITES, "Resource": [f":table/{users}"]}]
        assert not may(open_to_all, action, users, key), "a Deny must win over every later Allow"
        undenied = [statement for statement in open_to_all if statement["Effect"] == "Allow"]
        assert may(undenied, action, users, key), "it is the Deny that refuses"
    assert may(policy, "dynamodb:GetItem", users, RING_KEY["pk"]["S"])
    (deny,) = [statement for statement in policy if statement["Effect"] == "Deny"]
    assert (tuple(deny["Action"]), deny["Condition"]) == (KEY_WRITES, KEYS_DENIED)


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_rotation_can_write_only_the_key_ring(stage: str) -> None:
    """It can write no other key item, no account, no additional item, and no request without a key."""
    policy, users = dynamodb_alone(statements(stage, "rotate_keys")), f"baton-{stage}-users"
    ring = RING_KEY["pk"]["S"]
    assert may(policy, "dynamodb:PutItem", users, ring)
    assert may(policy, "dynamodb:GetItem", users, ring)
    for keys in (("K#switches",), ("U#AbCd",), (ring, "U#AbCd"), ()):
        for action in ("dynamodb:PutItem", "dynamodb:GetItem"):
            assert not may(policy, action, users, *keys)
    assert not may(policy, "dynamodb:DeleteItem", users, ring)


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_feedback_of_mail_can_write_only_suppressions(stage: str) -> None:
    """So a forged report changes no account, no address and no key. The function only reads the key ring."""
    policy, users = dynamodb_alone(statements(stage, "mail_feedback")), f"baton-{stage}-users"
    ring = RING_KEY["pk"]["S"]
    assert may(policy, "dynamodb:PutItem", users, "S#AbCd")
    assert may(policy, "dynamodb:GetItem", users, ring)
    for keys in (("U#AbCd",), ("E#AbCd",), (ring,), ("S#AbCd", "U#AbCd"), ()):
        assert not may(policy, "dynamodb:PutItem", users, *keys)
    for keys in (("U#AbCd",), ("S#AbCd",), ()):
        assert not may(policy, "dynamodb:GetItem", users, *keys)
    for action in ("dynamodb:UpdateItem", "dynamodb:DeleteItem"):
        assert not may(policy, action, users, "S#AbCd")


def dynamodb_alone(policy: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return only the statements about tables."""
    return [statement for statement in policy if ":dynamodb:" in statement["Resource"][0]]


def allowed(stage: str, function: str) -> dict[str, set[str]]:
    """Return the permissions of a scheduled function: resource name -> actions."""
    found: dict[str, set[str]] = {}
    for statement in statements(stage, function):
        for resource in statement["Resource"]:
            found.setdefault(re.split(r"[:/]", resource.removesuffix(":*"))[-1], set()).update(statement["Action"])
    return found


def test_every_scheduled_function_has_its_own_policy() -> None:
    """Without its own policy, a function would have the permissions of the API, and reach every table."""
    tree = ast.parse((ROOT / "chalicelib" / "baton" / "http" / "jobs.py").read_text("utf-8"))
    scheduled = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and "schedule" in ast.dump(ast.Module(node.decorator_list, []))  # type: ignore[arg-type]
    ]
    assert scheduled == SCHEDULED
    for stage in DEPLOYED:
        assert CONFIG["stages"][stage]["lambda_functions"].keys() >= {*SCHEDULED, "operate", *stages.QUEUE_JOBS}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_rotation_can_read_only_the_key_ring(stage: str) -> None:
    """It can read one item of one table, and use the KMS key only for the key ring."""
    logs = f"baton-{stage}-rotate_keys"
    assert allowed(stage, "rotate_keys") == {
        f"baton-{stage}-users": {"dynamodb:GetItem", "dynamodb:PutItem"},
        statements(stage, "rotate_keys")[1]["Resource"][0].rsplit("/")[-1]: {"kms:Decrypt", "kms:GenerateDataKey"},
        logs: {"logs:CreateLogStream", "logs:PutLogEvents"},
    }
    conditions = [statement.get("Condition", {}) for statement in statements(stage, "rotate_keys")]
    assert conditions[0] == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [RING_KEY["pk"]["S"]]},
        "Null": {"dynamodb:LeadingKeys": "false"},  # otherwise ForAllValues is true for a request without a key
    }
    purpose = {f"kms:EncryptionContext:{name}": value for name, value in PURPOSE.items()}
    assert conditions[1] == {"StringEquals": purpose}
    assert re.fullmatch(
        r"dynamodb\.(REGION|[a-z0-9-]+)\.amazonaws\.com", conditions[2]["StringEquals"]["kms:ViaService"]
    )


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_job_of_revocations_can_change_only_its_list(stage: str) -> None:
    """It can change one item of one table. It cannot read the key ring, so it can sign nothing."""
    assert allowed(stage, "android_revocations") == {
        f"baton-{stage}-users": {"dynamodb:GetItem", "dynamodb:PutItem"},
        statements(stage, "android_revocations")[1]["Resource"][0].rsplit("/")[-1]: {"kms:Decrypt"},
        f"baton-{stage}-android_revocations": {"logs:CreateLogStream", "logs:PutLogEvents"},
    }
    conditions = [statement.get("Condition", {}) for statement in statements(stage, "android_revocations")]
    assert conditions[0] == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["K#android-revoked"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    assert conditions[1].keys() == {"StringEquals"}
    assert conditions[1]["StringEquals"].keys() == {"kms:ViaService"}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_job_of_apple_can_change_only_the_tokens_that_wait(stage: str) -> None:
    """The job reads two key items, and no account. The function ``operate`` can only add tokens that wait."""
    policy, users = dynamodb_alone(statements(stage, "apple_revocations")), f"baton-{stage}-users"
    assert may(policy, "dynamodb:UpdateItem", users, "J#apple#15")
    assert may(policy, "dynamodb:GetItem", users, "J#apple#0")
    for key in (RING_KEY["pk"]["S"], "K#provider#apple"):
        assert may(policy, "dynamodb:GetItem", users, key)
        assert not may(policy, "dynamodb:UpdateItem", users, key)
    for action in ("dynamodb:GetItem", "dynamodb:UpdateItem"):
        for keys in (("U#AbCd",), ("I#1#AbCd",), ("J#apple#0", "U#AbCd"), ()):
            assert not may(policy, action, users, *keys)
    for action in ("dynamodb:PutItem", "dynamodb:DeleteItem"):
        assert not may(policy, action, users, "J#apple#0")
    operator = dynamodb_alone(statements(stage, "operate"))
    for action in ("dynamodb:PutItem", "dynamodb:UpdateItem"):
        assert may(operator, action, users, "J#apple#3")
        for keys in (("U#AbCd",), ("I#1#AbCd",), ("K#provider#apple",), ()):
            assert not may(operator, action, users, *keys)


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_audit_reads_only_configuration(stage: str) -> None:
    """It can describe every table, but cannot read an item, a key or a log line.

    The domain in its policy is that of the apps.
    """
    verbs = {action.split(":")[1] for actions in allowed(stage, "audit_configuration").values() for action in actions}
    assert {verb for verb in verbs if not verb.startswith(("Describe", "Get", "List"))} == {
        "CreateLogStream",
        "PutLogEvents",
        "GET",
    }
    assert not verbs & {"GetItem", "GetRecords", "GetLogEvents", "GetFunction", "GetParametersForImport"}
    assert {f"baton-{stage}-{table}" for table in KEYS} < allowed(stage, "audit_configuration").keys()
    (domains,) = [
        resource
        for statement in statements(stage, "audit_configuration")
        for resource in statement["Resource"]
        if "/domainnames/" in resource
    ]
    assert domains.split("/")[2] == urlsplit(environment(stage)["BATON_ISSUER"]).hostname
