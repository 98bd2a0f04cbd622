"""``infra/data.yaml`` defines the tables that the code uses, with the required protection."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.baton.policy import DAY_S, HOUR_S
from chalicelib.baton.storage.dynamodb.database import EXPIRY, KEYS, SWEPT
from tools import template
from tools.deploy import stage_named
from tools.package import configuration, names_of

PREFIX = "baton-test"
ARN = "arn:${{AWS::Partition}}:{}:${{AWS::Region}}:${{AWS::AccountId}}"
STAGES = ["dev", "prod"]


def data() -> dict[str, Any]:
    """Read ``infra/data.yaml``. A test may change the result."""
    return copy.deepcopy(template.read(template.DATA))


def properties(broken: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the properties of a resource."""
    found: dict[str, Any] = broken["Resources"][name]["Properties"]
    return found


def test_the_tables_are_those_of_the_code() -> None:
    """Names, keys and expiry are the same in ``storage/dynamodb/database.py`` and in the template."""
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
    """List the protections of a table."""
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


def wrong_protection(read: dict[str, Any]) -> Iterator[str]:
    """Yield each table that has more or less than the required protection."""
    for name, wanted in WANTED.items():
        if protections(read["Resources"][name]) != wanted:
            yield f"{name} has not exactly the required protection"


def open_key(read: dict[str, Any]) -> Iterator[str]:
    """Yield each key statement that allows every principal, or allows a service without a condition."""
    for name, key in template.of_type(read, "AWS::KMS::Key").items():
        for statement in key["KeyPolicy"]["Statement"]:
            principal = json.dumps(statement["Principal"])
            if '"*"' in principal or "NotPrincipal" in statement:
                yield f"{name}: {statement['Sid']} allows every principal"
            elif "Service" in statement["Principal"] and "Condition" not in statement:
                yield f"{name}: {statement['Sid']} allows a service without a condition"


