"""``make deploy STAGE=dev``: tables and keys, the function, its API, and a login through all of it.

deploy STAGE    data stack, key ring, package, ``chalice deploy``, smoke test
data STAGE      only data stack and key ring: for the hardened way
fill STAGE      write this account's ARNs and the URL into .chalice/, to call ``chalice deploy`` directly

Every check that needs no change runs before the first change.
"""

import contextlib
import json
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
from tools.stages import PLACEHOLDER, deployed_api, deployed_url, policies
from tools.template import DATA, ROOT, read

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

CHALICE = ROOT / ".chalice"
SERVING = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
"""A data stack that was made whole once: a change of it that fails is taken back."""

DEFAULT_TIMEOUT_S = 60
"""Chalice's time-out of a function whose configuration has none."""

Pause = Callable[[float], None]


class NotDone(Exception):
    """A step failed. The message has the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stage is deployed: known once AWS has said who we are, the key once the data stack is there."""

    account: str
    region: str
    partition: str
    key_arn: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of ``.chalice/config.json`` that can be deployed."""

    name: str
    policies: Mapping[str, str]
    """The functions, as Chalice names them in AWS, the API's first, and the file of each one's policy."""
    variables: Mapping[str, str] = field(repr=False)

    settings: Settings = field(repr=False)

    @property
    def prefix(self) -> str:
        """Tell what its names begin with: all but those of its tables, once they were restored."""
        return self.settings.deployment

    @property
    def tables(self) -> Tables:
        """Name the tables it serves."""
        return Tables(self.settings.table_prefix)

    @property
    def data_stack(self) -> str:
        """Name its data stack."""
        return f"{self.prefix}-data"

    @property
    def parameters(self) -> dict[str, str]:
        """Give the data stack's parameters, as far as the stage decides them."""
        return {"Prefix": self.prefix, "Tables": self.tables.prefix}


# --- What is known without AWS ----------------------------------------------------------------------------------------


def stage_named(name: str, config: Mapping[str, Any]) -> Stage:
    """Find a stage, with settings that would start. Raises ``NotDone``."""
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
    """Find the time-out of the API's function as Chalice does: its own, the stage's, the application's, or 60 s."""
    own = described.get("lambda_functions", {}).get("api_handler", {})
    found = (level["lambda_timeout"] for level in (own, described, config) if "lambda_timeout" in level)
    return int(next(found, DEFAULT_TIMEOUT_S))


def filled_policy(policy: str, place: Place, issuer: str, api: str | None) -> str:
    """Put this account's names into a policy, the host of the URL that apps call, and the API, once there is one."""
    _, _, key = place.key_arn.rpartition("/")
    filled = (
        policy.replace("arn:aws:", f"arn:{place.partition}:")
        .replace(":REGION:ACCOUNT:", f":{place.region}:{place.account}:")
        .replace(":REGION::", f":{place.region}::")
        .replace(":iam::ACCOUNT:", f":iam::{place.account}:")
        .replace(".REGION.", f".{place.region}.")
        .replace(":key/KEY", f":key/{key}")
    )
    # Whatever was filled in before: a stage may get a domain of its own later, or another API.
    filled = re.sub(r"(?<=:/restapis/)[^/]+", api or "API", filled)
    return re.sub(r"(?<=:/domainnames/)[^/]+", urlsplit(issuer).hostname or "", filled)


def filled_config(config: Mapping[str, Any], stage: Stage, url: str | None) -> dict[str, Any]:
    """Put the API's URL where a stage has no domain of its own."""
    filled: dict[str, Any] = json.loads(json.dumps(config))
    variables = filled["stages"][stage.name]["environment_variables"]
    if url is not None and variables["BATON_ISSUER"] == PLACEHOLDER:
        variables["BATON_ISSUER"] = url
    return filled


