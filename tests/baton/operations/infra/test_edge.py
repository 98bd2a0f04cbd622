"""``infra/edge.yaml`` as deployed: Chalice merges it with its own template, and ``make package`` hardens the result."""

import ast
import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from chalicelib.baton.events.log import _MEASURED
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.http.answer import EXPOSED_FIELDS, status_and_error
from chalicelib.baton.policy import (
    FAILURES_PER_ACCOUNT_MAX,
    FAILURES_PER_SOURCE_MAX,
    HOUR_S,
    MAIL_CODE_TRIES_MAX,
    MAIL_SESSIONS_PER_SOURCE_MAX,
    REGISTRATIONS_PER_SOURCE_MAX,
    THROTTLE_WINDOW_S,
)
from chalicelib.baton.routing import Dialect
from tests.baton.repository import ours_only
from tools import package, template
from tools.errors_page import leaves
from tools.moving.commands import EXPORTED
from tools.package import hardened, readable_by_pages

ROOT = template.ROOT
RUNBOOKS = {
    "token-theft-wave",
    "signing-key-leak",
    "restore-from-backup",
    "kms-key-lost",
    "throttling",
    "lock-out-complaints",
    "rollback",
    "apple",
    "attestation",
    "daily-jobs",
    "mail",
    "accounts-exported",
}
FUNCTIONS = {
    "APIHandler": "",
    "RotateKeys": "-rotate_keys",
    "AuditConfiguration": "-audit_configuration",
    "AndroidRevocations": "-android_revocations",
    "AppleRevocations": "-apple_revocations",
    "Operate": "-operate",
}
MEMBERS = {"type", "title", "status", "detail", "error", "code", "action", "retryable", "request_id"}
LOGGED = {
    "$context.requestId",
    "$context.requestTimeEpoch",
    "$context.identity.sourceIp",
    "$context.httpMethod",
    "$context.resourcePath",
    "$context.status",
    "$context.error.responseType",
    "$context.wafResponseCode",
    "$context.responseLatency",
    "$context.integrationLatency",
    "$context.responseLength",
}


@pytest.fixture(scope="module")
def merged(packaged: Callable[[str], Path]) -> dict[str, Any]:
    """Package, and read the template."""
    return template.read(packaged("x86_64") / "sam.yaml")


def properties(read: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the properties of a resource."""
    found: dict[str, Any] = read["Resources"][name]["Properties"]
    return found


def api(read: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of the API."""
    found: dict[str, Any] = properties(read, "RestAPI")["DefinitionBody"]
    return found


def answers(read: dict[str, Any]) -> dict[str, Any]:
    """Return the answers that the gateway itself gives."""
    found: dict[str, Any] = api(read)["x-amazon-apigateway-gateway-responses"]
    return found


def route_without_alias(read: dict[str, Any]) -> Iterator[str]:
    """Yield each route that does not call the alias ``live``: a rollback would not change it."""
    for path, methods in api(read)["paths"].items():
        for method, described in methods.items():
            uri = json.dumps(described["x-amazon-apigateway-integration"].get("uri", ""))
            if "functions/${APIHandlerAliaslive}/invocations" not in uri:
                yield f"{method} {path} calls {uri}"
    if properties(read, "APIHandlerInvokePermission")["FunctionName"] != {"Ref": "APIHandlerAliaslive"}:
        yield "the gateway may not call the alias"
    if properties(read, "APIHandler").get("AutoPublishAlias") != "live":
        yield "there is no alias"


def second_stage(read: dict[str, Any]) -> Iterator[str]:
    """Require ``OpenApiVersion``: otherwise SAM adds a stage ``Stage`` without firewall, throttling and log."""
    if properties(read, "RestAPI").get("OpenApiVersion") != api(read)["swagger"]:
        yield "a stage named Stage is open"


def log_before_its_role(read: dict[str, Any]) -> Iterator[str]:
    """Require that the log group waits for the role with which API Gateway writes, and the stage for the log group."""
    after = {"After": {"Fn::If": ["LetGatewayLog", {"Ref": "GatewayAccount"}, {"Ref": "AWS::NoValue"}]}}
    if read["Resources"]["AccessLogs"].get("Metadata") != after:
        yield "the log group does not wait for the role"
    if "${AccessLogs}" not in properties(read, "RestAPI")["AccessLogSetting"]["DestinationArn"]["Fn::Sub"]:
        yield "the stage does not wait for its log group"


def domain_without_stage(read: dict[str, Any]) -> Iterator[str]:
    """Require that the domain is the host of the issuer, and leads to this stage."""
    if properties(read, "DomainMapping").get("Stage") != {"Ref": "RestAPI.Stage"}:
        yield "the domain leads to no stage"
    if properties(read, "Domain").get("DomainName") != {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "Issuer"}]}]}:
        yield "the domain is not the issuer's"


