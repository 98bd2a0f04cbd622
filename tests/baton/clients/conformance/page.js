// The agent in a page: it polls the driver for the next line. One tab is one agent, and tabs of a profile share a store.

import { BatonError, Database, IndexedDbStorage, WebCryptoKeys, browserBaton, fetchTransport } from "/clients/typescript/src/browser.js";
import { verbsOf } from "./verbs.js";

const id = new URLSearchParams(location.search).get("id");
const post = (path, members) => fetch(`${path}?id=${id}`, { method: "POST", body: JSON.stringify(members) });
const say = (members) => void post("/said", members);
const seen = new Set(); // The tokens that this tab has read from the record.

const edgesOf = ({ client_id }) => {
  const database = new Database(`baton.${client_id}`);
  const storage = noting(new IndexedDbStorage(database));
  const sending = fetchTransport();
  const transport = async (request, limits) => {
    for (const token of tokensOf(request)) if (!seen.has(token)) say({ event: "unstored", path: new URL(request.url).pathname });
    return sending(request, limits);
  };
  return { storage, transport, make: browserBaton };
};
edgesOf.loseKey = async (storage) => {
  const { key } = await storage.read();
  for (const { name } of await indexedDB.databases()) await new WebCryptoKeys(new Database(name)).remove(key);
};

const noting = (storage) => ({ read: async () => noted(await storage.read()), update: async (change) => noted(await storage.update(change)) });
function noted(record) {
  for (const token of [record.session?.access_token, record.session?.refresh_token, ...record.revocations.map((one) => one.token)])
    if (token) seen.add(token);
  return record;
}

function tokensOf({ headers, url, body }) {
  const form = url.includes("/oauth/") ? new URLSearchParams(new TextDecoder().decode(body)) : new URLSearchParams();
  const bearer = (headers.authorization ?? "").replace("Bearer ", "");
  return [bearer, form.get("refresh_token"), form.get("token")].filter(Boolean);
}

/** Wait until the driver closes the tab, which it does immediately. */
function die() {
  navigator.sendBeacon(`/ended?id=${id}`);
  return new Promise(() => {});
}

const VERBS = verbsOf({ edgesOf, say, die, run: (said) => run(said) });

async function run({ id: number, do: verb, ...named }) {
  try {
    const value = await VERBS[verb]({ ...named, ...(verb === "call" ? { id: number } : {}) });
    return { ok: value === undefined || verb === "expire" ? null : value };
  } catch (error) {
    const names = { TypeError: "type_error", AbortError: "cancelled" };
    const kind = error instanceof BatonError ? error.kind : (names[error.name] ?? error.name);
    const { reason = null, code = null, action = null, confirmed = null, status = null } = error;
    return { error: { kind, text: error.message, reason, code, action, confirmed, status } };
  }
}

addEventListener("error", ({ message }) => say({ event: "defect", message }));
addEventListener("unhandledrejection", ({ reason }) => say({ event: "defect", message: String(reason) }));
for (;;) {
  const answer = await fetch(`/poll?id=${id}`, { method: "POST" });
  if (answer.status === 200) {
    const said = await answer.json();
    run(said).then((result) => say({ id: said.id, ...result }));
  }
}