def fill(stage: Stage, place: Place, folder: Path) -> None:
    """Write configuration and every policy into a ``.chalice`` folder."""
    config = folder / "config.json"
    filled = filled_config(json.loads(config.read_text("utf-8")), stage, deployed_url(stage.name))
    config.write_text(json.dumps(filled, indent=2) + "\n", "utf-8")
    issuer = filled["stages"][stage.name]["environment_variables"]["BATON_ISSUER"]
    for policy in (folder / name for name in stage.policies.values()):
        filled_in = filled_policy(policy.read_text("utf-8"), place, issuer, deployed_api(stage.name))
        policy.write_text(filled_in, "utf-8")


# --- AWS --------------------------------------------------------------------------------------------------------------


def client(service: str) -> Any:  # noqa: ANN401 - botocore makes its clients' methods at run time
    """Make a client, from the environment as everywhere in AWS."""
    import boto3  # noqa: PLC0415 - slow to import

    return boto3.client(service)  # type: ignore[call-overload] # any service


def place_of_credentials() -> Place:
    """Read account and region of the credentials. Raises ``aws.NotReady`` where one of them is not set."""
    aws.require_account()
    sts = client("sts")
    arn = sts.get_caller_identity()["Arn"]
    _, partition, _, _, account, _ = arn.split(":", 5)
    return Place(account, sts.meta.region_name, partition)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What CloudFormation would change in a data stack, if it were told to."""

    name: Mapping[str, str]
    changes: Sequence[dict[str, str]]


def open_change_set(cloudformation: Any, stage: Stage, pause: Pause) -> ChangeSet | None:  # noqa: ANN401
    """Let CloudFormation say what it would change in the data stack; ``None`` when nothing. Raises ``NotDone``."""
    stack = stack_named(stage.data_stack, cloudformation)
    there = stack["StackStatus"] if stack else None
    if there in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}:
        raise NotDone(
            f"the stack {stage.data_stack} is {there}: it can only be deleted\n"
            f"next: aws cloudformation delete-stack --stack-name {stage.data_stack}"
        )
    new = there in {None, "REVIEW_IN_PROGRESS"}
    # What the stage does not decide stays as somebody set it: left out, it would fall back to the template's default.
    defaults = {key: str(declared.get("Default")) for key, declared in read(DATA)["Parameters"].items()}
    kept = {
        one["ParameterKey"]
        for one in (() if new else stack.get("Parameters", ()))
        if one["ParameterValue"] != defaults.get(one["ParameterKey"], one["ParameterValue"])
    }
    # A name of its own: a run that broke off has left its own behind.
    name = {"StackName": stage.data_stack, "ChangeSetName": f"baton-{secrets.token_hex(4)}"}
    cloudformation.create_change_set(
        **name,
        ChangeSetType="CREATE" if new else "UPDATE",
        TemplateBody=DATA.read_text("utf-8"),
        Parameters=[
            *({"ParameterKey": key, "ParameterValue": value} for key, value in stage.parameters.items()),
            *({"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept - stage.parameters.keys())),
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
            raise NotDone(f"CloudFormation refuses infra/data.yaml: {reason}")
        pause(2)


def stack_named(name: str, cloudformation: Any) -> dict[str, Any]:  # noqa: ANN401
    """Describe a stack; nothing, where it is not there."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - slow to import

    try:
        found: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return {}
        raise
    return found


def apply_data_stack(stage: Stage, pause: Pause) -> str:
    """Bring tables, keys and backups to what ``infra/data.yaml`` says, and tell what that took."""
    cloudformation = client("cloudformation")
    there = stack_named(stage.data_stack, cloudformation).get("StackStatus")
    opened = open_change_set(cloudformation, stage, pause)
    if opened is not None:
        _execute(cloudformation, stage, opened, there)
    # Every time: a deployment that broke off after the stack was made would have left it open.
    if not stack_named(stage.data_stack, cloudformation).get("EnableTerminationProtection"):
        cloudformation.update_termination_protection(StackName=stage.data_stack, EnableTerminationProtection=True)
    if opened is None:
        return f"{stage.data_stack} has no changes"
    return (
        f"{stage.data_stack} {'updated' if there in SERVING else 'created'}, {counted(len(opened.changes), 'resource')}"
    )