def circular_dependency(read: dict[str, Any]) -> Iterator[str]:
    """Yield a cycle of resources, which cannot be created. cfn-lint does not see it behind the SAM transform."""
    needs = {
        name: {
            needed.removesuffix("Aliaslive")
            for needed in re.findall(r'(?:"Ref": "|"Fn::GetAtt": \["|\$\{)(\w+)', json.dumps(resource))
        }
        for name, resource in read["Resources"].items()
    }
    try:
        list(TopologicalSorter(needs).static_order())
    except CycleError as cycle:
        yield " -> ".join(cycle.args[1])


def open_placeholder(read: dict[str, Any]) -> Iterator[str]:
    """Yield each placeholder that an operator would have to replace by hand."""
    yield from re.findall(r"\bREGION\b|\bACCOUNT\b|/KEY\b|/API/|api\.example\.com", json.dumps(read))


def answer_unlike_the_code(read: dict[str, Any]) -> Iterator[str]:
    """Yield each gateway answer that differs from the answer of the code with the same error."""
    codes: dict[str, Any] = {leaf.code: leaf() for leaf in leaves()}
    for name, answer in answers(read).items():
        (text,) = answer["responseTemplates"].values()
        said = json.loads(text)
        refusal = codes[said["code"]]
        wanted = status_and_error(refusal, Dialect.PROBLEM)
        if said.keys() != MEMBERS or said["request_id"] != "$context.requestId":
            yield f"{name} has other members"
        if (said["status"], said["error"]) != wanted and said["code"] != "too_large":
            yield f"{name} is another error"
        if (said["action"], said["retryable"]) != (refusal.action, refusal.retryable):
            yield f"{name} has another action"
        if int(answer["statusCode"]) != said["status"]:
            yield f"{name} has another status than its body"
        if said["retryable"] != ("gatewayresponse.header.Retry-After" in answer["responseParameters"]):
            yield f"{name} has no Retry-After"


def answer_that_ends_a_login(read: dict[str, Any]) -> Iterator[str]:
    """Yield each gateway answer with 401 or 403: an app would treat it as the end of the login."""
    for name in ("DEFAULT_4XX", "DEFAULT_5XX", "MISSING_AUTHENTICATION_TOKEN"):
        if name not in answers(read):
            yield f"{name} is AWS's own"
    for name, answer in answers(read).items():
        if answer["statusCode"] in {"401", "403"}:
            yield f"{name} looks like a refused login"


def logs_too_much(read: dict[str, Any]) -> Iterator[str]:
    """Yield each log setting that records more than the listed fields."""
    line = properties(read, "RestAPI")["AccessLogSetting"]["Format"]
    json.loads(line)
    yield from set(re.findall(r"\$[\w.]+", line)) - LOGGED
    for settings in properties(read, "RestAPI")["MethodSettings"]:
        if settings["LoggingLevel"] != "OFF" or settings["DataTraceEnabled"]:
            yield f"execution logs of {settings['ResourcePath']}"
    for name, firewall in template.of_type(read, "AWS::WAFv2::WebACL").items():
        if '"SampledRequestsEnabled": true' in json.dumps(firewall):
            yield f"{name} keeps samples, Authorization header included"


def missing_throttling(read: dict[str, Any]) -> Iterator[str]:
    """Require a throttle for the stage, and for ``/login``, ``/register`` and ``/step-up``, which hash a password."""
    limits = {
        (one["HttpMethod"], one["ResourcePath"]): "ThrottlingRateLimit" in one and "ThrottlingBurstLimit" in one
        for one in properties(read, "RestAPI")["MethodSettings"]
    }
    for route in (("*", "/*"), ("POST", "/~1login"), ("POST", "/~1register"), ("POST", "/~1step-up")):
        if not limits.get(route):
            yield f"{route} has no limit"


def open_firewall(read: dict[str, Any]) -> Iterator[str]:
    """Require six firewall rules, attached to this stage."""
    rules = {rule["Name"]: rule for rule in properties(read, "Firewall")["Rules"]}
    wanted = {"requests-per-source", "logins-per-source", "body-size", "reputation", "known-bad-inputs", "common"}
    yield from wanted - rules.keys()
    for rule in rules.values():
        if "Count" in rule.get("Action", {}) or "Count" in rule.get("OverrideAction", {}):
            yield f"{rule['Name']} only counts"
    association = json.dumps(template.of_type(read, "AWS::WAFv2::WebACLAssociation"))
    if "/restapis/${RestAPI}/stages/${RestAPI.Stage}" not in association:
        yield "the firewall is attached to no stage"


