"""The stages of ``.chalice/config.json``: what an operator deploys, and what nobody can."""

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
SCHEDULED = ["rotate_keys", "audit_configuration"]


def test_a_stage_without_a_domain_is_asked_where_it_is_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Doctor, audit and drill asked the placeholder, and nothing that `make deploy` makes was ever well."""
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


def environment(stage: str) -> dict[str, str]:
    """Give the environment variables of a stage."""
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
    """Read the statements of a policy that are Baton's."""
    return of_baton(policy_of(stage, function))


def reaches_baton(policy: Mapping[str, Any], stage: str) -> list[str]:
    """Name the statements of a team that allow something on a table or an index of Baton's, or by a pattern for it."""
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


def test_the_function_is_sized_on_purpose() -> None:
    """REGIONAL, arm64, 1,024 MB, 15 s; Chalice's own defaults are EDGE, x86_64, 128 MB, 60 s."""
    assert CONFIG["api_gateway_endpoint_type"] == "REGIONAL"
    assert CONFIG["lambda_architecture"] == "arm64"
    assert CONFIG["lambda_memory_size"] >= 1024
    assert 10 <= CONFIG["lambda_timeout"] <= REQUEST_MAX_S
    assert CONFIG["autogen_policy"] is False
    assert CONFIG["stages"].keys() == {"local", *DEPLOYED}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_deployed_stage_starts_in_lambda(stage: str) -> None:
    """Its settings are whole and safe: KMS, throttles, no development; no name that nobody reads."""
    variables = environment(stage)
    if stage == "prod":  # its registry is for its team to write
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


def test_the_local_stage_starts_here_and_nowhere_else() -> None:
    """Chalice refuses to deploy a stage without a role, and Baton refuses to start if somebody gives it one."""
    assert CONFIG["stages"]["local"]["manage_iam_role"] is False
    assert "iam_role_arn" not in CONFIG["stages"]["local"] | CONFIG
    assert read_settings(environment("local")).development
    with pytest.raises(SettingsProblems, match="BATON_DEVELOPMENT"):
        read_settings(environment("local") | IN_LAMBDA)


def test_the_local_stage_can_reach_no_real_account() -> None:
    """Its credentials are nobody's, whatever the developer's own are."""
    variables = environment("local")
    assert variables["AWS_ACCESS_KEY_ID"] == variables["AWS_SECRET_ACCESS_KEY"] == "development"


@pytest.mark.parametrize("function", [None, *SCHEDULED])
@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_policy_allows_nothing_by_pattern(stage: str, function: str | None) -> None:
    """Every action and every resource is named; of a function's own log group alone, all streams."""
    own_log_group = f":log-group:/aws/lambda/baton-{stage}{f'-{function}' if function else ''}"
    role = f"role/baton-{stage}-"  # CloudFormation chooses how the names of its roles end
    for statement in statements(stage, function):
        assert statement["Effect"] == "Allow" or statement["Sid"] == "NoKeyItems"
        assert not [action for action in statement["Action"] if re.search(r"[*?]", action)]
        for resource in statement["Resource"]:
            service, account = resource.split(":")[2], resource.split(":")[3:5]
            if service == "apigateway":
                account[1] = account[1] or "ACCOUNT"  # it writes none
            if service == "iam":
                account[0] = account[0] or "REGION"  # it has none
                assert function == "audit_configuration"
                assert resource.endswith(f":{role}*")
                resource = resource.removesuffix("*")  # noqa: PLW2901 - looked at
            filled_in = re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", account[0]) and re.fullmatch(r"\d{12}", account[1])
            assert account == ["REGION", "ACCOUNT"] or filled_in, "as `tools.deploy fill` leaves them"
            assert not re.search(r"[*?]", resource.removesuffix(f"{own_log_group}:*"))


