"""The audit of the configuration: no finding for a correct deployment, and exactly one for each seeded mistake."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.aws.deployment.audit import AuditConfiguration
from chalicelib.baton.storage.aws.deployment.look import SERVICES, Deployment
from chalicelib.baton.storage.aws.deployment.required import TABLES
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import EXPIRY, KEYS, Tables
from tests.baton.memory import MemoryLog

PREFIX = "baton-audited"
ROOT = Path(__file__).parents[3]
ISSUER = "https://api.example.com/api"
NOBODYS = "arn:aws:kms:us-east-1:123456789012:key/somebody-elses"

service = functools.cache(AwsClient)
"""Each client is made once, because botocore takes most of a test's time to read the model of a service."""


@functools.cache
def client(name: str) -> Any:
    """Make a client once, because reading the model of a service is slow."""
    return boto3.client(name)  # type: ignore[call-overload] # any service


class Stage:
    """API Gateway with one API behind a custom domain, with the answers of its documentation."""

    def __init__(self) -> None:
        """Start with a correct configuration."""
        self.stage: dict[str, Any] = {
            "stageName": "api",
            "webAclArn": "arn:aws:wafv2:...",
            "accessLogSettings": {"destinationArn": "arn:aws:logs:..."},
            "methodSettings": {"*/*": {"throttlingRateLimit": 500.0, "loggingLevel": "OFF", "dataTraceEnabled": False}},
        }
        self.others: list[dict[str, Any]] = []

    def call(self, operation: str, **request: object) -> dict[str, Any]:
        """Answer an operation of API Gateway."""
        if operation == "get_base_path_mappings":
            assert request == {"domainName": "api.example.com"}
            return {"items": [{"basePath": "api", "restApiId": "abc123", "stage": "api"}]}
        assert (operation, request) == ("get_stages", {"restApiId": "abc123"})
        return {"item": [self.stage, *self.others]}


class Refusing(Stage):
    """API Gateway for a caller without the right to read."""

    def call(self, operation: str, **_: object) -> dict[str, Any]:
        """Raise the error of a missing right."""
        raise Unavailable(f"apigateway {operation}: AccessDeniedException")