def metrics() -> set[str]:
    """Collect the metrics of the code: every event of a flow, and one for each refusal."""
    recorded = {f"refused_{leaf.code}" for leaf in leaves()} | set(_MEASURED) | {EXPORTED}
    recorded |= {f"{event}_accounts" for event, kind in EVENTS.items() if kind.per_account}
    for path in (ROOT / "chalicelib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr == "record":
                event = node.args[0]
                if isinstance(event, ast.Constant):
                    recorded.add(str(event.value))
    return recorded


def alarm_without_metric(read: dict[str, Any]) -> Iterator[str]:
    """Yield each alarm on a metric that the code does not emit, or on another deployment."""
    counted = metrics()
    for name, alarm in template.of_type(read, "AWS::CloudWatch::Alarm").items():
        for watched in watched_by(alarm):
            if watched["Namespace"] == "Baton":
                if watched["MetricName"] not in counted:
                    yield f"{name} watches {watched['MetricName']}"
                if watched["Dimensions"] != [{"Name": "service", "Value": {"Ref": "Prefix"}}]:
                    yield f"{name} watches another service"


def watched_by(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of an alarm: one, or those of its expression."""
    stats = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", ()) if "MetricStat" in one]
    return stats or [alarm]


ONE_NETWORK_AN_HOUR = 2 * REGISTRATIONS_PER_SOURCE_MAX + (HOUR_S // THROTTLE_WINDOW_S + 1) * (
    FAILURES_PER_SOURCE_MAX // FAILURES_PER_ACCOUNT_MAX
)
"""The number of accounts that one network can make an alarm count in an hour, by registrations or by wrong passwords.
An hour overlaps two windows of registrations, and one more window of failures than it contains."""

NOT_A_STRANGERS = {
    *(
        "generation_ahead",
        "configuration_mismatch",
        "internal_error",
        "audit_write_failed",
        "configuration_findings",
        "signing_key_age_days",
        "attestation_lowered",  # by an operator alone
        "revocation_list_stale",  # by Google, or a network
        "apple_revocations_stuck",  # by Apple, a network, or a wrong key
        EXPORTED,
    ),
    *("Errors", "Throttles", "WriteThrottleEvents", "Latency"),
    *("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"),
}
"""Metrics that one stranger cannot raise: wrong data or settings, defects, and load above the limit of one client."""


def alarm_for_one_stranger(read: dict[str, Any]) -> Iterator[str]:
    """Yield each alarm that one stranger can trigger: operators would turn it off."""
    one = {"accounts": ONE_NETWORK_AN_HOUR, "foreign": ONE_NETWORK_AN_HOUR}  # with no other client
    one |= {"unavailable": 1000, "errors": 1000, "by_caller": 1000}
    guesses = MAIL_SESSIONS_PER_SOURCE_MAX * MAIL_CODE_TRIES_MAX
    ways = {"token_reused_accounts", "throttled_accounts", "exchange_wrong_key", "refused_unavailable", "5XXError"}
    for name, alarm in template.of_type(read, "AWS::CloudWatch::Alarm").items():
        first = watched_by(alarm)[0]["MetricName"]
        if first == "mail_codes_guessed" and alarm["Period"] == HOUR_S and alarm["Threshold"] > 2 * guesses:
            continue  # an hour overlaps two windows of sessions
        if first in ways:
            if "Metrics" not in alarm or rings(read, name, one):
                yield f"{name} fires because of one stranger"
            elif first.endswith("_accounts") and period_s(alarm) != HOUR_S:
                yield f"{name} has not a period of one hour"
        elif first not in NOT_A_STRANGERS:
            yield f"{name} uses {first}, which one stranger can raise"


def period_s(alarm: dict[str, Any]) -> int:
    """Return the period of an alarm's metrics, in seconds."""
    (period,) = {query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query}
    return int(period)


def rings(read: dict[str, Any], name: str, sums: Mapping[str, float]) -> bool:
    """Compute the alarm as CloudWatch does: the expression over the sums of a period, compared with the threshold.

    A metric without a sum has no data in the period. ``FILL`` replaces it by a number.
    """
    parameters = {one: str(row["Default"]) for one, row in read["Parameters"].items() if "Default" in row}
    alarm = template.resolve(properties(read, name), parameters)
    ids = [query["Id"] for query in alarm["Metrics"] if "MetricStat" in query]
    (expression,) = [query["Expression"] for query in alarm["Metrics"] if query.get("ReturnData", True)]
    functions = {
        "FILL": lambda series, value: value if series is None else series,
        "IF": lambda condition, yes, no: yes if condition else no,
    }
    value = eval(expression, {"__builtins__": {}}, {**{one: sums.get(one) for one in ids}, **functions})  # noqa: S307 - an expression of Baton's template
    strict = alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return bool(value > float(alarm["Threshold"]) if strict else value >= float(alarm["Threshold"]))


def alarm_of_another_queue(read: dict[str, Any]) -> Iterator[str]:
    """Require an alarm on the first dead letter, and one before the queue deletes an old order. Both need a queue."""
    data = template.read(template.DATA)
    dead, queue = (properties(data, name) for name in ("MailDeadLetters", "MailQueue"))
    for name, watched, most in (
        ("MailDeadLetters", dead, 1),
        ("MailQueueOld", queue, queue["MessageRetentionPeriod"] // 2),
    ):
        alarm = properties(read, name)
        if alarm["Dimensions"] != [{"Name": "QueueName", "Value": watched["QueueName"]}]:
            yield f"{name} watches another queue"
        if alarm["Threshold"] > most:
            yield f"{name} fires too late"
        if read["Resources"][name].get("Condition") != "HasQueue":
            yield f"{name} waits for a queue that does not exist"


def watches_replaced_tables(read: dict[str, Any]) -> Iterator[str]:
    """Require the prefix of the tables in each table name: after a restore it differs from the stage prefix."""
    named = template.resolve(read, {"Prefix": "baton-prod", "Tables": "baton-prod2"})["Resources"]
    if named["GateThrottles"]["Properties"]["Dimensions"][0]["Value"] != "baton-prod2-lineages":
        yield "the alarm reads the replaced tables"
    variables = named["APIHandler"]["Properties"]["Environment"]["Variables"]
    if (variables["BATON_DEPLOYMENT"], variables["BATON_TABLE_PREFIX"]) != ("baton-prod", "baton-prod2"):
        yield "the function uses the replaced tables, or another metric name"


def alarm_without_runbook(read: dict[str, Any]) -> Iterator[str]:
    """Yield each alarm that does not notify the topic, or names no runbook."""
    for name, alarm in template.of_type(read, "AWS::CloudWatch::Alarm").items():
        named = set(re.findall(r"docs/baton/runbooks/([a-z-]+)\.md", alarm["AlarmDescription"]))
        if not named or not named <= RUNBOOKS:
            yield f"{name} names no page"
        if alarm["AlarmActions"] != [{"Ref": "Alarms"}]:
            yield f"{name} has no action"


def graph_without_metric(read: dict[str, Any]) -> Iterator[str]:
    """Yield each graph of a metric that the code does not emit."""
    counted = metrics()
    for name, dashboard in template.of_type(read, "AWS::CloudWatch::Dashboard").items():
        for widget in json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]:
            before: list[Any] = []
            for written in widget["properties"]["metrics"]:
                metric = before if written[0] == "..." else written
                metric = [before[at] if part == "." else part for at, part in enumerate(metric)]
                if metric[0] == "Baton" and metric[1] not in counted:
                    yield f"{name} draws {metric[1]}"
                if metric[0] == "Baton" and metric[2:4] != ["service", "${Prefix}"]:
                    yield f"{name} draws {metric[1]} of another service"
                before = metric


def wrong_function_name(read: dict[str, Any]) -> Iterator[str]:
    """Yield each function whose name, log group or settings differ from those of `chalice deploy`."""
    for logical, job in FUNCTIONS.items():
        function = properties(read, logical)
        named = template.resolve(function, {"Prefix": "baton-prod"})
        if named.get("FunctionName") != f"baton-prod{job}":
            yield f"{logical} is named {named.get('FunctionName')}"
        if named.get("LoggingConfig") != {"LogGroup": f"/aws/lambda/baton-prod{job}"}:
            yield f"{logical} writes to another log group"
        if function["Environment"] != properties(read, "APIHandler")["Environment"]:
            yield f"{logical} has settings of its own"


def silent_daily_job(read: dict[str, Any]) -> Iterator[str]:
    """Require an alarm on the result of each daily job, and one if there is no result for two days."""
    for metric in sorted(_MEASURED):
        said = {
            (alarm["TreatMissingData"], alarm["Period"] * alarm["EvaluationPeriods"])
            for alarm in template.of_type(read, "AWS::CloudWatch::Alarm").values()
            if alarm.get("MetricName") == metric
        }
        if said != {("notBreaching", 86400), ("breaching", 2 * 86400)}:
            yield f"{metric} may stop without an alarm"


def log_group_without_retention(read: dict[str, Any]) -> Iterator[str]:
    """Yield each log group without a retention or a key."""
    for name, group in template.of_type(read, "AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group or "KmsKeyId" not in group:
            yield f"{name} has no retention or no key"


def _stat(read: dict[str, Any], name: str, at: int) -> dict[str, Any]:
    found: dict[str, Any] = properties(read, name)["Metrics"][at]["MetricStat"]
    return found


def _metric(read: dict[str, Any], name: str, at: int) -> dict[str, Any]:
    found: dict[str, Any] = _stat(read, name, at)["Metric"]
    return found


Rule = Callable[[dict[str, Any]], Iterator[str]]
Plant = Callable[[dict[str, Any]], object]


def _of_login(read: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api(read)["paths"]["/login"]["post"]["x-amazon-apigateway-integration"]
    return found


def _say(name: str, **members: object) -> Plant:
    def plant(read: dict[str, Any]) -> None:
        answer = answers(read)[name]
        text = answer["responseTemplates"]["application/json"]
        answer["responseTemplates"] = {"application/json": json.dumps(json.loads(text) | members)}

    return plant


FAULTS: list[tuple[Rule, Plant]] = [
    (
        route_without_alias,
        lambda read: _of_login(read).update(uri={"Fn::Sub": "functions/${APIHandler.Arn}/invocations"}),
    ),
    (route_without_alias, lambda read: properties(read, "APIHandlerInvokePermission").update(FunctionName="x")),
    (route_without_alias, lambda read: properties(read, "APIHandler").pop("AutoPublishAlias")),
    (second_stage, lambda read: properties(read, "RestAPI").pop("OpenApiVersion")),
    (log_before_its_role, lambda read: read["Resources"]["AccessLogs"].pop("Metadata")),
    (
        log_before_its_role,
        lambda read: properties(read, "RestAPI")["AccessLogSetting"].update(DestinationArn={"Fn::Sub": "arn:x"}),
    ),
    (domain_without_stage, lambda read: properties(read, "DomainMapping").pop("Stage")),
    (domain_without_stage, lambda read: properties(read, "Domain").update(DomainName="api.example.org")),
    (
        circular_dependency,
        lambda read: properties(read, "ApiHandlerRole").update(Policies=[{"Fn::Sub": "${RestAPI}"}]),
    ),
    (open_placeholder, lambda read: properties(read, "Alarms").update(TopicName="ACCOUNT")),
    (answer_unlike_the_code, _say("THROTTLED", action="log_in")),
    (answer_unlike_the_code, _say("THROTTLED", hint="x")),
    (answer_unlike_the_code, _say("DEFAULT_5XX", error="server_error")),
    (answer_unlike_the_code, lambda read: answers(read)["THROTTLED"].update(statusCode="400")),
    (answer_unlike_the_code, lambda read: answers(read)["DEFAULT_5XX"].update(responseParameters={})),
    (answer_that_ends_a_login, lambda read: answers(read).pop("DEFAULT_4XX")),
    (answer_that_ends_a_login, lambda read: answers(read)["DEFAULT_4XX"].update(statusCode="403")),
    (logs_too_much, lambda read: properties(read, "RestAPI")["AccessLogSetting"].update(Format='["$context.path"]')),
    (logs_too_much, lambda read: properties(read, "RestAPI")["MethodSettings"][1].update(DataTraceEnabled=True)),
    (
        logs_too_much,
        lambda read: properties(read, "Firewall")["Rules"][0]["VisibilityConfig"].update(SampledRequestsEnabled=True),
    ),
    (missing_throttling, lambda read: properties(read, "RestAPI")["MethodSettings"].pop()),
    (open_firewall, lambda read: properties(read, "Firewall")["Rules"].pop()),
    (open_firewall, lambda read: properties(read, "Firewall")["Rules"][0].update(Action={"Count": {}})),
    (open_firewall, lambda read: properties(read, "FirewallAssociation").update(ResourceArn="x")),
    (alarm_without_metric, lambda read: properties(read, "GenerationsAhead").update(MetricName="generation_ahed")),
    (alarm_without_metric, lambda read: properties(read, "GenerationsAhead").update(Dimensions=[])),
    (
        alarm_without_metric,
        lambda read: _metric(read, "TokensReused", 2).update(MetricName="x"),
    ),
    (alarm_for_one_stranger, lambda read: properties(read, "TokensReused").update(Threshold=249)),
    (alarm_for_one_stranger, lambda read: _metric(read, "TokensReused", 1).update(MetricName="token_reused")),
    (alarm_for_one_stranger, lambda read: _metric(read, "Throttled", 1).update(MetricName="throttled")),
    (alarm_for_one_stranger, lambda read: [_stat(read, "Throttled", at).update(Period=300) for at in (1, 2)]),
    (alarm_for_one_stranger, lambda read: properties(read, "ForeignKeys")["Metrics"][0].update(Expression="foreign")),
    (alarm_for_one_stranger, lambda read: properties(read, "Defects").update(MetricName="password_refused")),
    (alarm_for_one_stranger, lambda read: properties(read, "Defects").update(MetricName="refused_unavailable")),
    (
        alarm_for_one_stranger,
        lambda read: properties(read, "Unavailable")["Metrics"][0].update(Expression="unavailable"),
    ),
    (alarm_for_one_stranger, lambda read: properties(read, "ServerErrors")["Metrics"][0].update(Expression="errors")),
    (
        watches_replaced_tables,
        lambda read: properties(read, "GateThrottles").update(
            Dimensions=[{"Value": {"Fn::Sub": "${Prefix}-lineages"}}]
        ),
    ),
    (
        watches_replaced_tables,
        lambda read: properties(read, "APIHandler")["Environment"]["Variables"].update(
            BATON_TABLE_PREFIX={"Ref": "Prefix"}
        ),
    ),
    (
        alarm_without_runbook,
        lambda read: properties(read, "Defects").update(AlarmDescription="docs/baton/runbooks/nothing.md"),
    ),
    (alarm_without_runbook, lambda read: properties(read, "Defects").update(AlarmActions=[])),
    (alarm_for_one_stranger, lambda read: properties(read, "MailCodesGuessed").update(Threshold=300)),
    (alarm_of_another_queue, lambda read: properties(read, "MailDeadLetters").update(Dimensions=[])),
    (alarm_of_another_queue, lambda read: properties(read, "MailQueueOld").update(Threshold=3600)),
    (alarm_of_another_queue, lambda read: read["Resources"]["MailQueueOld"].pop("Condition")),
    (
        graph_without_metric,
        lambda read: properties(read, "Dashboard")["DashboardBody"].update(
            {"Fn::Sub": '{"widgets": [{"properties": {"metrics": [["Baton", "logged_inn", "service", "${Prefix}"]]}}]}'}
        ),
    ),
    (
        graph_without_metric,
        lambda read: properties(read, "Dashboard")["DashboardBody"].update(
            {"Fn::Sub": '{"widgets": [{"properties": {"metrics": [["Baton", "logged_in", "service", "baton"]]}}]}'}
        ),
    ),
    (
        alarm_without_metric,
        lambda read: properties(read, "Findings").update(Dimensions=[{"Name": "service", "Value": "x"}]),
    ),
    (wrong_function_name, lambda read: properties(read, "APIHandler").pop("FunctionName")),
    (wrong_function_name, lambda read: properties(read, "RotateKeys").update(LoggingConfig={})),
    (wrong_function_name, lambda read: properties(read, "AuditConfiguration").update(Environment={})),
    (silent_daily_job, lambda read: read["Resources"].pop("FindingsMissing")),
    (silent_daily_job, lambda read: properties(read, "SigningKeyAgeMissing").update(TreatMissingData="notBreaching")),
    (silent_daily_job, lambda read: properties(read, "SigningKeyAgeMissing").update(EvaluationPeriods=1)),
    (log_group_without_retention, lambda read: properties(read, "AccessLogs").pop("RetentionInDays")),
]
RULES = list(dict.fromkeys(rule for rule, _ in FAULTS))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_template_follows_its_rules(merged: dict[str, Any], rule: Rule) -> None:
    """No rule reports a problem."""
    assert list(rule(merged)) == []


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize(("rule", "plant"), FAULTS, ids=[f"{rule.__name__}{at}" for at, (rule, _) in enumerate(FAULTS)])
def test_a_broken_template_is_noticed(merged: dict[str, Any], rule: Rule, plant: Plant) -> None:
    """Each seeded fault gives one problem."""
    broken = copy.deepcopy(merged)
    plant(broken)
    assert len(list(rule(broken))) == 1


@pytest.mark.parametrize(
    ("name", "sums", "ringing"),
    [
        pytest.param("TokensReused", {"accounts": 250, "exchanged": 250}, False, id="one attacker's own accounts"),
        pytest.param("TokensReused", {"accounts": 250}, False, id="the same without other traffic"),
        pytest.param("TokensReused", {"accounts": 400, "exchanged": 20_000}, True, id="a wave: one in fifty"),
        pytest.param("TokensReused", {"accounts": 5_000, "exchanged": 1_000_000}, False, id="a calm hour of millions"),
        pytest.param("TokensReused", {"accounts": 6_000, "exchanged": 1_000_000}, True, id="a wave among millions"),
        pytest.param("ForeignKeys", {"foreign": 250, "exchanged": 10}, False, id="one attacker's keys"),
        pytest.param("ForeignKeys", {"foreign": 300, "exchanged": 5_000}, True, id="a leak of bound tokens"),
        pytest.param("ForeignKeys", {"foreign": 300, "exchanged": 6_000}, False, id="few among many"),
        pytest.param("Throttled", {"accounts": 250, "begun": 10}, False, id="one network guesses"),
        pytest.param("Throttled", {"accounts": 400, "begun": 1_000}, True, id="many networks guess"),
        pytest.param("Unavailable", {"unavailable": 4}, False, id="a hiccup"),
        pytest.param("Unavailable", {"unavailable": 5}, True, id="KMS or a table does not answer"),
        pytest.param("Unavailable", {"unavailable": 90, "by_caller": 88}, False, id="one caller in its own way"),
        pytest.param("Unavailable", {"unavailable": 90, "by_caller": 60}, True, id="the same, in an outage"),
        pytest.param("ServerErrors", {"errors": 10}, True, id="something answers 5xx"),
        pytest.param("ServerErrors", {"errors": 90, "by_caller": 88}, False, id="one caller's 503"),
    ],
)
def test_an_alarm_needs_many_accounts(
    merged: dict[str, Any], name: str, sums: dict[str, float], *, ringing: bool
) -> None:
    """docs/baton/metrics.md explains the numbers."""
    assert rings(merged, name, sums) is ringing


MAIL = {
    "BATON_MAIL": "ses",
    "BATON_MAIL_FROM": "Example <login@example.com>",
    "BATON_MAIL_QUEUE": "https://sqs.REGION.amazonaws.com/ACCOUNT/baton-prod-mail",
}


@pytest.fixture(scope="module")
def with_mail() -> dict[str, Any]:
    """Package the stage ``prod`` with the settings of docs/baton/mail.md, and read the template."""
    config = package.configuration()
    config["stages"]["prod"]["environment_variables"] |= MAIL
    with pytest.MonkeyPatch.context() as patch, package.alone():
        patch.setattr(package, "configuration", lambda: copy.deepcopy(config))
        archive = package.build("prod", "x86_64", clients="clients-dev.toml")
        return template.parse(archive.with_name("sam.yaml").read_text("utf-8"))


@pytest.mark.prove(ci=True)
def test_a_stage_with_mail_has_the_function_of_the_queue(with_mail: dict[str, Any], merged: dict[str, Any]) -> None:
    """The function has its own log group, the settings of the API, the queue as its source, and the sender.

    A stage without a queue has neither the function nor a resource without a type.
    """
    assert [list(rule(with_mail)) for rule in RULES] == [[] for _ in RULES]
    made = with_mail["Resources"].keys() - merged["Resources"].keys()
    assert made == {"Jobs", "JobsRole", "MailFeedback", "MailFeedbackRole"}
    jobs = template.resolve(properties(with_mail, "Jobs"), {"Prefix": "baton-prod"})
    assert (jobs["FunctionName"], jobs["LoggingConfig"]) == (
        "baton-prod-jobs",
        {"LogGroup": "/aws/lambda/baton-prod-jobs"},
    )
    assert jobs["Timeout"] < 60, "SQS delivers an order again after 60 seconds"
    ((_, source),) = jobs["Events"].items()
    assert source["Type"] == "SQS"
    assert source["Properties"]["Queue"]["Fn::Sub"].endswith(":baton-prod-mail")
    assert source["Properties"]["BatchSize"] == 1
    settings = jobs["Environment"]["Variables"]
    queue = "https://sqs.${AWS::Region}.amazonaws.com/${AWS::AccountId}/baton-prod-mail"
    assert settings["BATON_MAIL_QUEUE"] == {"Fn::Sub": queue}
    assert settings == properties(with_mail, "APIHandler")["Environment"]["Variables"] | settings
    assert with_mail["Parameters"]["Mail"]["AllowedValues"] == ["ses"]
    assert with_mail["Parameters"]["MailFrom"]["AllowedValues"] == ["login@example.com"]
    (send,) = [
        statement
        for statement in properties(with_mail, "JobsRole")["Policies"][0]["PolicyDocument"]["Statement"]
        if statement["Action"] == ["ses:SendEmail"]
    ]
    assert send["Condition"] == {"StringEquals": {"ses:FromAddress": {"Ref": "MailFrom"}}}
    assert [name for name, one in merged["Resources"].items() if "Type" not in one] == []
    feedback = template.resolve(properties(with_mail, "MailFeedback"), {"Prefix": "baton-prod"})
    assert feedback["FunctionName"] == "baton-prod-mail_feedback"
    assert feedback["LoggingConfig"] == {"LogGroup": "/aws/lambda/baton-prod-mail_feedback"}
    assert feedback["Environment"]["Variables"] == settings
    ((_, source),) = feedback["Events"].items()
    assert source["Type"] == "SNS"
    assert source["Properties"]["Topic"]["Fn::Sub"].endswith(":baton-prod-mail-feedback")


@ours_only
def test_every_route_of_the_application_is_in_the_template(merged: dict[str, Any]) -> None:
    """The merge removes nothing."""
    from app import app

    described = {(path, method.upper()) for path, methods in api(merged)["paths"].items() for method in methods}
    assert {(path, method) for path, methods in app.routes.items() for method in methods if method != "OPTIONS"} == {
        (path, method) for path, method in described if method != "OPTIONS"
    }


def test_the_template_accepts_only_the_names_of_its_stage(merged: dict[str, Any]) -> None:
    """The policies name these tables and log groups."""
    for parameter in ("Prefix", "Tables"):
        assert merged["Parameters"][parameter]["AllowedValues"] == ["baton-prod"]
    assert "table/baton-prod-users" in json.dumps(properties(merged, "ApiHandlerRole"))


@pytest.mark.parametrize(
    ("runtime", "offered"), [("python3.11", ["None"]), ("python3.13", ["None", "PublishedVersions"])]
)
def test_snapstart_is_used_where_lambda_has_it(merged: dict[str, Any], runtime: str, offered: list[str]) -> None:
    """SnapStart needs Python 3.12 or later.

    With an older Python, Lambda would refuse the function during the deployment.
    """
    fresh = copy.deepcopy(merged)
    fresh["Parameters"]["SnapStart"]["AllowedValues"] = ["None", "PublishedVersions"]
    assert hardened(fresh, {}, runtime)["Parameters"]["SnapStart"]["AllowedValues"] == offered


ONE, OTHER = "https://app.example.com", "capacitor://localhost"


def allowed(read: dict[str, Any]) -> tuple[set[str | None], set[str | None]]:
    """Return the origins that may read the answers of the gateway, and those for the firewall."""
    by_gateway = {
        answer["responseParameters"].get("gatewayresponse.header.Access-Control-Allow-Origin")
        for answer in answers(read).values()
    }
    by_firewall = {
        {header["Name"]: header["Value"] for header in said.get("ResponseHeaders", ())}.get(
            "Access-Control-Allow-Origin"
        )
        for rule in properties(read, "Firewall")["Rules"]
        if (said := rule.get("Action", {}).get("Block", {}).get("CustomResponse"))
    }
    return by_gateway, by_firewall


@pytest.mark.parametrize(
    ("origins", "by_gateway", "by_firewall"),
    [
        ((), None, None),
        ((ONE,), f"'{ONE}'", ONE),
        ((ONE, OTHER), "method.request.header.Origin", "*"),
    ],
)
def test_browsers_can_read_the_answers_of_gateway_and_firewall(
    merged: dict[str, Any], origins: tuple[str, ...], by_gateway: str | None, by_firewall: str | None
) -> None:
    """Without these headers, a page sees a network error instead of ``code`` and ``Retry-After``."""
    read = readable_by_pages(copy.deepcopy(merged), origins)
    assert allowed(read) == ({by_gateway}, {by_firewall})
    assert allowed(merged) == ({None}, {None}), "no stage that ships names an origin"
    for answer in answers(read).values():
        exposed = answer["responseParameters"].get("gatewayresponse.header.Access-Control-Expose-Headers")
        assert exposed == (f"'{EXPOSED_FIELDS}'" if origins else None)
    assert [list(rule(read)) for rule in RULES] == [[] for _ in RULES]
    too_many = properties(read, "Firewall")["Rules"][0]["Action"]["Block"]["CustomResponse"]["ResponseHeaders"]
    assert {"Name": "Retry-After", "Value": "60"} in too_many


def test_the_api_id_of_a_chalice_deployment_is_replaced() -> None:
    """A team may change from `chalice deploy` to CloudFormation, which creates another API."""
    named = "arn:aws:apigateway:eu-central-1::/restapis/abcde12345/stages"
    ours = "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${RestAPI}/stages"
    assert hardened({"Resources": {"Role": {"Type": "x", "Resource": [named]}}}, {}, "python3.13")["Resources"] == {
        "Role": {"Type": "x", "Resource": [{"Fn::Sub": ours}]}
    }


def test_the_audit_can_read_the_domain_of_the_issuer(merged: dict[str, Any]) -> None:
    """The policy takes the host from the issuer of the stack, and the API of the stack."""
    resources = [
        resource
        for statement in properties(merged, "AuditConfigurationRole")["Policies"][0]["PolicyDocument"]["Statement"]
        if statement["Sid"] == "Stage"
        for resource in statement["Resource"]
    ]
    (stages, domain) = (resource["Fn::Sub"] for resource in resources)
    assert stages == "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${RestAPI}/stages"
    assert domain[0] == "arn:${AWS::Partition}:apigateway:${AWS::Region}::/domainnames/${Host}/basepathmappings"
    at, split = domain[1]["Host"]["Fn::Select"]
    assert split == {"Fn::Split": ["/", {"Ref": "Issuer"}]}
    assert at == 2, "https:, nothing, the host"
