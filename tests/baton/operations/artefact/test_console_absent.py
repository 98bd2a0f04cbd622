"""T35: the packaged zip does not contain the console, the development API and the faults. It contains ``operate``."""

import json
import marshal
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton_client import BatonClient, LoggedOut, MemoryStorage
from tests.baton.operations.artefact.conftest import variables
from tests.baton.repository import ours_only
from tests.baton.wire.conftest import BASE_URL, PASSWORD, Line
from tools.dev.api.faults import KINDS
from tools.dev.api.routes import DevApi
from tools.dev.environment import Environment, Packaged
from tools.dev.gateway import DevelopmentClock, Gateway
from tools.template import parse

pytestmark = [pytest.mark.prove(ci=True), ours_only]

WORDS = {"/_dev", "_dev/", "baton-phone", "baton-console", "tools.dev", "stage_console", "baton_testing"}
FAULTS = {name for name in KINDS if "_" in name} - {"clock_skew"}
"""The names of the faults, without two that are ordinary words, and one that is also an error code of Baton."""
FOLDERS = ("tools/", "tests/", "clients/", "docs/", "infra/", "chalicelib/baton/testing/")


def own_files(zipped: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Yield the files of Baton and of the app."""
    for name in zipped.namelist():
        if name.startswith(("chalicelib/", "app.")):
            yield name, zipped.read(name)


def constants(code: types.CodeType) -> Iterator[str]:
    """Yield every name and text of compiled code."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from constants(constant)
        elif isinstance(constant, str):
            yield constant


def test_no_file_of_the_console_is_in_the_zip(built: Path) -> None:
    """The zip has no tool, no page, no test kit and no client."""
    with zipfile.ZipFile(built / "deployment.zip") as zipped:
        names = zipped.namelist()
    assert [name for name in names if name.startswith(FOLDERS)] == []
    assert [name for name in names if "console" in name.rpartition("/")[2] and name.startswith("chalicelib/")] == []
    assert "chalicelib/baton/http/jobs.py" in names or "chalicelib/baton/http/jobs.pyc" in names


def test_no_text_of_the_console_and_of_the_faults_is_in_the_zip(built: Path) -> None:
    """The search covers sources and the constants of bytecode, where a search for bytes could miss a part."""
    found = []
    with zipfile.ZipFile(built / "deployment.zip") as zipped:
        for name, content in own_files(zipped):
            texts = [content.decode(errors="replace")]
            if name.endswith(".pyc"):
                texts = list(constants(marshal.loads(content[16:])))  # noqa: S302 - of the zip that this test built
            found += [(name, word) for word in WORDS | FAULTS for text in texts if word in text.lower()]
    assert found == []


def test_no_route_of_the_console_is_deployed(built: Path, environment: Environment) -> None:
    """The gateway of the packaged template answers 404, at the root of the stage and outside of it."""
    api = DevApi(Gateway([Packaged(built / "sam.yaml", environment)]), DevelopmentClock())
    gateway = Gateway([Packaged(built / "sam.yaml", environment)])
    paths = {route.partition(" ")[2].replace("{}", "x") for route in api._routes}
    assert {"faults", "clock", "accounts/x/x"} <= paths
    for path in sorted(paths):
        for prefix in ("/_dev/", "/api/_dev/"):
            for method in ("GET", "POST", "DELETE"):
                said = gateway.call(method, prefix + path, [("Host", "localhost:8000")], b"")
                assert said.status == 404, (method, prefix + path)
    for page in ("/", "/index.html", "/api/", "/api/index.html", "/client/browser.js"):
        assert gateway.call("GET", page).status == 404
    paths_of_template = json.dumps(parse((built / "sam.yaml").read_text("utf-8"))).lower()
    assert "_dev" not in paths_of_template.replace("baton_development", "")
    assert "operate" in paths_of_template


def test_the_packaged_function_operate_finds_an_account(
    task: Path, aws: str, built: Path, environment: Environment
) -> None:
    """Lambda calls it with a raw event. It has no event source and no route."""
    line = Line(Gateway([Packaged(built / "sam.yaml", environment)]))
    phone = BatonClient(BASE_URL, "mobile", MemoryStorage(), transport=line, sleep=lambda _: None)
    phone.register("grace@example.com", PASSWORD, "Grace's phone")
    account = phone.me()["account_id"]
    with Environment(task, variables(aws), handler="chalicelib.baton.http.jobs.operate") as function:
        assert function.invoke({"op": "find", "operator": "arn", "q": "nobody@example.com"}) == {"accounts": []}
        found = function.invoke({"op": "find", "operator": "arn", "q": "grace@example.com"})
        assert found["accounts"][0]["account"] == account
        ended = {"op": "end_all", "operator": "arn", "account": account, "confirm": "grace@example.com"}
        assert function.invoke(ended) == {"account": account, "status": "active"}
        with pytest.raises(LoggedOut, match="ended_by_operator"):
            phone.me()
        refused = function.invoke({"op": "drop", "operator": "arn"})
        assert refused["error"]["code"] == "malformed"
        refused = function.invoke({"op": "disable", "operator": "arn", "account": "unknown", "confirm": "x"})
        assert refused["error"]["status"] == 404
    template = parse((built / "sam.yaml").read_text("utf-8"))
    operate = template["Resources"]["Operate"]["Properties"]
    assert "Events" not in operate
    assert "FunctionUrlConfig" not in operate