class Account:
    """A correct deployment in moto, with methods that change it."""

    def __init__(self) -> None:
        """Deploy."""
        self.dynamodb, self.kms, self.logs = client("dynamodb"), client("kms"), client("logs")
        self.lambda_, self.iam = client("lambda"), client("iam")
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.kms.enable_key_rotation(KeyId=self.key)
        self.stage = Stage()
        for table in KEYS:
            self.make_table(table)
        for name in (f"/aws/lambda/{PREFIX}", f"/aws/lambda/{PREFIX}-rotate_keys", f"/aws/apigateway/{PREFIX}"):
            self.logs.create_log_group(logGroupName=name, kmsKeyId=self.key)
            self.logs.put_retention_policy(logGroupName=name, retentionInDays=90)
        role = self.iam.create_role(RoleName=f"{PREFIX}-api_handler", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self.let_the_role("policy-prod.json")
        self.lambda_.create_function(
            FunctionName=PREFIX, Runtime="python3.13", Role=role, Handler="app.app", Code={"ZipFile": b"PK"}
        )
        self.lambda_.add_permission(
            FunctionName=PREFIX,
            StatementId="gateway",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
        )

    def let_the_role(self, policy_file: str, change: Callable[[list[Any]], Any] = lambda _: None) -> None:
        """Give the function's role the shipped policy, with a change."""
        policy = json.loads((ROOT / ".chalice" / policy_file).read_text("utf-8").replace("baton-prod-", f"{PREFIX}-"))
        change(policy["Statement"])
        self.iam.put_role_policy(
            RoleName=f"{PREFIX}-api_handler", PolicyName="baton", PolicyDocument=json.dumps(policy)
        )

    def make_table(self, table: str, key: str | None = None) -> None:
        """Make a table as data.md requires, encrypted with ``key``. An empty ``key`` means no customer key."""
        name, wanted = f"{PREFIX}-{table}", TABLES[table]
        encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key or self.key}
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": part, "KeyType": "RANGE" if number else "HASH"}
                for number, part in enumerate(KEYS[table])
            ],
            AttributeDefinitions=[{"AttributeName": part, "AttributeType": "S"} for part in KEYS[table]],
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=wanted.protection,
            **({"SSESpecification": encryption} if wanted.customer_key and key != "" else {}),
        )
        if wanted.recovery:
            self.recover(table, on=True)
        if wanted.swept:
            self.sweep(table, on=True)

    def make_again(self, table: str, key: str) -> None:
        """Make a table again with other encryption, because moto cannot change its key."""
        self.protect(table, on=False)
        self.dynamodb.delete_table(TableName=f"{PREFIX}-{table}")
        self.make_table(table, key)

    def recover(self, table: str, *, on: bool) -> None:
        """Set point-in-time recovery on or off."""
        self.dynamodb.update_continuous_backups(
            TableName=f"{PREFIX}-{table}", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
        )

    def sweep(self, table: str, *, on: bool, attribute: str = EXPIRY) -> None:
        """Set TTL on or off."""
        self.dynamodb.update_time_to_live(
            TableName=f"{PREFIX}-{table}", TimeToLiveSpecification={"Enabled": on, "AttributeName": attribute}
        )

    def protect(self, table: str, *, on: bool) -> None:
        """Set deletion protection on or off."""
        self.dynamodb.update_table(TableName=f"{PREFIX}-{table}", DeletionProtectionEnabled=on)

    def share(self, table: str) -> None:
        """Allow another AWS account to read a table."""
        arn = self.dynamodb.describe_table(TableName=f"{PREFIX}-{table}")["Table"]["TableArn"]
        self.dynamodb.put_resource_policy(ResourceArn=arn, Policy='{"Statement": []}')

    def log_in_the_clear(self, name: str) -> None:
        """Make a log group again, without a key."""
        self.logs.delete_log_group(logGroupName=name)
        self.logs.create_log_group(logGroupName=name)
        self.logs.put_retention_policy(logGroupName=name, retentionInDays=90)

    def open_key(self) -> None:
        """Allow every principal to use the key."""
        policy = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}]}
        self.kms.put_key_policy(KeyId=self.key, PolicyName="default", Policy=json.dumps(policy))

    def audited(self, **replaced: Any) -> list[tuple[str, str]]:
        """Run the audit, and return subject and problem of each finding. ``replaced``: other AWS services."""
        log = MemoryLog()
        services = {name: service(name) for name in SERVICES} | {"apigateway": cast("AwsClient", self.stage)} | replaced
        deployment = Deployment(PREFIX, Tables(PREFIX), key_id=self.key, issuer=ISSUER, services=services)
        findings = AuditConfiguration(deployment, log, EXPIRY)()
        assert all(finding.remedy for finding in findings)
        assert log.recorded[-1] == ("configuration_audited", {"configuration_findings": len(findings)})
        assert [event for event, _ in log.recorded[:-1]] == ["configuration_finding"] * len(findings)
        return [(finding.subject, finding.problem) for finding in findings]


@pytest.fixture
def account(embedded_engine: None) -> Iterator[Account]:
    """Make a deployment, and delete it afterwards."""
    del embedded_engine
    account = Account()
    yield account
    for table in KEYS:
        account.protect(table, on=False)
        arn = account.dynamodb.describe_table(TableName=f"{PREFIX}-{table}")["Table"]["TableArn"]
        with contextlib.suppress(account.dynamodb.exceptions.ResourceNotFoundException):
            account.dynamodb.delete_resource_policy(ResourceArn=arn)
        account.dynamodb.delete_table(TableName=f"{PREFIX}-{table}")
    for group in account.logs.describe_log_groups()["logGroups"]:
        account.logs.delete_log_group(logGroupName=group["logGroupName"])
    account.lambda_.delete_function(FunctionName=PREFIX)
    account.iam.delete_role_policy(RoleName=f"{PREFIX}-api_handler", PolicyName="baton")
    account.iam.delete_role(RoleName=f"{PREFIX}-api_handler")


