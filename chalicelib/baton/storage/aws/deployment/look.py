"""Read the configuration of the deployment from AWS. Nothing is changed. An unreadable part raises `Unavailable`."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.aws.deployment.required import (
    KEY_WRITES,
    KEYS_DENIED,
    Observed,
    ObservedFunction,
    ObservedKey,
    ObservedLogGroup,
    ObservedStage,
    ObservedTable,
)
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables

EXECUTE_API: Final = re.compile(r"([a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com\Z")
ALIASES: Final[tuple[dict[str, str], ...]] = ({}, {"Qualifier": "live"})
"""The qualifiers of the function: no qualifier, and the alias ``live``, which the API of ``infra/edge.yaml`` calls.

The function has one resource policy for each qualifier.
"""
SERVICES: Final = ("dynamodb", "kms", "logs", "apigateway", "lambda", "iam")


class Deployment:
    """The implementation of ``ports.Deployment`` that reads from AWS."""

    def __init__(
        self, name: str, tables: Tables, *, key_id: str, issuer: str, services: Mapping[str, AwsClient] | None = None
    ) -> None:
        """Observe the deployment with this name, tables and key. ``issuer`` is the URL that apps call."""
        self._name = name
        self._tables = tables
        self._key_id = key_id
        self._issuer = issuer
        self._services = services or {name: AwsClient(name) for name in SERVICES}

    def observations(self) -> Mapping[str, Callable[[], Sequence[Observed]]]:
        """Map the name of each part of the configuration to a function that reads this part."""
        tables = {self._tables.name(table): functools.partial(self._table, table) for table in KEYS}
        return {
            **tables,
            self._key_id: self._key,
            **{
                group: functools.partial(self._log_groups, group)
                for group in (f"/aws/lambda/{self._name}", f"/aws/apigateway/{self._name}")
            },
            self._issuer: self._stages,
            self._name: self._function,
        }

    def key_arn(self) -> str:
        """Return the ARN of the deployment's KMS key, which encrypts the key ring."""
        return str(self._call("kms", "describe_key", KeyId=self._key_id)["KeyMetadata"]["Arn"])

    def _call(self, service: str, operation: str, **request: object) -> dict[str, Any]:
        return self._services[service].call(operation, **request)

    def _call_or_none(self, absent: str, service: str, operation: str, **request: object) -> dict[str, Any] | None:
        """Call an operation. Return ``None`` if AWS answers with the error code in ``absent``."""
        try:
            return self._call(service, operation, **request)
        except Unavailable as error:
            if error.reason == f"{service} {operation}: {absent}":
                return None
            raise

    def _table(self, table: str) -> list[ObservedTable]:
        name = self._tables.name(table)
        described = self._call("dynamodb", "describe_table", TableName=name)["Table"]
        backups = self._call("dynamodb", "describe_continuous_backups", TableName=name)["ContinuousBackupsDescription"]
        expiry = self._call("dynamodb", "describe_time_to_live", TableName=name)["TimeToLiveDescription"]
        policy = self._call_or_none(
            "PolicyNotFoundException", "dynamodb", "get_resource_policy", ResourceArn=described["TableArn"]
        )
        encryption = described.get("SSEDescription", {})
        recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        found = ObservedTable(
            table=table,
            name=name,
            key=encryption.get("KMSMasterKeyArn") if encryption.get("Status") in {"ENABLED", "UPDATING"} else None,
            recovery=recovery == "ENABLED",
            protection=bool(described.get("DeletionProtectionEnabled")),
            swept_by=expiry.get("AttributeName") if expiry["TimeToLiveStatus"] in {"ENABLED", "ENABLING"} else None,
            policy=policy["Policy"] if policy else None,
        )
        return [found]

    def _key(self) -> list[ObservedKey]:
        described = self._call("kms", "describe_key", KeyId=self._key_id)["KeyMetadata"]
        arn = described["Arn"]
        # AWS does not return the rotation of a disabled key.
        asked = described["Enabled"]
        rotates = not asked or self._call("kms", "get_key_rotation_status", KeyId=arn)["KeyRotationEnabled"]
        policy = self._call("kms", "get_key_policy", KeyId=arn, PolicyName="default")["Policy"]
        found = ObservedKey(
            arn=arn,
            ours=described["KeyManager"] == "CUSTOMER",
            enabled=bool(described["Enabled"]),
            rotates=bool(rotates),
            public=bool(_open_to(policy)),
        )
        return [found]

    def _log_groups(self, name: str) -> list[ObservedLogGroup]:
        """Read the log group ``name``, and the log groups of the jobs: their names begin with ``name-``."""
        groups = self._call("logs", "describe_log_groups", logGroupNamePrefix=name)["logGroups"]
        ours = [
            group for group in groups if group["logGroupName"] == name or group["logGroupName"].startswith(name + "-")
        ]
        if not any(group["logGroupName"] == name for group in ours):
            raise Unavailable(f"there is no log group {name}")
        return [
            ObservedLogGroup(group["logGroupName"], group.get("retentionInDays"), group.get("kmsKeyId"))
            for group in ours
        ]

    def _stages(self) -> list[ObservedStage]:
        """Read every stage of the API, because each of them reaches the function."""
        api, name = self._api()
        stages = {stage["stageName"]: stage for stage in self._call("apigateway", "get_stages", restApiId=api)["item"]}
        if name not in stages:
            raise Unavailable(f"the API {api} has no stage {name}")
        return [self._stage(f"{api}/{one}", stage) for one, stage in stages.items()]

    def _stage(self, name: str, stage: Mapping[str, Any]) -> ObservedStage:
        methods = stage.get("methodSettings", {})
        return ObservedStage(
            name=name,
            firewall=bool(stage.get("webAclArn")),
            access_logged=bool(stage.get("accessLogSettings", {}).get("destinationArn")),
            body_logged=any(
                method.get("dataTraceEnabled") or method.get("loggingLevel", "OFF") == "INFO"
                for method in methods.values()
            ),
            throttled=methods.get("*/*", {}).get("throttlingRateLimit", -1) >= 0,
        )

    def _api(self) -> tuple[str, str]:
        """Return API id and stage of the issuer: from its host, or from the mapping of a custom domain."""
        url = urlsplit(self._issuer)
        path = url.path.strip("/").split("/")[0]
        host = url.hostname or ""
        if match := EXECUTE_API.match(host):
            return match[1], path
        mappings = self._call("apigateway", "get_base_path_mappings", domainName=host).get("items", [])
        for wanted in (path, "(none)"):
            for mapping in mappings:
                if mapping.get("basePath", "(none)") == (wanted or "(none)"):
                    return mapping["restApiId"], mapping.get("stage") or path
        raise Unavailable(f"no API is mapped to {self._issuer}")

    def _function(self) -> list[ObservedFunction]:
        name, absent = self._name, "ResourceNotFoundException"
        role = self._call("lambda", "get_function_configuration", FunctionName=name)["Role"].rsplit("/", maxsplit=1)[-1]
        policies = [
            self._call("iam", "get_role_policy", RoleName=role, PolicyName=policy)["PolicyDocument"]
            for policy in self._call("iam", "list_role_policies", RoleName=role)["PolicyNames"]
        ]
        open_to: list[str] = []
        for qualifier in ALIASES:
            named = {"FunctionName": name, **qualifier}
            policy = self._call_or_none(absent, "lambda", "get_policy", **named)
            url = self._call_or_none(absent, "lambda", "get_function_url_config", **named)
            open_to += _open_to(policy["Policy"]) if policy else []
            open_to += [f"any caller of {url['FunctionUrl']}"] if url and url["AuthType"] == "NONE" else []
        denied = {action for policy in policies for action in _denied_for_keys(policy, self._tables.users)}
        key_writes = tuple(action for action in KEY_WRITES if action not in denied)
        return [ObservedFunction(name, tuple(dict.fromkeys(open_to)), key_writes)]


