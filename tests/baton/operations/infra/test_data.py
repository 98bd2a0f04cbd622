"""``infra/data.yaml``: the tables the code counts on, protected as the design has it."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.baton.storage.dynamodb.database import EXPIRY, KEYS, SWEPT
from tools import template
from tools.deploy import stage_named
from tools.package import configuration, names_of

PREFIX = "baton-test"
STAGES = ["dev", "prod"]


def data() -> dict[str, Any]:
    """Give ``infra/data.yaml``, to be broken at will."""
    return copy.deepcopy(template.read(template.DATA))


def properties(broken: dict[str, Any], name: str) -> dict[str, Any]:
    """Give the properties of a resource."""
    found: dict[str, Any] = broken["Resources"][name]["Properties"]
    return found


def test_the_tables_are_those_the_code_counts_on() -> None:
    """Names, keys and expiry: one list in ``storage/dynamodb/database.py``, one here, and they are equal."""
    declared = template.tables(PREFIX)
    assert declared.keys() == {f"{PREFIX}-{name}" for name in KEYS}
    for name, keys in KEYS.items():
        table = declared[f"{PREFIX}-{name}"]
        assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == list(
            zip(keys, ("HASH", "RANGE"), strict=False)
        )
        assert table["AttributeDefinitions"] == [{"AttributeName": key, "AttributeType": "S"} for key in keys]
        swept = {"AttributeName": EXPIRY, "Enabled": True} if name in SWEPT else None
        assert table.get("TimeToLiveSpecification") == swept


def protections(resource: dict[str, Any]) -> set[str]:
    """Name what protects a table."""
    table = resource["Properties"]
    return {
        name
        for name, holds in {
            "on demand": table["BillingMode"] == "PAY_PER_REQUEST",
            "our key": table.get("SSESpecification")
            == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Fn::GetAtt": ["Key", "Arn"]}},
            "recovery": table.get("PointInTimeRecoverySpecification") == {"PointInTimeRecoveryEnabled": True},
            "protection": table.get("DeletionProtectionEnabled") is True,
            "outlives the stack": resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain",
            "stream": table.get("StreamSpecification") == {"StreamViewType": "NEW_IMAGE"},
        }.items()
        if holds
    }


WANTED = {
    "Users": {"on demand", "our key", "recovery", "protection", "outlives the stack"},
    "Lineages": {"on demand", "our key", "recovery", "protection", "outlives the stack"},
    "Ephemeral": {"on demand"},
    "Audit": {"on demand", "our key", "outlives the stack", "stream"},
}


def lacks_protection(read: dict[str, Any]) -> Iterator[str]:
    """Each table has the protection the design gives it, no more and no less."""
    for name, wanted in WANTED.items():
        if protections(read["Resources"][name]) != wanted:
            yield f"{name} is protected otherwise"


def opens_a_key(read: dict[str, Any]) -> Iterator[str]:
    """No key lets in everybody, and services only for what is ours."""
    for name, key in template.of_type(read, "AWS::KMS::Key").items():
        for statement in key["KeyPolicy"]["Statement"]:
            principal = json.dumps(statement["Principal"])
            if '"*"' in principal or "NotPrincipal" in statement:
                yield f"{name}: {statement['Sid']} lets in everybody"
            elif "Service" in statement["Principal"] and "Condition" not in statement:
                yield f"{name}: {statement['Sid']} lets in a service whoever it acts for"


def silences_the_alarms(read: dict[str, Any]) -> Iterator[str]:
    """Let alarms write to their topic, which is known by what SNS encrypts for, and to no other."""
    topic = template.of_type(template.read(template.EDGE), "AWS::SNS::Topic")["Alarms"]["TopicName"]["Fn::Sub"]
    arn = {"Fn::Sub": f"arn:${{AWS::Partition}}:sns:${{AWS::Region}}:${{AWS::AccountId}}:{topic}"}
    wanted = {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": arn}}
    if properties(read, "OperationsKey")["KeyPolicy"]["Statement"][2].get("Condition", wanted) != wanted:
        yield "alarms may not be able to write to their topic"


def loses_a_key(read: dict[str, Any]) -> Iterator[str]:
    """Every key rotates, outlives its stack, and can be saved for thirty days after somebody deletes it."""
    for name, key in template.of_type(read, "AWS::KMS::Key").items():
        if not key.get("EnableKeyRotation") or key.get("PendingWindowInDays") != 30:
            yield f"{name} does not rotate, or is gone sooner"
        if read["Resources"][name].get("DeletionPolicy") != "Retain":
            yield f"{name} goes with the stack"


def forgets_a_backup(read: dict[str, Any]) -> Iterator[str]:
    """Back up what cannot be made again: daily, under our key, where nobody shortens its life."""
    selected = properties(read, "BackupSelection")["BackupSelection"]["Resources"]
    if selected != [{"Fn::GetAtt": ["Users", "Arn"]}, {"Fn::GetAtt": ["Lineages", "Arn"]}]:
        yield "another selection"
    restored = json.dumps(template.resolve(properties(read, "RestoredSelection"), {"Tables": "restored"}))
    if "table/restored-users" not in restored or "table/restored-lineages" not in restored:
        yield "restored tables are not backed up"
    vault = properties(read, "Vault")
    if "EncryptionKeyArn" not in vault or "LockConfiguration" not in vault:
        yield "an open vault"


def lets_a_function_write_in_the_clear(read: dict[str, Any]) -> Iterator[str]:
    """Let the key of logs take the lines of every log group here, and of the access logs, and of no other."""
    named = template.resolve(read, {"Prefix": PREFIX})
    groups = {group["LogGroupName"] for group in template.of_type(named, "AWS::Logs::LogGroup").values()}
    (logs,) = [one for one in properties(named, "OperationsKey")["KeyPolicy"]["Statement"] if one["Sid"] == "Logs"]
    allowed = {
        arn["Fn::Sub"].partition(":log-group:")[2]
        for arn in logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    }
    if allowed != groups | {f"/aws/apigateway/{PREFIX}"}:
        yield f"{', '.join(sorted(allowed ^ groups))} differ"


def keeps_lines_for_ever(read: dict[str, Any]) -> Iterator[str]:
    """Every log group has an end and a key."""
    for name, group in template.of_type(read, "AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group or "KmsKeyId" not in group:
            yield f"{name} has no end or no key"


Rule = Callable[[dict[str, Any]], Iterator[str]]
Plant = Callable[[dict[str, Any]], object]


def _arns_of_logs(read: dict[str, Any]) -> list[Any]:
    condition = properties(read, "OperationsKey")["KeyPolicy"]["Statement"][1]["Condition"]
    found: list[Any] = condition["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    return found


FAULTS: list[tuple[Rule, Plant]] = [
    (lacks_protection, lambda read: properties(read, "Users").pop("SSESpecification")),
    (lacks_protection, lambda read: properties(read, "Lineages").pop("PointInTimeRecoverySpecification")),
    (lacks_protection, lambda read: properties(read, "Lineages").update(DeletionProtectionEnabled=False)),
    (lacks_protection, lambda read: properties(read, "Audit").update(BillingMode="PROVISIONED")),
    (lacks_protection, lambda read: read["Resources"]["Users"].update(DeletionPolicy="Delete")),
    (opens_a_key, lambda read: properties(read, "Key")["KeyPolicy"]["Statement"][0].update(Principal="*")),
    (opens_a_key, lambda read: properties(read, "Key")["KeyPolicy"]["Statement"][0].update(Principal={"AWS": ["*"]})),
    (opens_a_key, lambda read: properties(read, "OperationsKey")["KeyPolicy"]["Statement"][2].pop("Condition")),
    (
        silences_the_alarms,
        lambda read: properties(read, "OperationsKey")["KeyPolicy"]["Statement"][2].update(
            Condition={"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
        ),
    ),
    (loses_a_key, lambda read: properties(read, "Key").pop("EnableKeyRotation")),
    (loses_a_key, lambda read: read["Resources"]["Key"].pop("DeletionPolicy")),
    (forgets_a_backup, lambda read: properties(read, "RestoredSelection")["BackupSelection"].update(Resources=[])),
    (forgets_a_backup, lambda read: properties(read, "BackupSelection")["BackupSelection"]["Resources"].pop()),
    (forgets_a_backup, lambda read: properties(read, "Vault").pop("LockConfiguration")),
    (keeps_lines_for_ever, lambda read: properties(read, "LogGroup").pop("RetentionInDays")),
    (keeps_lines_for_ever, lambda read: properties(read, "RotateKeysLogGroup").pop("KmsKeyId")),
    (lets_a_function_write_in_the_clear, lambda read: read["Resources"].pop("AuditConfigurationLogGroup")),
    (lets_a_function_write_in_the_clear, lambda read: _arns_of_logs(read).pop()),
    (
        lets_a_function_write_in_the_clear,
        lambda read: _arns_of_logs(read).append({"Fn::Sub": "${AWS::Region}:log-group:*"}),
    ),
]
RULES = list(dict.fromkeys(rule for rule, _ in FAULTS))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_template_keeps_its_rules(rule: Rule) -> None:
    """Nothing to complain about."""
    assert list(rule(data())) == []


@pytest.mark.parametrize(("rule", "plant"), FAULTS, ids=[f"{rule.__name__}{at}" for at, (rule, _) in enumerate(FAULTS)])
def test_a_broken_template_is_noticed(rule: Rule, plant: Plant) -> None:
    """One fault, one complaint."""
    broken = data()
    plant(broken)
    assert len(list(rule(broken))) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_the_stage_finds_what_the_template_makes(stage: str) -> None:
    """Key alias, tables, log group: the settings and the policy of a stage name what is deployed for its prefix."""
    settings = configuration()["stages"][stage]["environment_variables"]
    named = template.resolve(data()["Resources"], names_of(stage))
    assert settings["BATON_KEY_RING"] == f"kms:{named['KeyAlias']['Properties']['AliasName']}"
    config = configuration()
    config["stages"][stage]["environment_variables"]["BATON_CLIENTS"] = "clients-dev.toml"  # prod's is its team's
    policies = [
        (template.ROOT / ".chalice" / file).read_text("utf-8") for file in stage_named(stage, config).policies.values()
    ]
    for name in template.tables(settings["BATON_TABLE_PREFIX"]):
        assert f"table/{name}" in policies[0]
    groups = [properties({"Resources": named}, f"{job}LogGroup") for job in ("", "RotateKeys", "AuditConfiguration")]
    for group, policy in zip(groups, policies, strict=True):
        assert f"log-group:{group['LogGroupName']}:*" in policy


def test_what_is_not_known_stays_open() -> None:
    """``resolve`` fills in names and leaves the rest to CloudFormation."""
    value = template.parse("a: !Sub ${Prefix}-${AWS::Region}\nb: !Ref Prefix\nc: !Ref Other\nd: !GetAtt Key.Arn")
    assert template.resolve(value, {"Prefix": "x"}) == {
        "a": {"Fn::Sub": "x-${AWS::Region}"},
        "b": "x",
        "c": {"Ref": "Other"},
        "d": {"Fn::GetAtt": ["Key", "Arn"]},
    }
