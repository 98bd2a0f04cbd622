"""``make deploy STAGE=dev``: tables and keys, the function, its API, and a test login through all of them.

deploy STAGE    deploy data stack and key ring, build the package, run ``chalice deploy``, and test a login
data STAGE      deploy only data stack and key ring: run this before you deploy your own tables, or for the hardened way
fill STAGE      write this account's ARNs and the URL into .chalice/, to call ``chalice deploy`` directly

``infra/data.yaml`` defines the data stack: tables, KMS key and backups.

The commands check the credentials and the settings of the stage before they change anything in AWS. Before its first
change, ``deploy`` also refuses a stage that is deployed in the hardened way (``infra/edge.yaml``) or from another
checkout. ``deploy`` builds and checks the package only after it has deployed the data stack and the key ring.
"""

import contextlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from baton_client import HttpTransport, Transport
from chalicelib.baton.effects import Done
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.policy import ONCE_RUN_MAX_S, REQUEST_MAX_S
from chalicelib.baton.settings import Settings, SettingsProblems, read_settings
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import AccountsWithoutRing, KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper
from tools import aws, package, smoke
from tools.printed import counted
from tools.stages import PLACEHOLDER, SENDER, deployed_api, deployed_url, mail_address, mail_of, policies, read_config
from tools.template import DATA, ROOT, read

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

CHALICE = ROOT / ".chalice"
SERVING = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
"""The states of a complete data stack. ``UPDATE_ROLLBACK_COMPLETE``: an update failed, and CloudFormation undid it."""

DEFAULT_TIMEOUT_S = 60
"""Chalice's default time-out of a function, in seconds."""

Pause = Callable[[float], None]


class NotDone(Exception):
    """A step failed. The message has the reason and, in most cases, the next step."""


@dataclass(frozen=True, slots=True)
class Place:
    """Account, region, partition and KMS key of a stage. ``key_arn`` is empty until the key is looked up."""

    account: str
    region: str
    partition: str
    key_arn: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of ``.chalice/config.json`` that can be deployed."""

    name: str
    policies: Mapping[str, str]
    """The policy file of each function, by the name of the function in AWS. The function of the API is first."""
    variables: Mapping[str, str] = field(repr=False)

    settings: Settings = field(repr=False)

    @property
    def prefix(self) -> str:
        """The prefix of the names of the stage's AWS resources. Only restored tables have another prefix."""
        return self.settings.deployment

    @property
    def tables(self) -> Tables:
        """The names of the stage's tables."""
        return Tables(self.settings.table_prefix)

    @property
    def data_stack(self) -> str:
        """The name of the stage's data stack."""
        return f"{self.prefix}-data"

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters that the stage's settings determine for its data stack."""
        return {"Prefix": self.prefix, "Tables": self.tables.prefix, "Mail": mail_of(self.variables)}


# --- Steps without AWS ------------------------------------------------------------------------------------------------


def stage_named(name: str, config: Mapping[str, Any]) -> Stage:
    """Find a stage by its name, and check its settings. Raises ``NotDone``."""
    stages = {one: described for one, described in config["stages"].items() if "iam_policy_file" in described}
    if name not in stages:
        raise NotDone(f"the stage {name!r} does not exist: STAGE is one of {', '.join(sorted(stages))}")
    described = stages[name]
    try:
        settings = read_settings(described["environment_variables"])
    except SettingsProblems as problems:
        raise NotDone(f"stage {name}, in .chalice/config.json: {problems}") from None
    function = f"{config['app_name']}-{name}"
    if settings.deployment != function:
        raise NotDone(
            f"stage {name}, in .chalice/config.json: BATON_DEPLOYMENT is {settings.deployment}, and must be "
            f"{function}, the name that Chalice gives the function (its default is BATON_TABLE_PREFIX)"
        )
    timeout_s = _timeout_of_the_api(described, config)
    if timeout_s > REQUEST_MAX_S:
        raise NotDone(
            f"stage {name}, in .chalice/config.json: lambda_timeout is {timeout_s} seconds, and must be at most "
            f"{REQUEST_MAX_S}: a call that began {ONCE_RUN_MAX_S} seconds ago is treated as stopped (once=True)"
        )
    return Stage(name, policies(function, described), described["environment_variables"], settings)