def key_items(statements: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the statement that forbids writing the key ring."""
    (found,) = [statement for statement in statements if statement["Sid"] == "NoKeyItems"]
    return found


PLANTED: dict[str, tuple[Callable[[Account], Any], str]] = {
    "AWS's own key": (lambda it: it.make_again("users", ""), "not encrypted with the customer key"),
    "another key": (lambda it: it.make_again("lineages", NOBODYS), "encrypted with another key"),
    "no recovery": (lambda it: it.recover("lineages", on=False), "cannot be recovered"),
    "no protection": (lambda it: it.protect("users", on=False), "no deletion protection"),
    "no TTL": (lambda it: it.sweep("ephemeral", on=False), "TTL does not delete"),
    "a shared table": (lambda it: it.share("users"), "without IAM"),
    "no key rotation": (lambda it: it.kms.disable_key_rotation(KeyId=it.key), "does not rotate"),
    "a disabled key": (lambda it: it.kms.disable_key(KeyId=it.key.split("/")[1]), "disabled"),
    "a key for everybody": (lambda it: it.open_key(), "every principal to use it"),
    "logs without expiry": (
        lambda it: it.logs.delete_retention_policy(logGroupName=f"/aws/lambda/{PREFIX}-rotate_keys"),
        "never expire",
    ),
    "logs in the clear": (lambda it: it.log_in_the_clear(f"/aws/apigateway/{PREFIX}"), "not encrypted"),
    "no firewall": (lambda it: it.stage.stage.pop("webAclArn"), "no firewall"),
    "no access log": (lambda it: it.stage.stage.pop("accessLogSettings"), "no access log"),
    "no throttle": (lambda it: it.stage.stage["methodSettings"]["*/*"].pop("throttlingRateLimit"), "no throttle"),
    "bodies in logs": (
        lambda it: it.stage.stage["methodSettings"].update({"~1login/POST": {"dataTraceEnabled": True}}),
        "passwords and tokens",
    ),
    "a function for everybody": (
        lambda it: it.lambda_.add_permission(
            FunctionName=PREFIX, StatementId="all", Action="lambda:InvokeFunction", Principal="*"
        ),
        "without the API",
    ),
    "a role that may write the key ring": (
        lambda it: it.let_the_role("policy-prod.json", lambda statements: statements.remove(key_items(statements))),
        "its role may write the key ring: dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem",
    ),
    "a role that may delete the key ring": (
        lambda it: it.let_the_role(
            "policy-prod.json", lambda statements: key_items(statements)["Action"].remove("dynamodb:DeleteItem")
        ),
        "its role may write the key ring: dynamodb:DeleteItem",
    ),
    "a Deny of another table": (
        lambda it: it.let_the_role(
            "policy-prod.json", lambda statements: key_items(statements).update(Resource=statements[1]["Resource"])
        ),
        "its role may write the key ring",
    ),
    "a Deny on a condition that does not hold": (
        lambda it: it.let_the_role(
            "policy-prod.json",
            lambda statements: key_items(statements).update(
                Condition={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["K#*"]}}
            ),
        ),
        "its role may write the key ring",
    ),
    "a function with a URL": (
        lambda it: it.lambda_.create_function_url_config(FunctionName=PREFIX, AuthType="NONE"),
        "without the API",
    ),
}


def test_a_correct_deployment_has_no_finding(account: Account) -> None:
    """Operators would ignore an audit with false findings."""
    assert account.audited() == []


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_seeded_mistake_is_found(account: Account, mistake: str) -> None:
    """No other finding is reported."""
    plant, words = PLANTED[mistake]
    plant(account)
    ((_, problem),) = account.audited()
    assert words in problem


def test_a_second_stage_of_the_api_is_checked_too(account: Account) -> None:
    """The Serverless transform adds a stage named ``Stage``.

    It has no firewall, log or throttle, and calls the same function.
    """
    account.stage.others = [{"stageName": "Stage"}]
    assert account.audited() == [
        ("abc123/Stage", problem) for problem in ("it has no firewall", "it has no access log", "it has no throttle")
    ]


def test_a_missing_stage_is_a_finding(account: Account) -> None:
    """The API has another stage."""
    account.stage.stage["stageName"] = "other"
    ((subject, problem),) = account.audited()
    assert (subject, "no stage api" in problem) == (ISSUER, True)


def test_a_configuration_that_cannot_be_read_is_a_finding(account: Account) -> None:
    """The table or the right is missing. An audit that reads nothing must not report success."""
    account.stage = Refusing()
    account.logs.delete_log_group(logGroupName=f"/aws/lambda/{PREFIX}")
    found = dict(account.audited())
    assert found.keys() == {ISSUER, f"/aws/lambda/{PREFIX}"}
    assert "AccessDeniedException" in found[ISSUER]


def test_if_the_key_cannot_be_read_the_tables_are_not_reported(account: Account) -> None:
    """Bug: each table was reported as encrypted with another key, with a remedy that named no key."""
    ((subject, problem),) = account.audited(kms=Refusing())
    assert (subject, "cannot be read" in problem) == (account.key, True)


def test_without_a_deployment_every_check_is_a_finding(embedded_engine: None) -> None:
    """Each check reports that it cannot read its configuration."""
    del embedded_engine
    services = {name: service(name) for name in SERVICES} | {"apigateway": cast("AwsClient", Refusing())}
    deployment = Deployment(
        "baton-nowhere", Tables("baton-nowhere"), key_id="alias/nowhere", issuer=ISSUER, services=services
    )
    found = AuditConfiguration(deployment, MemoryLog(), EXPIRY)()
    assert {finding.subject for finding in found} == set(deployment.observations())
    assert all("cannot be read" in finding.problem for finding in found)