def alarms_cannot_encrypt(read: dict[str, Any]) -> Iterator[str]:
    """Require that alarms can encrypt for their SNS topic, and for no other topic."""
    topic = template.of_type(template.read(template.EDGE), "AWS::SNS::Topic")["Alarms"]["TopicName"]["Fn::Sub"]
    arn = {"Fn::Sub": f"arn:${{AWS::Partition}}:sns:${{AWS::Region}}:${{AWS::AccountId}}:{topic}"}
    wanted = {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": arn}}
    if properties(read, "OperationsKey")["KeyPolicy"]["Statement"][2].get("Condition", wanted) != wanted:
        yield "alarms may not be able to write to their topic"


def unprotected_key(read: dict[str, Any]) -> Iterator[str]:
    """Yield each key that does not rotate, is deleted with its stack, or is deleted before thirty days."""
    for name, key in template.of_type(read, "AWS::KMS::Key").items():
        if not key.get("EnableKeyRotation") or key.get("PendingWindowInDays") != 30:
            yield f"{name} does not rotate, or is deleted sooner"
        if read["Resources"][name].get("DeletionPolicy") != "Retain":
            yield f"{name} is deleted with the stack"


def missing_backup(read: dict[str, Any]) -> Iterator[str]:
    """Require a daily backup of users and lineages, with Baton's key, in a vault with a minimum retention."""
    selected = properties(read, "BackupSelection")["BackupSelection"]["Resources"]
    if selected != [{"Fn::GetAtt": ["Users", "Arn"]}, {"Fn::GetAtt": ["Lineages", "Arn"]}]:
        yield "the backup selects other tables"
    restored = json.dumps(template.resolve(properties(read, "RestoredSelection"), {"Tables": "restored"}))
    if "table/restored-users" not in restored or "table/restored-lineages" not in restored:
        yield "restored tables are not backed up"
    vault = properties(read, "Vault")
    if "EncryptionKeyArn" not in vault or "LockConfiguration" not in vault:
        yield "the vault of the backups has no key or no lock"


def wrong_log_encryption(read: dict[str, Any]) -> Iterator[str]:
    """Require that the log key encrypts exactly the log groups of this template and the access logs."""
    named = template.resolve(read, {"Prefix": PREFIX})
    groups = {group["LogGroupName"] for group in template.of_type(named, "AWS::Logs::LogGroup").values()}
    (logs,) = [one for one in properties(named, "OperationsKey")["KeyPolicy"]["Statement"] if one["Sid"] == "Logs"]
    allowed = {
        arn["Fn::Sub"].partition(":log-group:")[2]
        for arn in logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    }
    if allowed != groups | {f"/aws/apigateway/{PREFIX}"}:
        yield f"{', '.join(sorted(allowed ^ groups))} differ"


def log_group_without_retention(read: dict[str, Any]) -> Iterator[str]:
    """Yield each log group without a retention or a key."""
    for name, group in template.of_type(read, "AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group or "KmsKeyId" not in group:
            yield f"{name} has no retention or no key"


def forged_feedback(read: dict[str, Any]) -> Iterator[str]:
    """Require that only SES publishes bounces, for this account and this configuration set, and can encrypt them."""
    named = template.resolve(read, {"Prefix": PREFIX})
    allow, deny = properties(named, "MailFeedbackTopicPolicy")["PolicyDocument"]["Statement"]
    own = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    sender = {"aws:SourceArn": {"Fn::Sub": f"{ARN.format('ses')}:configuration-set/{PREFIX}-mail"}}
    if allow["Principal"] != {"Service": "ses.amazonaws.com"}:
        yield "others may publish"
    if allow.get("Condition") != {"StringEquals": own, "ArnEquals": sender}:
        yield "SES may publish for another account or sender"
    if (deny["Effect"], deny["Principal"], deny["Condition"]) != ("Deny", "*", {"StringNotEquals": own}):
        yield "a principal of this account may publish"
    topic = properties(named, "MailFeedbackTopic")
    (key,) = [
        one for one in properties(named, "OperationsKey")["KeyPolicy"]["Statement"] if one["Sid"] == "MailFeedback"
    ]
    arn = {"Fn::Sub": f"{ARN.format('sns')}:{topic['TopicName']}"}
    if key.get("Condition", {}) != {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": arn}}:
        yield "SES cannot encrypt for the topic, or for any topic"
    if topic.get("KmsMasterKeyId") != {"Fn::GetAtt": ["OperationsKey", "Arn"]}:
        yield "the topic is not encrypted"
    destination = read["Resources"]["MailFeedback"]
    if destination["Properties"]["EventDestination"]["MatchingEventTypes"] != ["bounce", "complaint"]:
        yield "other events are reported"
    if destination.get("DependsOn") != "MailFeedbackTopicPolicy":
        yield "SES checks the topic before it may publish"


def lost_mail(read: dict[str, Any]) -> Iterator[str]:
    """Require queues that are encrypted with a KMS key. After three failures, an order is a dead letter for a day.

    The function must end before an order is delivered again. Only the queue of mails may fill the dead letters.
    """
    queue, dead = properties(read, "MailQueue"), properties(read, "MailDeadLetters")
    if not (queue.get("KmsMasterKeyId") == dead.get("KmsMasterKeyId") == "alias/aws/sqs"):
        yield "a queue is not encrypted with a key of KMS"
    if (queue["MessageRetentionPeriod"], dead["MessageRetentionPeriod"]) != (HOUR_S, DAY_S):
        yield "an order is kept for another time"
    if queue["VisibilityTimeout"] != 60 or configuration()["lambda_timeout"] >= 60:
        yield "an order is delivered again while it is processed"
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["MailDeadLetters", "Arn"]}, "maxReceiveCount": 3}
    if queue.get("RedrivePolicy") != redrive:
        yield "an order that failed is lost"
    if "RedriveAllowPolicy" not in dead:
        yield "every queue may fill the dead letters"
    for name, resource in read["Resources"].items():
        if resource["Type"].startswith(("AWS::SQS::", "AWS::SES::")) and "Condition" not in resource:
            yield f"{name} exists without mail"


Rule = Callable[[dict[str, Any]], Iterator[str]]
Plant = Callable[[dict[str, Any]], object]


def _arns_of_logs(read: dict[str, Any]) -> list[Any]:
    condition = properties(read, "OperationsKey")["KeyPolicy"]["Statement"][1]["Condition"]
    found: list[Any] = condition["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    return found


def _of_feedback(read: dict[str, Any]) -> list[Any]:
    found: list[Any] = properties(read, "MailFeedbackTopicPolicy")["PolicyDocument"]["Statement"]
    return found


FAULTS: list[tuple[Rule, Plant]] = [
    (wrong_protection, lambda read: properties(read, "Users").pop("SSESpecification")),
    (wrong_protection, lambda read: properties(read, "Lineages").pop("PointInTimeRecoverySpecification")),
    (wrong_protection, lambda read: properties(read, "Lineages").update(DeletionProtectionEnabled=False)),
    (wrong_protection, lambda read: properties(read, "Audit").update(BillingMode="PROVISIONED")),
    (wrong_protection, lambda read: read["Resources"]["Users"].update(DeletionPolicy="Delete")),
    (open_key, lambda read: properties(read, "Key")["KeyPolicy"]["Statement"][0].update(Principal="*")),
    (open_key, lambda read: properties(read, "Key")["KeyPolicy"]["Statement"][0].update(Principal={"AWS": ["*"]})),
    (open_key, lambda read: properties(read, "OperationsKey")["KeyPolicy"]["Statement"][2].pop("Condition")),
    (
        alarms_cannot_encrypt,
        lambda read: properties(read, "OperationsKey")["KeyPolicy"]["Statement"][2].update(
            Condition={"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
        ),
    ),
    (unprotected_key, lambda read: properties(read, "Key").pop("EnableKeyRotation")),
    (unprotected_key, lambda read: read["Resources"]["Key"].pop("DeletionPolicy")),
    (missing_backup, lambda read: properties(read, "RestoredSelection")["BackupSelection"].update(Resources=[])),
    (missing_backup, lambda read: properties(read, "BackupSelection")["BackupSelection"]["Resources"].pop()),
    (missing_backup, lambda read: properties(read, "Vault").pop("LockConfiguration")),
    (log_group_without_retention, lambda read: properties(read, "LogGroup").pop("RetentionInDays")),
    (log_group_without_retention, lambda read: properties(read, "RotateKeysLogGroup").pop("KmsKeyId")),
    (wrong_log_encryption, lambda read: read["Resources"].pop("AuditConfigurationLogGroup")),
    (wrong_log_encryption, lambda read: _arns_of_logs(read).pop()),
    (
        wrong_log_encryption,
        lambda read: _arns_of_logs(read).append({"Fn::Sub": "${AWS::Region}:log-group:*"}),
    ),
    (forged_feedback, lambda read: _of_feedback(read)[0].update(Principal="*")),
    (forged_feedback, lambda read: _of_feedback(read)[0].pop("Condition")),
    (forged_feedback, lambda read: _of_feedback(read)[0]["Condition"].pop("ArnEquals")),
    (forged_feedback, lambda read: _of_feedback(read)[1].update(Effect="Allow")),
    (forged_feedback, lambda read: _of_feedback(read)[1].update(Condition={})),
    (forged_feedback, lambda read: properties(read, "MailFeedbackTopic").pop("KmsMasterKeyId")),
    (forged_feedback, lambda read: read["Resources"]["MailFeedback"].pop("DependsOn")),
    (
        forged_feedback,
        lambda read: properties(read, "MailFeedback")["EventDestination"].update(MatchingEventTypes=["send"]),
    ),
    (forged_feedback, lambda read: properties(read, "MailFeedbackTopic").update(TopicName="another")),
    (lost_mail, lambda read: properties(read, "MailQueue").pop("KmsMasterKeyId")),
    (lost_mail, lambda read: properties(read, "MailQueue").update(MessageRetentionPeriod=345600)),
    (lost_mail, lambda read: properties(read, "MailDeadLetters").update(MessageRetentionPeriod=HOUR_S)),
    (lost_mail, lambda read: properties(read, "MailQueue").update(VisibilityTimeout=10)),
    (lost_mail, lambda read: properties(read, "MailQueue")["RedrivePolicy"].update(maxReceiveCount=1)),
    (lost_mail, lambda read: properties(read, "MailDeadLetters").pop("RedriveAllowPolicy")),
    (lost_mail, lambda read: read["Resources"]["MailIdentity"].pop("Condition")),
]
RULES = list(dict.fromkeys(rule for rule, _ in FAULTS))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_template_follows_its_rules(rule: Rule) -> None:
    """No rule reports a problem."""
    assert list(rule(data())) == []


@pytest.mark.parametrize(("rule", "plant"), FAULTS, ids=[f"{rule.__name__}{at}" for at, (rule, _) in enumerate(FAULTS)])
def test_a_broken_template_is_noticed(rule: Rule, plant: Plant) -> None:
    """Each seeded fault gives one problem."""
    broken = data()
    plant(broken)
    assert len(list(rule(broken))) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_the_settings_of_a_stage_match_the_template(stage: str) -> None:
    """The settings and the policy of a stage have the key alias, tables and log group that the template creates."""
    settings = configuration()["stages"][stage]["environment_variables"]
    named = template.resolve(data()["Resources"], names_of(stage))
    assert settings["BATON_KEY_RING"] == f"kms:{named['KeyAlias']['Properties']['AliasName']}"
    config = configuration()
    config["stages"][stage]["environment_variables"] |= {
        "BATON_CLIENTS": "clients-dev.toml",  # a team writes the registry of prod
        "BATON_MAIL": "ses",
        "BATON_MAIL_FROM": "login@example.com",
        "BATON_MAIL_QUEUE": f"https://sqs.REGION.amazonaws.com/ACCOUNT/baton-{stage}-mail",
    }
    policies = [
        (template.ROOT / ".chalice" / file).read_text("utf-8") for file in stage_named(stage, config).policies.values()
    ]
    for name in template.tables(settings["BATON_TABLE_PREFIX"]):
        assert f"table/{name}" in policies[0]
    jobs = (
        "",
        "RotateKeys",
        "AuditConfiguration",
        "AndroidRevocations",
        "AppleRevocations",
        "Operate",
        "Jobs",
        "MailFeedback",
    )
    groups = [properties({"Resources": named}, f"{job}LogGroup") for job in jobs]
    for group, policy in zip(groups, policies, strict=True):
        assert f"log-group:{group['LogGroupName']}:*" in policy
    queue = properties({"Resources": named}, "MailQueue")["QueueName"]
    assert f":sqs:REGION:ACCOUNT:{queue}" in policies[0]
    of_the_queue = policies[jobs.index("Jobs")]
    assert f":sqs:REGION:ACCOUNT:{queue}" in of_the_queue
    settings_of_mail = properties({"Resources": named}, "MailConfigurationSet")["Name"]
    assert f":configuration-set/{settings_of_mail}" in of_the_queue


def test_unknown_references_stay_unresolved() -> None:
    """``resolve`` replaces known names. CloudFormation resolves the others."""
    value = template.parse("a: !Sub ${Prefix}-${AWS::Region}\nb: !Ref Prefix\nc: !Ref Other\nd: !GetAtt Key.Arn")
    assert template.resolve(value, {"Prefix": "x"}) == {
        "a": {"Fn::Sub": "x-${AWS::Region}"},
        "b": "x",
        "c": {"Ref": "Other"},
        "d": {"Fn::GetAtt": ["Key", "Arn"]},
    }