def _denied_for_keys(policy: Mapping[str, Any], table: str) -> Iterator[str]:
    """Yield the actions that a policy denies, with the condition ``KEYS_DENIED``, for key items (``K#``) of a table."""
    for statement in _listed(policy["Statement"]):
        of_table = any(str(one).endswith(f":table/{table}") for one in _listed(statement.get("Resource", [])))
        if statement["Effect"] == "Deny" and of_table and statement.get("Condition") == KEYS_DENIED:
            yield from _listed(statement.get("Action", []))


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - one, or a list: IAM takes both
    return value if isinstance(value, list) else [value]


def _open_to(policy: str) -> list[str]:
    """Describe each statement of a resource policy that allows every principal without a condition."""
    statements = json.loads(policy)["Statement"]
    return [
        f"every principal ({statement.get('Sid', 'a statement without a name')})"
        for statement in _listed(statements)
        if statement["Effect"] == "Allow" and _everybody(statement.get("Principal"))
        if not statement.get("Condition")
    ]


def _everybody(principal: object) -> bool:
    """Check whether a statement's ``Principal`` contains ``*``: every principal. An account root does not count."""
    if isinstance(principal, Mapping):
        return any(_everybody(one) for one in principal.values())
    if isinstance(principal, list):
        return any(_everybody(one) for one in principal)
    return principal == "*"
