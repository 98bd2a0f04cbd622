"""T40: the rights to invoke ``operate``, and the rights of an operator, by the policies only (no AWS)."""

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from chalicelib.baton.storage.dynamodb.database import KEYS
from tests.baton.operations.test_stages import DEPLOYED, FUNCTIONS, may, policy_of, statements
from tools import template

OPERATOR = template.read(template.ROOT / "infra" / "operator.yaml")
ACCOUNT = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}
ARN = "arn:aws:{service}:eu-central-1:123456789012:{name}"


def filled(stage: str) -> list[dict[str, Any]]:
    """Return the statements of an operator's policy, with the names of a stage."""
    text = json.dumps(OPERATOR)
    for name, value in {**ACCOUNT, "Prefix": f"baton-{stage}"}.items():
        text = text.replace(f"${{{name}}}", value)
    policy = json.loads(text)["Resources"]["OperatorPolicy"]["Properties"]["PolicyDocument"]
    return list(policy["Statement"])


def listed(value: Any) -> list[str]:
    """Return the values of a member that may have one value, with their names filled in."""
    values = value if isinstance(value, list) else [value]
    return [one["Fn::Sub"] if isinstance(one, dict) else one for one in values]


def permits(policy: Sequence[Mapping[str, Any]], action: str, resource: str) -> bool:
    """Evaluate a policy without conditions as IAM does: Deny beats Allow, and nothing is allowed otherwise."""

    def applies(statement: Mapping[str, Any]) -> bool:
        resources = listed(statement["Resource"])
        return any(fnmatch.fnmatchcase(action.lower(), one.lower()) for one in listed(statement["Action"])) and any(
            fnmatch.fnmatchcase(resource, one) for one in resources
        )

    return {statement["Effect"] for statement in policy if applies(statement)} == {"Allow"}


def actions_of_baton() -> Iterator[tuple[str, str]]:
    """Yield each action of the functions of Baton on a table, a key and a queue of prod."""
    for function in FUNCTIONS:
        for statement in statements("prod", function):
            for action in listed(statement["Action"]):
                if action.startswith(("dynamodb:", "kms:", "sqs:", "ses:", "iam:")):
                    for resource in listed(statement["Resource"]):
                        yield action, resource.replace("REGION", "eu-central-1").replace("ACCOUNT", "123456789012")


@pytest.mark.parametrize("stage", DEPLOYED)
def test_an_operator_may_invoke_operate_and_nothing_else(stage: str) -> None:
    """The operator has no right on another function, on another stage, or to change the function."""
    policy = filled(stage)
    own = ARN.format(service="lambda", name=f"function:baton-{stage}-operate")
    assert permits(policy, "lambda:InvokeFunction", own)
    for other in ("", "-rotate_keys", "-jobs", "-operate2", "-operate:live"):
        named = ARN.format(service="lambda", name=f"function:baton-{stage}{other}")
        assert not permits(policy, "lambda:InvokeFunction", named), other
    for action in ("UpdateFunctionCode", "UpdateFunctionConfiguration", "AddPermission", "GetFunction"):
        assert not permits(policy, f"lambda:{action}", own)
    for another in DEPLOYED:
        named = ARN.format(service="lambda", name=f"function:baton-{another}-operate")
        assert permits(policy, "lambda:InvokeFunction", named) is (another == stage)


def test_an_operator_reaches_no_table_no_key_and_no_queue() -> None:
    """The policy denies each action that Baton's functions may perform, and each action on a table."""
    policy = filled("prod")
    tried = set(actions_of_baton())
    assert len(tried) > 20
    assert [one for one in tried if permits(policy, *one)] == []
    for table in KEYS:
        named = ARN.format(service="dynamodb", name=f"table/baton-prod-{table}")
        for action in ("GetItem", "Query", "Scan", "PutItem", "ExportTableToPointInTime"):
            assert not permits(policy, f"dynamodb:{action}", named)


def test_an_operator_may_search_the_log_of_the_api() -> None:
    """The log of another function is excluded: it may belong to the team."""
    policy = filled("prod")
    group = ARN.format(service="logs", name="log-group:/aws/lambda/baton-prod:*")
    assert permits(policy, "logs:FilterLogEvents", group)
    assert not permits(policy, "logs:DeleteLogGroup", group)
    assert not permits(policy, "logs:FilterLogEvents", group.replace("baton-prod:", "baton-prod-jobs:"))


@pytest.mark.parametrize("stage", DEPLOYED)
def test_no_function_of_baton_may_invoke_operate(stage: str) -> None:
    """The API function may not either: code in it cannot act as an operator."""
    for function in FUNCTIONS:
        invoking = [
            action
            for statement in policy_of(stage, function)["Statement"]
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
            if fnmatch.fnmatchcase("lambda:InvokeFunction", action)
        ]
        assert invoking == [], function


@pytest.mark.parametrize("stage", DEPLOYED)
def test_operate_may_do_what_its_ops_need(stage: str) -> None:
    """It may read and delete users, change account states, and write audit rows. It may not write the key ring.

    It may write the items of refresh tokens that wait: the deletion of an account at Apple needs them.
    """
    prefix = f"baton-{stage}"
    rights: dict[str, set[str]] = {}
    for statement in statements(stage, "operate"):
        name = statement["Resource"][0].removesuffix(":*").replace("/", ":").rpartition(":")[2]
        if statement["Effect"] == "Allow" and name.startswith(prefix):
            rights.setdefault(name, set()).update(statement["Action"])
    assert rights == {
        f"{prefix}-users": {f"dynamodb:{action}" for action in ("GetItem", "DeleteItem", "PutItem", "UpdateItem")},
        f"{prefix}-lineages": {"dynamodb:GetItem", "dynamodb:UpdateItem"},
        f"{prefix}-audit": {"dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:Query"},
        f"{prefix}-mail": {"sqs:SendMessage"},
        f"{prefix}-operate": {"logs:CreateLogStream", "logs:PutLogEvents"},
    }
    tables = [one for one in statements(stage, "operate") if one["Action"][0].startswith("dynamodb:")]
    assert may(tables, "dynamodb:DeleteItem", f"{prefix}-users", "U#account")
    assert not may(tables, "dynamodb:DeleteItem", f"{prefix}-users", "K#ring")
    for action in ("PutItem", "UpdateItem"):
        assert may(tables, f"dynamodb:{action}", f"{prefix}-users", "J#apple#7")
        assert not may(tables, f"dynamodb:{action}", f"{prefix}-users", "U#account")
        assert not may(tables, f"dynamodb:{action}", f"{prefix}-users", "K#ring")


def test_the_trail_records_each_invocation_of_operate() -> None:
    """The audit row has the operator as the caller claims. If a bucket is given, CloudTrail records the real caller."""
    trail = OPERATOR["Resources"]["OperatorTrail"]
    assert trail["Condition"] == "HasTrail"
    (selector,) = trail["Properties"]["AdvancedEventSelectors"]
    fields = {one["Field"]: one["Equals"] for one in selector["FieldSelectors"]}
    assert fields["eventCategory"] == ["Data"]
    assert fields["resources.type"] == ["AWS::Lambda::Function"]
    assert str(fields["resources.ARN"][0]["Fn::Sub"]).endswith(":function:${Prefix}-operate")
