"""``make deploy`` from start to end against moto, and a login with the deployed zip."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace as replace_struct

from baton_client import Answer, Request
from chalicelib.baton import settings
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from tests.baton.repository import ours_alone
from tests.baton.wire.conftest import Line
from tools import deploy, package, plan, stages, template
from tools.deploy import NotDone, Place, Stage, client, filled_config, filled_policy, stage_named
from tools.dev.aws import emulated
from tools.dev.environment import Environment, Packaged, unpack
from tools.dev.gateway import Gateway

PLACE = Place("123456789012", "us-east-1", "aws", "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab")
ROLE = "baton-dev-api_handler"
JOBS = [
    "baton-dev-android_revocations",
    "baton-dev-apple_revocations",
    "baton-dev-audit_configuration",
    "baton-dev-operate",
    "baton-dev-rotate_keys",
]
ours_alone()
CONFIG = package.configuration()
CONFIG["stages"]["prod"]["environment_variables"]["BATON_CLIENTS"] = "clients-dev.toml"
"""A team writes the registry of ``prod``."""
DATA = template.read(template.DATA)
SENDING = {
    "BATON_MAIL": "ses",
    "BATON_MAIL_FROM": "Example <login@example.com>",
    "BATON_MAIL_QUEUE": "https://sqs.REGION.amazonaws.com/ACCOUNT/baton-STAGE-mail",
}
QUEUE_FUNCTIONS = ["-jobs", "-mail_feedback"]


def with_mail(name: str, **variables: str) -> dict[str, Any]:
    """Return a configuration whose stage has the settings of docs/baton/mail.md."""
    config: dict[str, Any] = deepcopy(CONFIG)
    sending = {key: value.replace("STAGE", name) for key, value in (SENDING | variables).items()}
    config["stages"][name]["environment_variables"] |= sending
    return config


@pytest.fixture(scope="module")
def aws(embedded_engine: None) -> Iterator[str]:
    """Serve AWS on loopback, with the calls that moto lacks."""
    with pytest.MonkeyPatch.context() as shim, emulated() as url:
        shim.setenv("AWS_ENDPOINT_URL", url)
        yield url


@pytest.fixture(scope="module")
def dev(aws: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Provide the stage ``dev`` for the architecture of this machine, with its own record of deployments."""
    architecture = package.this_architecture()
    if architecture is None:
        pytest.skip("the deployed zip is booted too, and there is nothing to boot here")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stages, "DEPLOYED", tmp_path_factory.mktemp("deployed"))
        own = tmp_path_factory.mktemp("built")  # another process may package with another registry meanwhile
        patched.setattr(package, "COPY", own / "source")
        patched.setattr(package, "BUILT", own / "package")
        patched.setattr(package, "configured_architecture", lambda: architecture)
        yield stage_named("dev", CONFIG)


class DeployedFunction:
    """A transport to the deployed function: its zip, its variables, and the routes of its API."""

    def __init__(self, folder: Path) -> None:
        """Unpack and start the function in ``folder`` at the first request."""
        self._folder = folder
        self._booted: Environment | None = None
        self.carried: list[str] = []

    def __call__(self, request: Request, timeout_s: float, /) -> Answer:
        """Send a request."""
        self.carried.append(f"{request.method} {request.url}")
        return self._line(request, timeout_s)

    @property
    def _line(self) -> Line:
        if self._booted is None:
            function = client("lambda").get_function(FunctionName="baton-dev")
            archive = self._folder / "deployed.zip"
            archive.write_bytes(code_of("baton-dev"))
            variables = function["Configuration"]["Environment"]["Variables"]
            task = unpack(archive, self._folder / "task")
            engine = client("sts").meta.endpoint_url
            # The small AWS client reads only the variable for DynamoDB.
            endpoints = {"AWS_ENDPOINT_URL": engine, "AWS_ENDPOINT_URL_DYNAMODB": engine}
            self._booted = Environment(task, {**variables, **endpoints})
        return Line(Gateway([Packaged(built() / "sam.yaml", self._booted)]))

    def end(self) -> None:
        """End the environment."""
        if self._booted is not None:
            self._booted.end()


def code_of(function: str) -> bytes:
    """Read the zip from moto."""
    from moto.awslambda.models import lambda_backends

    code = lambda_backends[PLACE.account]["us-east-1"].get_function(function).code_bytes
    assert isinstance(code, bytes)
    return code


def of_chalice(stage: Stage) -> dict[str, Any]:
    """Describe the resources of ``chalice deploy``: role, function, API."""
    iam, lambda_, gateway = client("iam"), client("lambda"), client("apigateway")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"].startswith(stage.prefix)]
    return {
        "roles": sorted(name for name in roles if not name.startswith(stage.data_stack)),
        "functions": sorted(one["FunctionName"] for one in lambda_.list_functions()["Functions"]),
        "apis": [one["id"] for one in gateway.get_rest_apis()["items"]],
    }