@pytest.mark.parametrize("function", [None, *SCHEDULED])
@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_statement_of_a_team_reaches_no_table_of_baton(stage: str, function: str | None) -> None:
    """A team grants what it wants on its own tables. Only statements of Baton reach the tables of Baton."""
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
def test_a_statement_of_a_team_that_reaches_a_table_of_baton_is_noticed(resource: str, *, reaches: bool) -> None:
    """By its name, by an index, by a pattern; and Baton's own tests leave a team's statement alone."""
    policy = policy_of("dev")
    own = {"Sid": "AppOrders", "Effect": "Allow", "Action": ["dynamodb:PutItem"], "Resource": [resource]}
    more = {**policy, "Statement": [*policy["Statement"], own]}
    assert reaches_baton(more, "dev") == (["AppOrders"] if reaches else [])
    assert of_baton(more) == policy["Statement"]
    assert allowed_by(more) == allowed_by(policy)


@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_policy_names_the_tables_of_its_stage(stage: str) -> None:
    """All four, by the prefix in its settings, and no other."""
    prefix = environment(stage)["BATON_TABLE_PREFIX"]
    named = {
        resource.rsplit("/", maxsplit=1)[1]
        for statement in statements(stage)
        for resource in statement["Resource"]
        if ":dynamodb:" in resource
    }
    assert named == {f"{prefix}-{table}" for table in KEYS}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_a_policy_allows_what_the_stores_do_and_no_more(stage: str) -> None:
    """Operations and the parts of transactions, read from the stores; a transaction has no action of its own."""
    done = {
        "".join(word[0].upper() + word[1:] for word in node.value.removesuffix("_item").split("_")) + "Item"
        for path in (ROOT / "chalicelib" / "baton" / "storage").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(
            r"(get|put|update|delete|query|scan|batch_\w+)_item|Put|Update|Delete|ConditionCheck", node.value
        )
    }
    allowed = {
        action for statement in statements(stage) if statement["Effect"] == "Allow" for action in statement["Action"]
    }
    assert {action for action in allowed if action.startswith("dynamodb:")} == {f"dynamodb:{name}" for name in done}
    assert {action for action in allowed if action.startswith("kms:")} == {"kms:Decrypt"}


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_key_opens_the_ring_and_the_tables_alone(stage: str) -> None:
    """Whoever runs as the function cannot use the key for anything else that was wrapped by it."""
    conditions = [
        statement["Condition"]["StringEquals"]
        for statement in statements(stage)
        if "kms:Decrypt" in statement["Action"]
    ]
    tables = conditions[1].pop("kms:ViaService")
    assert conditions == [{f"kms:EncryptionContext:{name}": value for name, value in PURPOSE.items()}, {}]
    assert re.fullmatch(r"dynamodb\.(REGION|[a-z0-9-]+)\.amazonaws\.com", tables)


