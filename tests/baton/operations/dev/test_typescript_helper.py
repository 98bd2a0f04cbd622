"""The helper for the tests of an app in JavaScript, against a development server."""

import json
import subprocess

from tests.baton.clients.node import node
from tests.baton.operations.dev.conftest import Server
from tools.template import ROOT

HELPER = ROOT / "clients" / "typescript" / "testing" / "development.js"
PROGRAM = """
import { Development, DevelopmentError, FaultNotMetError } from %(helper)s;
const url = process.argv[1];
const dev = new Development(url);
const said = [];
said.push(await dev.fault("throttled", { route: "GET /time" }, async () => (await fetch(`${url}/api/time`)).status));
said.push((await fetch(`${url}/api/time`)).status);
said.push(await dev.fault("answer_lost", { phone: "p" }, async () => {
  try { await fetch(`${url}/api/time`, { headers: { "Baton-Phone": "p" } }); } catch (lost) { return lost.name; }
}));
try { await dev.fault("throttled", {}, async () => {}); } catch (unmet) {
  said.push(unmet instanceof FaultNotMetError);
}
try { await dev.fault("throttld", {}, async () => {}); } catch (refused) {
  said.push(refused instanceof DevelopmentError && refused.known.includes("throttled"));
}
said.push((await dev.faults()).length, await dev.skip(60) > 1e9, Array.isArray(await dev.mails()));
await dev.skip(-60);
console.log(JSON.stringify(said));
"""


def test_the_helper_plans_faults_and_notices_an_unmet_one(server: Server) -> None:
    """The helper is not in the published package: ``files`` of package.json does not list its folder."""
    program = PROGRAM % {"helper": json.dumps(HELPER.as_uri())}
    command = [node(), "--input-type=module", "--eval", program, "--", server.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [429, 200, "TypeError", True, True, 0, True, True]
    package = json.loads((ROOT / "clients" / "typescript" / "package.json").read_text("utf-8"))
    assert "testing" not in json.dumps([package["files"], package["exports"]])