@pytest.mark.prove(ci=True)
@pytest.mark.filterwarnings("ignore:Tried to parse AWS..Backup:UserWarning")  # moto has no backup plans
@pytest.mark.filterwarnings("ignore:No Moto CloudFormation support for AWS..Backup:UserWarning")
def test_deploy_redeploy_and_delete(dev: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One test runs the whole sequence. The deployed resources are those that were checked, and a login succeeds."""
    assert "  + Lineages                    AWS::DynamoDB::Table" in (told := planned(capsys))
    assert "  + AuditConfigurationLogGroup  AWS::Logs::LogGroup" in told
    assert "RestoredSelection" not in told
    assert "  + API" in told
    assert "10,000 active accounts" in told
    assert told.endswith("next: make deploy STAGE=dev\n")
    assert deploy.stack_named(dev.data_stack, client("cloudformation")) == {}, "a plan makes nothing"

    told, function = deployed(tmp_path / "first", capsys)
    (api,) = of_chalice(dev)["apis"]
    url = f"https://{api}.execute-api.us-east-1.amazonaws.com/api"
    made = {"roles": sorted([ROLE, *JOBS]), "functions": ["baton-dev", *JOBS], "apis": [api]}
    assert of_chalice(dev) == made
    assert f"5/6 serve {url}" in told
    assert "key ring: created" in told
    assert f"DELETE {url}/me" in function.carried, "the last step of the smoke test"
    key = the_data_is_kept(dev)
    the_tables_of_a_team_join_it()
    the_roles_are_ours(dev, key, url, api)
    the_functions_are_what_was_checked({**dev.variables, "BATON_ISSUER": url})
    the_api_is_the_packaged_one(api)

    told = planned(capsys)
    assert not [line for line in told.splitlines() if line.startswith(("  +", "  ~", "  -"))]
    assert told.endswith("ok: no changes to deploy\n")
    change_by_hand(api)
    place = replace(PLACE, key_arn=key)
    found = differences(dev, place)
    assert {(one.sign, one.what, one.detail) for one in found if one.sign != "=" and one.what != "code"} == {
        ("~", "memory, MB", f"128 -> {CONFIG['lambda_memory_size']}"),
        ("~", "setting", "BATON_ORIGINS"),
        ("-", "setting", "DEBUG"),
        *(("~", "policy", sid) for sid in ("Users", "Lineages", "Ephemeral", "Audit", "NoKeyItems")),
        ("-", "policy", "Backdoor"),
        ("~", "policy", "Stage"),
        ("-", "route", "GET /backdoor"),
    }
    assert [one.sign for one in found if one.what == "code"] == ["~", "=", "=", "=", "=", "="]

    told, _ = deployed(tmp_path / "second", capsys)
    assert of_chalice(dev) == made
    assert "has no changes" in told
    assert "key ring: exists" in told
    assert [one for one in differences(dev, place) if one.sign != "="] == []

    a_deployment_from_elsewhere_makes_no_second_api(tmp_path, api)
    assert of_chalice(dev) == made

    deploy.fill(dev, replace(PLACE, key_arn=key), package.COPY / ".chalice")
    plain_chalice("deploy", "--stage", "dev")
    assert of_chalice(dev) == made
    the_roles_are_ours(dev, key, url, api)
    the_functions_are_what_was_checked({**dev.variables, "BATON_ISSUER": url})

    names = client("dynamodb").list_tables()["TableNames"]
    plain_chalice("delete", "--stage", "dev")
    assert of_chalice(dev) == {"roles": [], "functions": [], "apis": []}
    assert client("dynamodb").list_tables()["TableNames"] == names


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:5000"])
def test_a_login_is_tested_only_on_aws(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator runs no function, so a request to the printed URL would leave this machine."""
    transports: list[object] = []
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setattr(deploy, "deploy", lambda _, transport: transports.append(transport))
    assert deploy.main(["deploy", "dev"]) == 0
    assert [transport is None for transport in transports] == [bool(url)]


def a_deployment_from_elsewhere_makes_no_second_api(folder: Path, api: str) -> None:
    """Require an error without Chalice's record: Chalice would create a second API, with another issuer URL."""
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setattr(stages, "DEPLOYED", folder / "elsewhere")
        with pytest.raises(NotDone, match=f"already serves the API {api}(.|\n)*deployed from another folder"):
            deploy.deploy("dev", lambda *_: None, pause=lambda _: None)  # type: ignore[arg-type] # not called


def planned(capsys: pytest.CaptureFixture[str]) -> str:
    """Print the plan, and return the output."""
    plan.plan("dev", 10_000, pause=lambda _: None)
    return capsys.readouterr().out


def deployed(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, DeployedFunction]:
    """Deploy, with a smoke test of the deployed function, and return the output."""
    folder.mkdir()
    function = DeployedFunction(folder)
    with contextlib.ExitStack() as after:
        after.callback(function.end)
        deploy.deploy("dev", function, pause=lambda _: None)
    return capsys.readouterr().out, function


def built() -> Path:
    """Return the folder of the last package."""
    return package.BUILT / package.configured_architecture()


def the_data_is_kept(stage: Stage) -> str:
    """Check that tables, key and stack match the template, and return the key."""
    (stack,) = client("cloudformation").describe_stacks(StackName="baton-dev-data")["Stacks"]
    assert stack["EnableTerminationProtection"]
    assert {f"{stage.prefix}-{table}" for table in KEYS} <= set(client("dynamodb").list_tables()["TableNames"])
    key = deploy.key_arn(stage, client("kms"))
    assert client("kms").get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    return key


def the_tables_of_a_team_join_it() -> None:
    """Deploy the template of docs/baton/tables.md, which imports the exports of the data stack."""
    page = (template.ROOT / "docs" / "baton" / "tables.md").read_text("utf-8")
    (own,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    stacks, change = client("cloudformation"), {"StackName": "baton-dev-tables", "ChangeSetName": "first"}
    prefix = [{"ParameterKey": "Prefix", "ParameterValue": "baton-dev"}]
    stacks.create_change_set(**change, ChangeSetType="CREATE", TemplateBody=own, Parameters=prefix)
    stacks.execute_change_set(**change)
    assert "baton-dev-orders" in client("dynamodb").list_tables()["TableNames"]


def differences(stage: Stage, place: Place) -> list[plan.Change]:
    """Compare every function and the API with the last package."""
    archive = built() / "deployment.zip"
    found = [one for name in stage.policies for one in plan.changes_of_function(stage, place, archive, name)]
    return [*found, *plan.changes_of_api(stage, archive)]


def the_roles_are_ours(stage: Stage, key: str, url: str, api: str) -> None:
    """Check that each function has its own complete policy, and that only Lambda can assume the role."""
    iam, lambda_ = client("iam"), client("lambda")
    for function, policy_file in stage.policies.items():
        role = lambda_.get_function_configuration(FunctionName=function)["Role"].rpartition("/")[2]
        (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
        policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        wanted = (deploy.CHALICE / policy_file).read_text("utf-8")
        assert policy == json.loads(filled_policy(wanted, replace(PLACE, key_arn=key), {"BATON_ISSUER": url}, api))
        assert not {"REGION", "ACCOUNT", "KEY", "API", "api.example.com"} & set(
            json.dumps(policy).replace("/", ":").split(":")
        )
        assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        assert [statement["Principal"] for statement in trust] == [{"Service": "lambda.amazonaws.com"}]


def the_functions_are_what_was_checked(variables: dict[str, str]) -> None:
    """Check that the deployed zip is the checked zip, with the configured size and the right URL."""
    for name in ("baton-dev", *JOBS):
        described = client("lambda").get_function(FunctionName=name)["Configuration"]
        # Compare digests: pytest would compare two different zips line by line for minutes.
        assert sha256(code_of(name)).digest() == sha256((built() / "deployment.zip").read_bytes()).digest()
        sizes = CONFIG["lambda_memory_size"], CONFIG["lambda_timeout"]
        assert (described["MemorySize"], described["Timeout"]) == sizes
        assert described["Runtime"] == package.runtime()
        assert described["Architectures"] == [package.configured_architecture()]
        assert described["Environment"]["Variables"] == variables


def the_api_is_the_packaged_one(api: str) -> None:
    """Check that the API has exactly the packaged routes, under the stage."""
    gateway = client("apigateway")
    (packaged,) = template.of_type(template.read(built() / "sam.yaml"), "AWS::Serverless::Api").values()
    paths = packaged["DefinitionBody"]["paths"]
    resources = gateway.get_resources(restApiId=api, embed=["methods"])["items"]
    assert {(one["path"], method) for one in resources for method in one.get("resourceMethods", {})} == {
        (path, method.upper()) for path, methods in paths.items() for method in methods
    }
    assert [one["stageName"] for one in gateway.get_stages(restApiId=api)["item"]] == ["api"]


def change_by_hand(api: str) -> None:
    """Change functions, roles and API by hand."""
    lambda_, iam, gateway = client("lambda"), client("iam"), client("apigateway")
    variables = lambda_.get_function(FunctionName="baton-dev")["Configuration"]["Environment"]["Variables"]
    planted = {**variables, "BATON_ORIGINS": "https://evil.example", "DEBUG": "1"}
    lambda_.update_function_configuration(FunctionName="baton-dev", MemorySize=128, Environment={"Variables": planted})
    lambda_.update_function_code(FunctionName="baton-dev", ZipFile=_zip_of("app.py"))
    (name,) = iam.list_role_policies(RoleName=ROLE)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=ROLE, PolicyName=name)["PolicyDocument"]
    wider = json.loads(json.dumps(policy).replace("dynamodb:PutItem", "dynamodb:*"))
    wider["Statement"].append({**wider["Statement"][0], "Sid": "Backdoor"})
    iam.put_role_policy(RoleName=ROLE, PolicyName=name, PolicyDocument=json.dumps(wider))
    (audits,) = iam.list_role_policies(RoleName="baton-dev-audit_configuration")["PolicyNames"]
    policy = iam.get_role_policy(RoleName="baton-dev-audit_configuration", PolicyName=audits)["PolicyDocument"]
    wider = json.loads(json.dumps(policy).replace("apigateway:GET", "apigateway:*"))
    iam.put_role_policy(RoleName="baton-dev-audit_configuration", PolicyName=audits, PolicyDocument=json.dumps(wider))
    (root,) = [one["id"] for one in gateway.get_resources(restApiId=api)["items"] if one["path"] == "/"]
    backdoor = gateway.create_resource(restApiId=api, parentId=root, pathPart="backdoor")["id"]
    gateway.put_method(restApiId=api, resourceId=backdoor, httpMethod="GET", authorizationType="NONE")


def _zip_of(name: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as opened:
        opened.writestr(name, "")
    return written.getvalue()


def plain_chalice(*words: str) -> None:
    """Run Chalice directly, on the copy that `make package` leaves. Its wheels are those that were checked."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chalice")), *words],
        cwd=package.COPY,
        # Chalice imports app.py. Its bytecode would be packaged too, and would be the only difference.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- Checks before the first change ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["local", "staging", ""])
def test_a_stage_that_cannot_be_deployed_is_refused(name: str) -> None:
    """``local`` is only for the machine of a developer."""
    with pytest.raises(NotDone, match="STAGE is one of dev, prod"):
        stage_named(name, CONFIG)


def test_invalid_settings_are_all_reported_before_the_deployment() -> None:
    """The data stack is not changed."""
    broken = json.loads(json.dumps(CONFIG))
    broken["stages"]["dev"]["environment_variables"] |= {"BATON_KEY_RING": "local", "BATON_LOG_LEVEL": "LOUD"}
    with pytest.raises(NotDone) as told:
        stage_named("dev", broken)
    assert "BATON_KEY_RING" in str(told.value)
    assert "BATON_LOG_LEVEL" in str(told.value)


def test_an_invalid_registry_is_reported_before_the_deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every problem of the registry is listed. Otherwise the deployed function would answer no request."""
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    (tmp_path / "clients-dev.toml").write_text("[client.app]\ncode = 1\n[user]\n", "utf-8")
    with pytest.raises(NotDone, match=r"unknown table \[user\](.|\n)*client\.app"):
        stage_named("dev", CONFIG)


def test_production_is_not_deployed_with_the_registry_of_the_demonstration() -> None:
    """It would give every client with a password a 180-day bearer token."""
    with pytest.raises(NotDone, match=r"clients-prod\.toml(.|\n)*docs/baton/operations\.md"):
        stage_named("prod", package.configuration())
    named = deepcopy(CONFIG)
    named["stages"]["prod"]["environment_variables"]["BATON_CLIENTS"] = "clients.toml"
    with pytest.raises(NotDone, match="demonstration = true"):
        stage_named("prod", named)


def test_a_misspelt_setting_is_reported_before_the_deployment() -> None:
    """The function makes the same check."""
    misspelt = deepcopy(CONFIG)
    misspelt["stages"]["dev"]["environment_variables"]["BATON_RATE_LIMIT"] = "off"
    with pytest.raises(NotDone, match="BATON_RATE_LIMIT is not a setting; the nearest is BATON_RATE_LIMITS"):
        stage_named("dev", misspelt)


@pytest.mark.parametrize("level", ["application", "stage", "function", "nowhere"])
def test_a_longer_function_time_out_is_refused(level: str) -> None:
    """Baton treats a run as stopped after 20 seconds. If it still ran, a repeated call could take effect twice."""
    config = deepcopy(CONFIG)
    dev = config["stages"]["dev"]
    if level == "function":
        dev["lambda_functions"]["api_handler"] = {"iam_policy_file": "policy-dev.json"}
    where = {"application": config, "stage": dev, "function": dev["lambda_functions"].get("api_handler", {})}
    if level == "nowhere":
        del config["lambda_timeout"]
    else:
        where[level]["lambda_timeout"] = 16
    with pytest.raises(NotDone, match=r"lambda_timeout is (16|60) seconds, and must be at most 15"):
        stage_named("dev", config)
    if level != "nowhere":
        where[level]["lambda_timeout"] = 15
        assert stage_named("dev", config).name == "dev"


def test_a_wrong_python_is_reported_before_any_aws_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The runtime of the function is the Python version that deploys it."""

    class Future:
        """A future Python version."""

        major, minor = 3, 99

    monkeypatch.setattr(sys, "version_info", Future)
    monkeypatch.setattr(boto3, "client", None)
    with pytest.raises(SystemExit, match=r"no python3\.99"):
        deploy.main(["deploy", "dev"])


def test_missing_credentials_are_reported_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the remedy, and exits with 1."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert deploy.main(["deploy", "dev"]) == 1
    assert capsys.readouterr().err.startswith("Set AWS credentials: none are set.")


def test_only_the_placeholders_of_the_stage_are_filled_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bug: the variables of the top level were written into every stage, so a later change of them had no effect."""
    shutil.copytree(deploy.CHALICE, tmp_path / ".chalice")
    config = tmp_path / ".chalice" / "config.json"
    before = json.loads(config.read_text("utf-8"))
    for described in before["stages"].values():
        described["environment_variables"].pop("BATON_LOG_LEVEL", None)
    before["stages"]["dev"]["environment_variables"]["BATON_ISSUER"] = stages.PLACEHOLDER
    before["environment_variables"] = {"BATON_LOG_LEVEL": "INFO"}
    config.write_text(json.dumps(before), "utf-8")
    monkeypatch.setattr(deploy, "deployed_url", lambda _: "https://x.example.com/api")
    monkeypatch.setattr(deploy, "deployed_api", lambda _: "x")
    deploy.fill(stage_named("dev", stages.read_config(config)), PLACE, tmp_path / ".chalice")
    before["stages"]["dev"]["environment_variables"]["BATON_ISSUER"] = "https://x.example.com/api"
    assert json.loads(config.read_text("utf-8")) == before


def test_a_zip_that_fails_a_check_is_not_deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The size limit and all other checks run before ``chalice deploy``."""
    planted = tmp_path / "planted.zip"
    with zipfile.ZipFile(planted, "w") as opened:
        opened.writestr("moto/__init__.py", "")
    monkeypatch.setattr(package, "build", lambda *_: planted)
    monkeypatch.setattr(package, "chalice", None)
    with pytest.raises(NotDone, match=r"must not be in the zip: moto(.|\n)*the function was not changed\nnext: "):
        deploy.apply_function(stage_named("dev", CONFIG), PLACE)


def test_a_policy_is_filled_in_for_this_account_only() -> None:
    """Every resource of every policy names this region and account. The AWS partition of the test is that of China."""
    place = replace(PLACE, region="cn-north-1", partition="aws-cn")
    for stage in ("dev", "prod"):
        for file in stage_named(stage, with_mail(stage)).policies.values():
            policy = (deploy.CHALICE / file).read_text("utf-8")
            filled = filled_policy(
                policy, place, SENDING | {"BATON_ISSUER": "https://login.example.cn/api"}, "abcde12345"
            )
            for statement in json.loads(filled)["Statement"]:
                for resource in statement["Resource"]:
                    assert resource.startswith("arn:aws-cn:")
                    account = "" if ":apigateway:" in resource else "123456789012"
                    region = "" if ":iam:" in resource else "cn-north-1"
                    assert resource.split(":")[3:5] == [region, account]
            jobs = "audit_configuration" in file
            assert filled.count("dynamodb.cn-north-1.amazonaws.com") == (not jobs)
            one_key = jobs or "android_revocations" in file
            assert filled.count("key/1234abcd-12ab") == (1 if one_key else 2)
            assert filled.count("::/domainnames/login.example.cn/basepathmappings") == jobs
            assert filled.count("::/restapis/abcde12345/stages") == jobs
            assert filled.count('"ses:FromAddress": "login@example.com"') == file.endswith("-jobs.json")


def test_policies_follow_a_changed_sender(tmp_path: Path) -> None:
    """A policy that was already filled in is changed too. Without a sender, the function can send from no address."""
    policy = (deploy.CHALICE / "policy-dev-jobs.json").read_text("utf-8")
    for sender, address in (("a@example.com", "a@example.com"), ("X <b@example.org>", "b@example.org")):
        variables = {"BATON_ISSUER": "https://x.example", "BATON_MAIL_FROM": sender}
        policy = filled_policy(policy, PLACE, variables, None)
        assert f'"ses:FromAddress": "{address}"' in policy
    assert '"ses:FromAddress": "MAIL_FROM"' in filled_policy(policy, PLACE, {"BATON_ISSUER": "https://x.example"}, None)


def test_the_queue_of_the_settings_is_the_queue_of_the_stack() -> None:
    """The account and the region are filled in. A stage without mail has no queue."""
    stage = stage_named("prod", with_mail("prod"))
    assert stage.parameters["Mail"] == "ses"
    assert list(stage.policies) == [
        f"baton-prod{job}"
        for job in (
            "",
            "-rotate_keys",
            "-audit_configuration",
            "-android_revocations",
            "-apple_revocations",
            "-operate",
            *QUEUE_FUNCTIONS,
        )
    ]
    filled = filled_config(with_mail("prod"), stage, PLACE, None)["stages"]["prod"]["environment_variables"]
    assert filled["BATON_MAIL_QUEUE"] == "https://sqs.us-east-1.amazonaws.com/123456789012/baton-prod-mail"
    assert (
        filled_config(filled_of := {"stages": {"prod": {"environment_variables": filled}}}, stage, PLACE, None)
        == filled_of
    )
    queue = template.resolve(template.read(template.DATA)["Resources"]["MailQueue"], stage.parameters)
    assert filled["BATON_MAIL_QUEUE"].endswith(f"/{queue['Properties']['QueueName']}")
    without = stage_named("prod", CONFIG)
    assert without.parameters["Mail"] == "off"
    assert list(without.policies) == [
        f"baton-prod{job}"
        for job in (
            "",
            "-rotate_keys",
            "-audit_configuration",
            "-android_revocations",
            "-apple_revocations",
            "-operate",
        )
    ]


def test_a_queue_without_mail_has_the_jobs_and_nothing_of_ses() -> None:
    """A team may send no mail, but have work to do after a deletion."""
    config = with_mail("prod", BATON_MAIL="off")
    stage = stage_named("prod", config)
    assert stage.parameters["Mail"] == "queue"
    assert list(stage.policies)[-1] == "baton-prod-jobs"
    assert "baton-prod-mail_feedback" not in stage.policies
    made = {name for name in DATA["Resources"] if template.exists(DATA, name, deploy.parameters_of(stage, {}))}
    assert {"MailQueue", "MailDeadLetters", "JobsLogGroup"} <= made
    assert not {name for name in made if DATA["Resources"][name]["Type"].startswith("AWS::SES::")}


def test_mail_can_be_switched_off_and_on_again() -> None:
    """CloudFormation keeps such a resource and forgets it. It could not make a second one with the same name."""
    kept = {name: one for name, one in DATA["Resources"].items() if one.get("DeletionPolicy") == "Retain"}
    named = {name for name, one in kept.items() if any(key.endswith("Name") for key in one["Properties"])}
    assert {"JobsLogGroup", "MailFeedbackLogGroup", "LogGroup"} <= named
    assert not [name for name in named if "Condition" in kept[name]]


@pytest.mark.parametrize(
    ("known", "before", "made"),
    [
        pytest.param(set(), None, "example.com", id="a new domain"),
        pytest.param({"example.com"}, None, "", id="a domain that SES has already"),
        pytest.param({"login@example.com"}, None, "", id="an address that SES has already"),
        pytest.param({"example.com"}, "example.com", "example.com", id="the domain of this stack"),
        pytest.param({"example.org"}, "example.org", "example.com", id="another domain than before"),
    ],
)
def test_an_identity_that_exists_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch, known: set[str], before: str | None, made: str
) -> None:
    """CloudFormation would fail: two stages of one account may use one domain."""
    monkeypatch.setattr(deploy, "has_identity", lambda identity: identity in known)
    stack = {"Parameters": [{"ParameterKey": "MailDomain", "ParameterValue": before}]} if before else {}
    parameters = deploy.parameters_of(stage_named("prod", with_mail("prod")), stack)
    assert parameters["MailDomain"] == made
    assert template.exists(DATA, "MailIdentity", parameters) is bool(made)


def test_an_identity_is_looked_up_in_ses(aws: str) -> None:
    """An identity is found whether or not it is verified."""
    del aws
    client("sesv2").create_email_identity(EmailIdentity="known.example.com")
    assert deploy.has_identity("known.example.com")
    assert not deploy.has_identity("unknown.example.com")


def test_policies_follow_a_changed_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain is first the URL of the API, and later a custom domain. Every file of the stage is changed."""
    monkeypatch.setattr(stages, "DEPLOYED", tmp_path / "nothing deployed")
    folder = Path(shutil.copytree(deploy.CHALICE, tmp_path / "chalice", ignore=shutil.ignore_patterns("deployed")))
    stage = stage_named("dev", CONFIG)
    for issuer in ("https://abc.execute-api.us-east-1.amazonaws.com/api", "https://login.example.org"):
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config["stages"]["dev"]["environment_variables"]["BATON_ISSUER"] = issuer
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        deploy.fill(stage, PLACE, folder)
        said = "".join((folder / name).read_text("utf-8") for name in stage.policies.values())
        assert not {"REGION", "ACCOUNT", "KEY"} & set(said.replace("/", ":").replace(".", ":").split(":"))
        assert f"/domainnames/{issuer.split('/')[2]}/basepathmappings" in said
    assert "execute-api" not in said


def note_api(api: str) -> None:
    """Write Chalice's record of a deployed API."""
    url = f"https://{api}.execute-api.us-east-1.amazonaws.com/api/"
    noted = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": api, "rest_api_url": url}
    (stages.DEPLOYED / "dev.json").write_text(json.dumps({"resources": [noted]}), "utf-8")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a ``.chalice`` folder for this test, without a deployment."""
    monkeypatch.setattr(stages, "DEPLOYED", tmp_path)
    monkeypatch.setattr(package, "COPY", tmp_path)
    return Path(shutil.copytree(deploy.CHALICE, tmp_path / ".chalice", ignore=shutil.ignore_patterns("deployed")))


def looked_at(folder: Path) -> str:
    """Return the stages that the policy of the daily audit of ``dev`` allows to read."""
    policy = (folder / "policy-dev-audit_configuration.json").read_text("utf-8")
    (found,) = re.findall(r"::/restapis/([^/]+)/stages", policy)
    return str(found)


def test_policies_follow_a_new_api(copy: Path) -> None:
    """Without an API, the policy has an id that no API can have."""
    stage = stage_named("dev", CONFIG)
    deploy.fill(stage, PLACE, copy)
    assert looked_at(copy) == "API"
    for api in ("abcde12345", "fghij67890"):
        note_api(api)
        deploy.fill(stage, PLACE, copy)
        assert looked_at(copy) == api


def test_the_policies_contain_the_id_of_a_new_api(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first deployment of a stage with a custom domain also runs Chalice twice. Later deployments run it once."""
    stage = stage_named("dev", CONFIG)
    stage = replace(stage, variables={**stage.variables, "BATON_ISSUER": "https://login.example.org"})
    deployed_with: list[str] = []

    def chalice(*_: str) -> None:
        deployed_with.append(looked_at(copy))
        note_api("abcde12345")

    monkeypatch.setattr(package, "build", lambda *_: None)
    monkeypatch.setattr(package, "unfit", lambda *_: [])
    monkeypatch.setattr(package, "weighed", lambda *_: "weight")
    monkeypatch.setattr(package, "chalice", chalice)
    for _ in range(2):
        assert deploy.apply_function(stage, PLACE)[0] == "https://login.example.org"
    assert deployed_with == ["API", "abcde12345", "abcde12345"]


def test_a_stage_with_restored_tables_keeps_its_stack_key_and_names() -> None:
    """Restored tables have another prefix.

    A data stack with that prefix would be a second data stack with an empty key ring.
    """
    restored = json.loads(json.dumps(CONFIG))
    restored["stages"]["prod"]["environment_variables"]["BATON_TABLE_PREFIX"] = "baton-prod2"
    stage = stage_named("prod", restored)
    assert (stage.prefix, stage.data_stack, stage.tables.users) == (
        "baton-prod",
        "baton-prod-data",
        "baton-prod2-users",
    )
    assert stage.parameters == {"Prefix": "baton-prod", "Tables": "baton-prod2", "Mail": "off"}
    assert stage_named("prod", CONFIG).parameters["Tables"] == "baton-prod"


def test_a_name_that_chalice_does_not_use_is_refused() -> None:
    """Log groups, alarms and audit would name functions that do not exist."""
    renamed = json.loads(json.dumps(CONFIG))
    variables = renamed["stages"]["prod"]["environment_variables"]
    variables["BATON_DEPLOYMENT"] = "acme-prod"
    with pytest.raises(NotDone, match=r"BATON_DEPLOYMENT is [a-z0-9-]+, and must be baton-prod"):
        stage_named("prod", renamed)
    del variables["BATON_DEPLOYMENT"]
    assert stage_named("prod", renamed).prefix == "baton-prod"
    variables["BATON_TABLE_PREFIX"] = "baton-prod2"
    with pytest.raises(NotDone, match=r"BATON_DEPLOYMENT is [a-z0-9-]+, and must be baton-prod"):
        stage_named("prod", renamed)


def test_a_custom_domain_is_kept() -> None:
    """The URL of the API replaces only the placeholder."""
    stage = stage_named("dev", CONFIG)
    url = "https://abc.execute-api.us-east-1.amazonaws.com/api"
    filled = filled_config(CONFIG, stage, PLACE, url)
    assert filled["stages"]["dev"]["environment_variables"]["BATON_ISSUER"] == url
    assert filled["stages"]["prod"] == CONFIG["stages"]["prod"]
    assert filled_config(CONFIG, stage, PLACE, None) == CONFIG
    filled["stages"]["dev"]["environment_variables"]["BATON_ISSUER"] = "https://login.example.org"
    assert filled_config(filled, stage, PLACE, url) == filled


class CloudFormation:
    """A data stack in a given state, and the calls that it receives."""

    def __init__(self, status: str | None, *, changes: bool = True, protected: bool = False, **parameters: str) -> None:
        """Set the state that ``describe_stacks`` returns."""
        self.status, self.changes, self.protected = status, changes, protected
        self.parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        self.asked: dict[str, dict[str, Any]] = {}

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        """Answer as AWS does."""
        if self.status is None:
            said = {"Error": {"Code": "ValidationError", "Message": "Stack with id x does not exist"}}
            raise ClientError(said, "DescribeStacks")  # type: ignore[arg-type] # only the members that are read
        stack = {
            "StackStatus": self.status,
            "Parameters": self.parameters,
            "EnableTerminationProtection": self.protected,
        }
        return {"Stacks": [stack]}

    def describe_change_set(self, **_: str) -> dict[str, Any]:
        """Return one change, or none."""
        if not self.changes:
            return {"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes."}
        return {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": {}}]}

    def get_waiter(self, name: str) -> Any:
        """Return without waiting."""
        self.status = {"stack_create_complete": "CREATE_COMPLETE", "stack_update_complete": "UPDATE_COMPLETE"}[name]
        return SimpleNamespace(wait=lambda **_: None)

    def update_termination_protection(self, **asked: Any) -> None:
        """Record the protection."""
        self.protected = asked["EnableTerminationProtection"]

    def __getattr__(self, name: str) -> Any:
        """Record any other call."""
        return lambda **asked: self.asked.update({name: asked})


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> Callable[[CloudFormation], str]:
    """Update a data stack."""

    def apply(stack: CloudFormation) -> str:
        monkeypatch.setattr(deploy, "client", lambda _: stack)
        return deploy.apply_data_stack(stage_named("prod", CONFIG), lambda _: None)

    return apply


def test_a_deployment_keeps_the_retention_of_the_operator(applied: Callable[[CloudFormation], str]) -> None:
    """Bug: a missing parameter was reset to the default of the template, which deleted log lines of a year."""
    stack = CloudFormation("UPDATE_COMPLETE", Prefix="baton-prod", LogDays="365", BackupDays="35", Gone="x")
    assert applied(stack) == "baton-prod-data updated, 1 resource"
    assert {
        one["ParameterKey"]: one.get("ParameterValue") for one in stack.asked["create_change_set"]["Parameters"]
    } == {
        "Prefix": "baton-prod",
        "Tables": "baton-prod",
        "Mail": "off",
        "MailDomain": "",
        "LogDays": None,
    }
    assert stack.asked["execute_change_set"]["DisableRollback"] is False


def test_a_failed_creation_can_be_continued(applied: Callable[[CloudFormation], str]) -> None:
    """Bug: after a rollback, tables and log groups remained. Their names were taken, so no deployment could succeed."""
    new = CloudFormation(None)
    applied(new)
    assert new.asked["create_change_set"]["ChangeSetType"] == "CREATE"
    assert new.asked["execute_change_set"]["DisableRollback"] is True
    failed = CloudFormation("CREATE_FAILED", Prefix="baton-prod")
    applied(failed)
    assert failed.asked["create_change_set"]["ChangeSetType"] == "UPDATE"
    assert failed.asked["execute_change_set"]["DisableRollback"] is True
    assert new.protected
    assert failed.protected


def test_an_interrupted_deployment_restores_the_stack_protection(applied: Callable[[CloudFormation], str]) -> None:
    """Every deployment sets the deletion protection, not only the first deployment."""
    stack = CloudFormation("CREATE_COMPLETE", changes=False)
    assert applied(stack) == "baton-prod-data has no changes"
    assert stack.protected


def test_a_hardened_stage_is_not_deployed_by_chalice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chalice would take over its functions and create a second API without firewall and throttling."""
    stack = CloudFormation("CREATE_COMPLETE")
    monkeypatch.setattr(deploy, "client", lambda _: stack)
    monkeypatch.setattr(deploy, "place_of_credentials", lambda: PLACE)
    monkeypatch.setattr(package, "configuration", lambda: CONFIG)
    assert deploy.main(["deploy", "prod"]) == 1
    assert "is deployed in the hardened way, with the stack baton-prod" in capsys.readouterr().err
    assert stack.asked == {}


def test_only_the_data_is_deployed_for_a_hardened_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command deploys stack and key ring with the same steps, and nothing of Chalice."""
    monkeypatch.setattr(deploy, "place_of_credentials", lambda: PLACE)
    monkeypatch.setattr(deploy, "client", lambda _: None)
    monkeypatch.setattr(deploy, "apply_data_stack", lambda *_: "baton-prod-data created")
    monkeypatch.setattr(deploy, "key_arn", lambda *_: PLACE.key_arn)
    monkeypatch.setattr(deploy, "make_ring", lambda *_: "created")
    monkeypatch.setattr(package, "configuration", lambda: CONFIG)
    assert deploy.main(["data", "prod"]) == 0
    told = capsys.readouterr().out
    assert "3/6 key ring: created" in told
    assert "4/6" not in told


def test_an_old_change_set_does_not_prevent_a_deployment(applied: Callable[[CloudFormation], str]) -> None:
    """Every change set has a new name."""
    names = set()
    for _ in range(2):
        stack = CloudFormation("CREATE_COMPLETE")
        applied(stack)
        names.add(stack.asked["execute_change_set"]["ChangeSetName"])
    assert len(names) == 2


@pytest.mark.parametrize("words", [[], ["deploy"], ["fill"], ["destroy", "dev"]])
def test_unknown_arguments_print_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The command changes nothing."""
    assert deploy.main(words) == 2
    assert "deploy STAGE" in capsys.readouterr().err


def test_no_key_ring_is_created_over_accounts(tables: Tables) -> None:
    """Bug: a deployment to tables without a key ring created a key ring, and logged out every user.

    Now it prints the remedy.
    """
    stage = stage_named("dev", CONFIG)
    restored = replace(stage, settings=replace_struct(stage.settings, table_prefix=tables.prefix))
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    client("dynamodb").put_item(TableName=tables.lineages, Item={"pk": {"S": "U#AbCd"}})
    with pytest.raises(NotDone, match=r"STAGE=dev python -m tools\.operate make-ring"):
        deploy.make_ring(restored, key)
    assert "Item" not in client("dynamodb").get_item(TableName=tables.users, Key={"pk": {"S": "K#ring"}})
    client("dynamodb").delete_item(TableName=tables.lineages, Key={"pk": {"S": "U#AbCd"}})
    assert [deploy.make_ring(restored, key) for _ in range(2)] == ["created", "exists"]
