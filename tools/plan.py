"""``make plan STAGE=dev USERS=10000``: the changes that a deployment would make, and the cost of a month.

The command changes nothing.
"""

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tools import aws, package
from tools.deploy import (
    CHALICE,
    NotDone,
    Pause,
    Place,
    Stage,
    client,
    filled_config,
    filled_policy,
    key_arn,
    open_change_set,
    parameters_of,
    place_of_credentials,
    stack_named,
    stage_named,
)
from tools.prices import bill
from tools.printed import aligned, counted
from tools.stages import deployed_api, deployed_url
from tools.template import DATA, exists, of_type, parse, read

Sign = Literal["+", "~", "-", "="]
_SIGNS: Mapping[str, Sign] = {"Add": "+", "Remove": "-", "Modify": "~", "Import": "+", "Dynamic": "~"}
_COLOURS: Mapping[Sign, str] = {"+": "32", "~": "33", "-": "31", "=": "2"}


@dataclass(frozen=True, slots=True)
class Change:
    """One resource, setting or route that a deployment would create, change, delete or keep."""

    sign: Sign
    what: str
    detail: str = ""


def changes_of_data(stage: Stage, *, pause: Pause) -> Iterator[Change]:
    """List the changes of tables, keys and backups. If the stack exists, read them from a temporary change set."""
    cloudformation = client("cloudformation")
    if not stack_named(stage.data_stack, cloudformation):
        template, parameters = read(DATA), parameters_of(stage, {})
        for name, resource in template["Resources"].items():
            if exists(template, name, parameters):
                yield Change("+", name, resource["Type"])
        return
    opened = open_change_set(cloudformation, stage, pause)
    if opened is None:
        yield Change("=", stage.data_stack, "tables, keys, backups")
        return
    cloudformation.delete_change_set(**opened.name)
    for change in opened.changes:
        lost = ", REPLACED: the new one is empty" if change.get("Replacement") == "True" else ""
        yield Change(_SIGNS[change["Action"]], change["LogicalResourceId"], change["ResourceType"] + lost)


def changes_of_function(stage: Stage, place: Place, archive: Path, name: str) -> Iterator[Change]:
    """List the changes of one Lambda function, and of its IAM role."""
    lambda_, policy_file = client("lambda"), stage.policies[name]
    try:
        function = lambda_.get_function_configuration(FunctionName=name)
    except lambda_.exceptions.ResourceNotFoundException:
        yield Change("+", "function", name)
        yield Change("+", "role", f"with .chalice/{policy_file}")
        return
    digest = base64.b64encode(hashlib.sha256(archive.read_bytes()).digest()).decode()
    yield _compared("code", function["CodeSha256"][:12], digest[:12])
    config = package.configuration()
    for what, key, wanted in (
        ("memory, MB", "MemorySize", config["lambda_memory_size"]),
        ("timeout, s", "Timeout", config["lambda_timeout"]),
        ("runtime", "Runtime", package.runtime()),
        ("architecture", "Architectures", [package.configured_architecture()]),
    ):
        yield _compared(what, function[key], wanted)
    variables = filled_config(config, stage, place, deployed_url(stage.name))["stages"][stage.name][
        "environment_variables"
    ]
    yield from _differences("setting", function.get("Environment", {}).get("Variables", {}), variables)
    policy, api = (CHALICE / policy_file).read_text("utf-8"), deployed_api(stage.name)
    wanted_policy = json.loads(filled_policy(policy, place, variables, api))
    yield from _differences("policy", _deployed_policy(function["Role"]), _by_sid(wanted_policy))


def changes_of_api(stage: Stage, archive: Path) -> Iterator[Change]:
    """List the routes that a deployment adds to the API or removes from it."""
    wanted, api = _packaged_routes(archive), deployed_api(stage.name)
    if api is None:
        yield Change("+", "API", counted(len(wanted), "route"))
    else:
        yield from _differences("route", dict.fromkeys(_deployed_routes(api), ""), dict.fromkeys(wanted, ""))


def _compared(what: str, there: object, wanted: object) -> Change:
    return Change("=", what, f"{there}") if there == wanted else Change("~", what, f"{there} -> {wanted}")


def _differences(what: str, there: Mapping[str, object], wanted: Mapping[str, object]) -> Iterator[Change]:
    """Yield an entry for each added, removed or changed name. If nothing differs, yield one entry ``=``.

    The entries have no values, because values may be confidential.
    """
    found = [Change("+", what, name) for name in sorted(wanted.keys() - there.keys())]
    found += [Change("-", what, name) for name in sorted(there.keys() - wanted.keys())]
    found += [Change("~", what, name) for name in sorted(there.keys() & wanted.keys()) if there[name] != wanted[name]]
    yield from found or [Change("=", what, f"{len(wanted)} unchanged")]


def _deployed_policy(role_arn: str) -> dict[str, object]:
    iam, role = client("iam"), role_arn.rpartition("/")[2]
    statements: dict[str, object] = {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        statements |= _by_sid(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
    return statements


def _by_sid(policy: Mapping[str, Any]) -> dict[str, object]:
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def _packaged_routes(archive: Path) -> set[str]:
    template = parse(archive.with_name("sam.yaml").read_text("utf-8"))
    (api,) = of_type(template, "AWS::Serverless::Api").values()
    paths = api["DefinitionBody"]["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def _deployed_routes(api: str) -> set[str]:
    resources = client("apigateway").get_resources(restApiId=api, embed=["methods"], limit=500)["items"]
    return {f"{method} {one['path']}" for one in resources for method in one.get("resourceMethods", {})}


def show(changes: Iterator[Change]) -> int:
    """Print all entries, including unchanged parts (``=``). Return the number of entries that change something."""
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    found, many = list(changes), 0
    for change, line in zip(found, aligned([[f"  {one.sign} {one.what}", one.detail] for one in found]), strict=True):
        print(f"\033[{_COLOURS[change.sign]}m{line}\033[0m" if coloured else line, flush=True)
        many += change.sign != "="
    return many


def plan(name: str, users: int, *, pause: Pause) -> None:
    """Print the changes of a deployment and the monthly cost for this number of users.

    Raises ``NotDone`` if the stage is not valid, or if CloudFormation cannot change its data stack.
    """
    config = package.configuration()
    stage, _ = stage_named(name, config), package.runtime()
    place = place_of_credentials()
    print(f"data, {stage.data_stack} in {place.account}, {place.region}", flush=True)
    many = show(changes_of_data(stage, pause=pause))
    if stack_named(stage.data_stack, client("cloudformation")):
        place = replace(place, key_arn=key_arn(stage, client("kms")))
    with package.alone():
        archive = package.build(stage.name)
        for function in stage.policies:
            print(f"function, {function}", flush=True)
            many += show(changes_of_function(stage, place, archive, function))
        print("API", flush=True)
        many += show(changes_of_api(stage, archive))
    print("cost")
    print(bill(users, memory_mb=config["lambda_memory_size"]))
    print(f"{counted(many, 'change')}. next: make deploy STAGE={name}" if many else "ok: no changes to deploy")


@aws.in_one_line
def main() -> int:
    """Print the plan of ``STAGE``. Exit 1 if the plan cannot be made."""
    import time  # noqa: PLC0415 - only here

    try:
        plan(os.environ.get("STAGE", ""), int(os.environ.get("USERS") or 10_000), pause=time.sleep)
    except (NotDone, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