def may(policy: list[Mapping[str, Any]], action: str, table: str, *keys: str) -> bool:
    """Evaluate a policy as IAM does: a Deny that applies beats every Allow, and without an Allow nothing may be done.

    ``keys`` are the leading keys (partition keys) of the items that the request names. ForAllValues holds where every
    one matches, and where there is none; ForAnyValue where one does. Null "false" holds where there is any.
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
def test_the_api_may_write_no_key_item(stage: str, action: str) -> None:
    """Who ran code in the API's function could put a key ring of his own; only reading it is needed there."""
    policy, users = statements(stage), f"{environment(stage)['BATON_TABLE_PREFIX']}-users"
    granted = action in {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
    for key in ("U#AbCd", "E#AbCd", "C#AbCd"):
        assert may(policy, action, users, key) == granted
    for key in (RING_KEY["pk"]["S"], "K#switches", "K#provider#apple", "K#"):
        assert not may(policy, action, users, key)
        assert not may(policy, action, users, "U#AbCd", key), "nor beside an item that may be written"
        open_to_all = [*policy, {"Effect": "Allow", "Action": KEY_WRITES, "Resource": [f":table/{users}"]}]
        assert not may(open_to_all, action, users, key), "whatever else the role is allowed some day"
        undenied = [statement for statement in open_to_all if statement["Effect"] == "Allow"]
        assert may(undenied, action, users, key), "it is the Deny that refuses"
    assert may(policy, "dynamodb:GetItem", users, RING_KEY["pk"]["S"])
    (deny,) = [statement for statement in policy if statement["Effect"] == "Deny"]
    assert (tuple(deny["Action"]), deny["Condition"]) == (KEY_WRITES, KEYS_DENIED)


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_rotation_may_write_the_key_ring_alone(stage: str) -> None:
    """No other key item, no account, nothing beside the ring, and nothing that names no key."""
    policy, users = dynamodb_alone(statements(stage, "rotate_keys")), f"baton-{stage}-users"
    ring = RING_KEY["pk"]["S"]
    assert may(policy, "dynamodb:PutItem", users, ring)
    assert may(policy, "dynamodb:GetItem", users, ring)
    for keys in (("K#switches",), ("U#AbCd",), (ring, "U#AbCd"), ()):
        for action in ("dynamodb:PutItem", "dynamodb:GetItem"):
            assert not may(policy, action, users, *keys)
    assert not may(policy, "dynamodb:DeleteItem", users, ring)


def dynamodb_alone(policy: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out what concerns no table."""
    return [statement for statement in policy if ":dynamodb:" in statement["Resource"][0]]


def allowed(stage: str, function: str) -> dict[str, set[str]]:
    """Read what a scheduled function may do: the name of what it acts on -> actions."""
    found: dict[str, set[str]] = {}
    for statement in statements(stage, function):
        for resource in statement["Resource"]:
            found.setdefault(re.split(r"[:/]", resource.removesuffix(":*"))[-1], set()).update(statement["Action"])
    return found


def test_every_scheduled_function_has_a_policy_of_its_own() -> None:
    """Otherwise it would run as the API does, and reach every table."""
    tree = ast.parse((ROOT / "chalicelib" / "baton" / "http" / "jobs.py").read_text("utf-8"))
    scheduled = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and "schedule" in ast.dump(ast.Module(node.decorator_list, []))  # type: ignore[arg-type]
    ]
    assert scheduled == SCHEDULED
    for stage in DEPLOYED:
        assert CONFIG["stages"][stage]["lambda_functions"].keys() >= set(SCHEDULED)


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_rotation_reaches_the_ring_alone(stage: str) -> None:
    """One item of one table, and the key for the ring's own purpose."""
    logs = f"baton-{stage}-rotate_keys"
    assert allowed(stage, "rotate_keys") == {
        f"baton-{stage}-users": {"dynamodb:GetItem", "dynamodb:PutItem"},
        statements(stage, "rotate_keys")[1]["Resource"][0].rsplit("/")[-1]: {"kms:Decrypt", "kms:GenerateDataKey"},
        logs: {"logs:CreateLogStream", "logs:PutLogEvents"},
    }
    conditions = [statement.get("Condition", {}) for statement in statements(stage, "rotate_keys")]
    assert conditions[0] == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [RING_KEY["pk"]["S"]]},
        "Null": {"dynamodb:LeadingKeys": "false"},  # or ForAllValues would hold for a request that names no key
    }
    purpose = {f"kms:EncryptionContext:{name}": value for name, value in PURPOSE.items()}
    assert conditions[1] == {"StringEquals": purpose}
    assert re.fullmatch(
        r"dynamodb\.(REGION|[a-z0-9-]+)\.amazonaws\.com", conditions[2]["StringEquals"]["kms:ViaService"]
    )


@pytest.mark.parametrize("stage", DEPLOYED)
def test_the_audit_looks_and_reads_nothing(stage: str) -> None:
    """It describes every table, and may read no item, no key and no line; the domain is the one apps call."""
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
