// The agent of the TypeScript client: JSON lines on standard input become calls of the client. It is never shipped.

import { createInterface } from "node:readline";
import { join } from "node:path";
import { BatonError, FileStorage, SoftwareKeys, fetchTransport, nodeBaton } from "../../../../clients/typescript/src/node.js";
import { verbsOf } from "./verbs.js";

const say = (members) => process.stdout.write(JSON.stringify(members) + "\n");

const edgesOf = ({ store }) => ({
  storage: new FileStorage(join(store, "record")),
  transport: fetchTransport(),
  make: (options) => nodeBaton({ folder: store, ...options }),
});
edgesOf.loseKey = async (storage) => {
  const { data } = await new SoftwareKeys().create();
  await storage.update((now) => ({ ...now, key: { ...now.key, data } }));
};

const die = () => process.kill(process.pid, "SIGKILL");
const VERBS = verbsOf({ edgesOf, say, die, run: (said) => run(said) });

async function run({ id, do: verb, ...named }) {
  try {
    const value = await VERBS[verb]({ ...named, ...(verb === "call" ? { id } : {}) });
    return { ok: value === undefined || verb === "expire" ? null : value };
  } catch (error) {
    const names = { TypeError: "type_error", AbortError: "cancelled" };
    const kind = error instanceof BatonError ? error.kind : names[error.name] ?? error.name;
    const { reason = null, code = null, action = null, confirmed = null, status = null } = error;
    return { error: { kind, text: error.message, reason, code, action, confirmed, status } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const said = JSON.parse(line);
  run(said).then((result) => say({ id: said.id, ...result }));
}