def _timeout_of_the_api(described: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Return the time-out of the API's function, in seconds.

    Like Chalice, this uses the first value that is set: of the function, the stage or the application. Default: 60.
    """
    own = described.get("lambda_functions", {}).get("api_handler", {})
    found = (level["lambda_timeout"] for level in (own, described, config) if "lambda_timeout" in level)
    return int(next(found, DEFAULT_TIMEOUT_S))


def filled_policy(policy: str, place: Place, variables: Mapping[str, str], api: str | None) -> str:
    """Return a policy with account, region, key, sender and domain filled in, and the id of the API if it exists."""
    _, _, key = place.key_arn.rpartition("/")
    filled = (
        policy.replace("arn:aws:", f"arn:{place.partition}:")
        .replace(":REGION:ACCOUNT:", f":{place.region}:{place.account}:")
        .replace(":REGION::", f":{place.region}::")
        .replace(":iam::ACCOUNT:", f":iam::{place.account}:")
        .replace(".REGION.", f".{place.region}.")
        .replace(":key/KEY", f":key/{key}")
    )
    # The three replacements below accept any present value: an earlier run may have filled in the API, sender or domain
    # that the stage had then.
    filled = re.sub(r"(?<=:/restapis/)[^/]+", api or "API", filled)
    sender = json.dumps(mail_address(variables) or SENDER)
    filled = re.sub(r'(?<="ses:FromAddress": )"[^"]*"', lambda _: sender, filled)
    return re.sub(r"(?<=:/domainnames/)[^/]+", urlsplit(variables["BATON_ISSUER"]).hostname or "", filled)


def filled_config(config: Mapping[str, Any], stage: Stage, place: Place, url: str | None) -> dict[str, Any]:
    """Return a copy of the configuration, with the issuer and the URL of the mail queue filled in.

    ``url``: the URL of the API. It becomes the issuer of a stage without a domain of its own. ``None``: the API does
    not exist yet, and the issuer is not changed.
    """
    filled: dict[str, Any] = json.loads(json.dumps(config))
    variables = filled["stages"][stage.name]["environment_variables"]
    if "BATON_MAIL_QUEUE" in variables:
        queue = variables["BATON_MAIL_QUEUE"].replace(".REGION.", f".{place.region}.")
        variables["BATON_MAIL_QUEUE"] = queue.replace("/ACCOUNT/", f"/{place.account}/")
    if url is not None and variables["BATON_ISSUER"] == PLACEHOLDER:
        variables["BATON_ISSUER"] = url
    return filled


def fill(stage: Stage, place: Place, folder: Path) -> None:
    """Fill in the configuration and every policy file of a stage. ``folder`` is the ``.chalice`` folder to change.

    In ``config.json``, only the variables of this stage change, and only those that had a placeholder.
    """
    config = folder / "config.json"
    before = read_config(config)
    filled = filled_config(before, stage, place, deployed_url(stage.name))
    variables = filled["stages"][stage.name]["environment_variables"]
    changed = variables.items() - before["stages"][stage.name]["environment_variables"].items()
    written: dict[str, Any] = json.loads(config.read_text("utf-8"))
    written["stages"][stage.name].setdefault("environment_variables", {}).update(changed)
    config.write_text(json.dumps(written, indent=2) + "\n", "utf-8")
    for policy in (folder / name for name in stage.policies.values()):
        filled_in = filled_policy(policy.read_text("utf-8"), place, variables, deployed_api(stage.name))
        policy.write_text(filled_in, "utf-8")


# --- AWS --------------------------------------------------------------------------------------------------------------


def client(service: str) -> Any:  # noqa: ANN401 - botocore makes its clients' methods at run time
    """Make a boto3 client. Its region, credentials and endpoint come from the environment or from the AWS CLI."""
    import boto3  # noqa: PLC0415 - slow to import

    return boto3.client(service)  # type: ignore[call-overload] # any service


def place_of_credentials() -> Place:
    """Return account, partition and region of the credentials.

    Raises ``aws.NotReady`` without region or credentials.
    """
    aws.require_account()
    sts = client("sts")
    arn = sts.get_caller_identity()["Arn"]
    _, partition, _, _, account, _ = arn.split(":", 5)
    return Place(account, sts.meta.region_name, partition)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The changes that CloudFormation would make in a data stack."""

    name: Mapping[str, str]
    changes: Sequence[dict[str, str]]


def open_change_set(cloudformation: Any, stage: Stage, pause: Pause) -> ChangeSet | None:  # noqa: ANN401
    """Make a change set of the data stack, and return it without executing it.

    Return ``None`` if nothing would change. Raises ``NotDone`` if the stack can only be deleted, or if CloudFormation
    refuses the template.
    """
    stack = stack_named(stage.data_stack, cloudformation)
    there = stack["StackStatus"] if stack else None
    if there in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}:
        raise NotDone(
            f"the stack {stage.data_stack} is {there}: it can only be deleted\n"
            f"next: aws cloudformation delete-stack --stack-name {stage.data_stack}"
        )
    new = there in {None, "REVIEW_IN_PROGRESS"}
    # A parameter that the stage does not set keeps its value. Otherwise it would get the template's default.
    defaults = {key: str(declared.get("Default")) for key, declared in read(DATA)["Parameters"].items()}
    kept = {
        one["ParameterKey"]
        for one in (() if new else stack.get("Parameters", ()))
        if one["ParameterValue"] != defaults.get(one["ParameterKey"], one["ParameterValue"])
    }
    # The name is unique, because an interrupted run may have left its change set.
    name = {"StackName": stage.data_stack, "ChangeSetName": f"baton-{secrets.token_hex(4)}"}
    parameters = parameters_of(stage, stack)
    cloudformation.create_change_set(
        **name,
        ChangeSetType="CREATE" if new else "UPDATE",
        TemplateBody=DATA.read_text("utf-8"),
        Parameters=[
            *({"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()),
            *({"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept - parameters.keys())),
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    while True:
        described = cloudformation.describe_change_set(**name)
        if described["Status"] == "CREATE_COMPLETE":
            return ChangeSet(name, [change["ResourceChange"] for change in described["Changes"]])
        if described["Status"] == "FAILED":
            cloudformation.delete_change_set(**name)
            reason = described.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates" in reason:
                return None
            raise NotDone(
                f"CloudFormation refuses infra/data.yaml: {reason}\nnothing was changed\n"
                "next: correct infra/data.yaml or the stage in .chalice/config.json, and deploy again"
            )
        pause(2)


def parameters_of(stage: Stage, stack: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of the data stack.

    ``MailDomain`` is the sender's domain. In these cases it is empty, and the stack makes no Amazon SES identity:

    - The stage does not use Amazon SES.
    - An identity of the sender's domain or address exists outside the stack.
    """
    domain, address = "", mail_address(stage.variables)
    if stage.parameters["Mail"] == "ses":
        domain = address.rpartition("@")[2].lower()
        given = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", ())}
        if given.get("MailDomain") != domain and (has_identity(domain) or has_identity(address)):
            domain = ""
    return stage.parameters | {"MailDomain": domain}


def has_identity(identity: str) -> bool:
    """Return whether a domain or an address is an identity in Amazon SES, verified or not."""
    ses = client("sesv2")
    try:
        ses.get_email_identity(EmailIdentity=identity)
    except ses.exceptions.NotFoundException:
        return False
    return True


def stack_named(name: str, cloudformation: Any) -> dict[str, Any]:  # noqa: ANN401
    """Describe a stack. Return an empty mapping if it does not exist."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - slow to import

    try:
        found: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return {}
        raise
    return found


def apply_data_stack(stage: Stage, pause: Pause) -> str:
    """Deploy the data stack, ``infra/data.yaml``, and return a description of the changes."""
    cloudformation = client("cloudformation")
    there = stack_named(stage.data_stack, cloudformation).get("StackStatus")
    opened = open_change_set(cloudformation, stage, pause)
    if opened is not None:
        _execute(cloudformation, stage, opened, there)
    # Check this each time, because an earlier deployment may have been interrupted after it created the stack.
    if not stack_named(stage.data_stack, cloudformation).get("EnableTerminationProtection"):
        cloudformation.update_termination_protection(StackName=stage.data_stack, EnableTerminationProtection=True)
    if opened is None:
        return f"{stage.data_stack} has no changes"
    return (
        f"{stage.data_stack} {'updated' if there in SERVING else 'created'}, {counted(len(opened.changes), 'resource')}"
    )


def _execute(cloudformation: Any, stage: Stage, opened: ChangeSet, there: str | None) -> None:  # noqa: ANN401
    """Execute a change set.

    If the creation of a stack fails, its resources are kept and the next run continues. A roll-back would leave the
    tables, because of their deletion policy. These tables would then block the next attempt.

    ``there``: the state of the stack before this change. ``None``: there was no stack.
    """
    from botocore.exceptions import WaiterError  # noqa: PLC0415 - slow to import

    cloudformation.execute_change_set(**opened.name, DisableRollback=there not in SERVING)
    new = there in {None, "REVIEW_IN_PROGRESS"}
    waiter = cloudformation.get_waiter("stack_create_complete" if new else "stack_update_complete")
    try:
        waiter.wait(StackName=stage.data_stack, WaiterConfig={"Delay": 5, "MaxAttempts": 240})
    except WaiterError as error:
        raise NotDone(
            f"{stage.data_stack}: {error}\n"
            f"next: aws cloudformation describe-stack-events --stack-name {stage.data_stack}; correct "
            "the reported errors, and deploy again: created resources are kept"
        ) from None


def refuse_hardened(stage: Stage) -> None:
    """Refuse a stage that is deployed with ``infra/edge.yaml``. Raises ``NotDone``.

    Chalice would replace the functions of that stage and make a second API without firewall and throttling.
    """
    if stack_named(stage.prefix, client("cloudformation")):
        raise NotDone(
            f"the stage {stage.name} is deployed in the hardened way, with the stack {stage.prefix}\n"
            "next: docs/baton/operations.md, the hardened way; or delete that stack first"
        )


def refuse_second_api(stage: Stage) -> None:
    """Refuse a stage that was deployed from another checkout. Raises ``NotDone``.

    Without the record of the API in ``.chalice/deployed``, Chalice makes a second API. If the stage has no domain of
    its own, its issuer then changes, and every app is logged out.
    """
    if deployed_url(stage.name) is not None:
        return
    lambda_, gateway, function = client("lambda"), client("apigateway"), next(iter(stage.policies))
    try:
        policy = lambda_.get_policy(FunctionName=function)["Policy"]
    except lambda_.exceptions.ResourceNotFoundException:
        return
    for api in re.findall(r":execute-api:[^:]*:[^:]*:([a-z0-9]+)/", policy):
        with contextlib.suppress(gateway.exceptions.NotFoundException):
            gateway.get_rest_api(restApiId=api)
            raise NotDone(
                f"the function {function} already serves the API {api}, and its record "
                f".chalice/deployed/{stage.name}.json is missing: it was deployed from another folder, or the "
                "deployment was interrupted\n"
                "next: copy that file here; or, if no app uses the API: "
                f"aws apigateway delete-rest-api --rest-api-id {api}"
            )


def key_arn(stage: Stage, kms: "KMSClient") -> str:
    """Find the stage's KMS key by its alias, and return its ARN: a policy must contain the ARN, not the alias."""
    return kms.describe_key(KeyId=f"alias/{stage.prefix}")["KeyMetadata"]["Arn"]


def make_ring(stage: Stage, arn: str) -> str:
    """Make the key ring, if there is none. Return ``created`` or ``exists``. Raises ``NotDone``.

    ``arn``: the ARN of the KMS key that encrypts the key ring.
    """
    ring = KeyRing(DynamoDB(stage.tables), KmsWrapper(arn), secrets.token_bytes)
    try:
        made = ring.create(now=int(time.time()))
    except AccountsWithoutRing as error:
        raise NotDone(
            f"{error.reason}\nnothing was changed\n"
            f"next: to accept this, STAGE={stage.name} python -m tools.operate make-ring creates a new key ring"
        ) from None
    except Unavailable as error:
        restored = "" if stage.tables.prefix == stage.prefix else f"; were the tables {stage.tables.prefix}-* restored?"
        raise NotDone(
            f"the key ring cannot be created: {error.reason}{restored}\n"
            "next: remove the cause, and deploy again: an existing key ring is kept"
        ) from None
    return "created" if isinstance(made, Done) else "exists"


def apply_function(stage: Stage, place: Place) -> tuple[str, str]:
    """Build the package and run ``chalice deploy``. Return the URL for apps and a line with the package's total size.

    The URL is the stage's issuer, or the API's URL if the stage has no domain of its own. Raises ``NotDone`` if the
    package cannot be used.

    A new stage is deployed twice, because its policies and settings need the id and URL of its API.
    """
    with package.alone():
        archive = package.build(stage.name)
        if problems := package.unfit(archive, package.configured_architecture(), package.runtime()):
            raise NotDone(
                "\n".join([*problems, "the function was not changed"])
                + f"\nnext: remove the cause, and deploy again; STAGE={stage.name} make package checks the zip alone"
            )
        while True:
            before = deployed_url(stage.name)
            fill(stage, place, package.COPY / ".chalice")
            package.chalice("deploy", "--stage", stage.name)
            url = deployed_url(stage.name)
            assert url is not None
            if before == url:
                break
    issuer = stage.variables["BATON_ISSUER"]
    return url if issuer == PLACEHOLDER else issuer, package.weighed(archive).splitlines()[-1].strip()


# --- Commands ---------------------------------------------------------------------------------------------------------


def tell(step: int, what: str) -> None:
    """Begin a step: print its number and what it does."""
    print(f"{step}/6 {what}", flush=True)


def deploy_data(stage: Stage, place: Place, *, pause: Pause = time.sleep) -> Place:
    """Carry out steps 1 to 3: print the account, deploy the data stack, make the key ring.

    Return the place with the ARN of its key. Raises ``NotDone``.
    """
    tell(1, f"{package.runtime()} on {package.configured_architecture()}, account {place.account}, {place.region}")
    tell(2, "create or update the data stack: tables, keys, backups (a few minutes the first time)")
    print(f"  {apply_data_stack(stage, pause)}")
    arn = key_arn(stage, client("kms"))
    tell(3, f"key ring: {make_ring(stage, arn)}")
    return Place(place.account, place.region, place.partition, arn)


def deploy(name: str, transport: Transport | None, *, pause: Pause = time.sleep) -> None:
    """Deploy a stage, then test a login on its API. Raises ``NotDone`` or ``smoke.NotServing``.

    ``transport`` is ``None`` for an emulated AWS, which runs no function: the login test is skipped.
    """
    package.runtime()
    place = place_of_credentials()
    stage = stage_named(name, package.configuration())
    refuse_hardened(stage)
    refuse_second_api(stage)
    place = deploy_data(stage, place, pause=pause)
    tell(4, "package and deploy the function")
    url, size = apply_function(stage, place)
    print(f"  {size}")
    tell(5, f"serve {url}")
    if transport is None:
        tell(6, "skipped: AWS_ENDPOINT_URL names an emulator, so no login was tested")
        print("ok: rehearsed. next: unset AWS_ENDPOINT_URL, and deploy from a checkout with the real .chalice/deployed")
        return
    tell(6, "test a login through the deployment")
    smoke.show(url, transport, smoke.exchanging(stage.settings.registry), pause=pause)
    print(
        f"ok: deployed. next: use {url} in apps; make plan STAGE={name} shows the effect of a change; "
        "docs/baton/operations.md describes the hardened way"
    )


@aws.in_one_line
def main(arguments: Sequence[str]) -> int:
    """Run a command. Exit 2 for wrong arguments, 1 for a failure."""
    try:
        match list(arguments):
            case ["deploy", name]:
                if os.environ.get("AWS_ENDPOINT_URL"):
                    deploy(name, None)
                    return 0
                transport = HttpTransport()
                try:
                    deploy(name, transport)
                finally:
                    transport.close()
            case ["data", name]:
                place = place_of_credentials()
                deploy_data(stage_named(name, package.configuration()), place)
                print(
                    f"next: your own tables, if any; then make deploy STAGE={name}, "
                    "or the hardened way of docs/baton/operations.md"
                )
            case ["fill", name]:
                place = place_of_credentials()
                stage = stage_named(name, package.configuration())
                arn = key_arn(stage, client("kms"))
                fill(stage, Place(place.account, place.region, place.partition, arn), CHALICE)
                print(f"ok: filled in .chalice/config.json, {', '.join(stage.policies.values())}")
                again = "" if deployed_api(name) else ". Then run all three again: now the API has no id and no URL"
                print(f"next: make package STAGE={name}, then in build/source: chalice deploy --stage {name}{again}")
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (NotDone, smoke.NotServing) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