def _execute(cloudformation: Any, stage: Stage, opened: ChangeSet, there: str | None) -> None:  # noqa: ANN401
    """Carry a change set out.

    A creation that fails keeps what it made, and the next run goes on from there: taken back, the tables would stay,
    as their policy says, and be in the way of the next try.
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
    """Leave a stage alone that is deployed with ``infra/edge.yaml``. Raises ``NotDone``.

    Chalice would take its functions over, and make a second API before them, without firewall and throttles.
    """
    if stack_named(stage.prefix, client("cloudformation")):
        raise NotDone(
            f"the stage {stage.name} is deployed in the hardened way, with the stack {stage.prefix}\n"
            "next: docs/baton/operations.md, the hardened way; or delete that stack first"
        )


def refuse_second_api(stage: Stage) -> None:
    """Deploy from where the stage is known alone. Raises ``NotDone``.

    Chalice knows its API by a file. Without it, it makes another one, and the function that both call takes the other's
    URL for its issuer: every app would be logged out.
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
    """Find the stage's key by its alias: policies name the key itself."""
    return kms.describe_key(KeyId=f"alias/{stage.prefix}")["KeyMetadata"]["Arn"]


def make_ring(stage: Stage, arn: str) -> str:
    """Make the key ring where there is none. Raises ``NotDone``."""
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
        raise NotDone(f"the key ring cannot be created: {error.reason}{restored}") from None
    return "created" if isinstance(made, Done) else "exists"


def apply_function(stage: Stage, place: Place) -> tuple[str, str]:
    """Package and ``chalice deploy``; give the URL, and what was said of the package. Raises ``NotDone``.

    A stage learns its API's id and URL by being deployed, so the first time it is deployed twice.
    """
    with package.alone():
        archive = package.build(stage.name)
        if problems := package.unfit(archive, package.configured_architecture(), package.runtime()):
            raise NotDone("\n".join([*problems, "the function was not changed"]))
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
    """Say which step comes."""
    print(f"{step}/6 {what}", flush=True)


def deploy_data(stage: Stage, place: Place, *, pause: Pause = time.sleep) -> Place:
    """Take the first three steps: data stack and key ring. Raises ``NotDone``."""
    tell(1, f"{package.runtime()} on {package.configured_architecture()}, account {place.account}, {place.region}")
    tell(2, "create or update the data stack: tables, keys, backups (a few minutes the first time)")
    print(f"  {apply_data_stack(stage, pause)}")
    arn = key_arn(stage, client("kms"))
    tell(3, f"key ring: {make_ring(stage, arn)}")
    return Place(place.account, place.region, place.partition, arn)


def deploy(name: str, transport: Transport, *, pause: Pause = time.sleep) -> None:
    """Deploy a stage, and log in through it. Raises ``NotDone`` or ``smoke.NotServing``."""
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
    tell(6, "test a login through the deployment")
    smoke.show(url, transport, smoke.exchanging(stage.settings.registry), pause=pause)
    print(
        f"ok: deployed. next: use {url} in apps; make plan STAGE={name} shows the effect of a change; "
        "docs/baton/operations.md describes the hardened way"
    )


@aws.in_one_line
def main(arguments: Sequence[str]) -> int:
    """Carry out a command; exit 2 where the words are off, 1 where it could not be done."""
    try:
        match list(arguments):
            case ["deploy", name]:
                transport = HttpTransport()
                try:
                    deploy(name, transport)
                finally:
                    transport.close()
            case ["data", name]:
                place = place_of_credentials()
                deploy_data(stage_named(name, package.configuration()), place)
                print("next: docs/baton/operations.md, the hardened way")
            case ["fill", name]:
                place = place_of_credentials()
                stage = stage_named(name, package.configuration())
                arn = key_arn(stage, client("kms"))
                fill(stage, Place(place.account, place.region, place.partition, arn), CHALICE)
                print(f"ok: filled in .chalice/config.json, {', '.join(stage.policies.values())}")
                again = (
                    "" if deployed_api(name) else "; then run both again, because the API has its id and URL only then"
                )
                print(f"next: chalice deploy --stage {name}{again}")
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (NotDone, smoke.NotServing) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
