// The agent of the TypeScript client: JSON lines on standard input become calls of the client. It is never shipped.

import { createInterface } from "node:readline";
import { join } from "node:path";
import { BatonError, FileStorage, SoftwareKeys, fetchTransport, nodeBaton } from "../../../../clients/typescript/src/node.js";
import { thumbprint } from "../../../../clients/typescript/src/rules/signature.js";

let client, storage, step, asked = 0;
const set = { skew: 0, scale: 0, locked: false, full: false, crash: null };
const controls = new Map();
const say = (members) => process.stdout.write(JSON.stringify(members) + "\n");

/** End the process at the point that the driver has named, as if it was killed. */
function crash(point, path = "") {
  if (set.crash?.at === point && ["", path].includes(set.crash.path ?? "")) process.kill(process.pid, "SIGKILL");
}

/** The storage, which crashes, throws or is full on request. */
class Storage extends FileStorage {
  async read() {
    if (set.locked) throw new Error("locked");
    return super.read();
  }
  async update(change) {
    if (set.locked || set.full) throw new Error("full");
    const before = await super.read();
    const moves = change(before).session?.access_token !== before.session?.access_token;
    if (moves) crash("before_store");
    const after = await super.update(change);
    if (moves) crash("after_store");
    return after;
  }
}

const sending = fetchTransport();
async function transport(request, limits) {
  const path = request.url.split("?")[0].split("/api").slice(1).join("/api");
  crash("before_send", path);
  const answer = await sending(request, limits);
  crash("after_answer", path);
  return answer;
}

const login = (made) => {
  step = made.done ? step : made.step;
  return made.done ? { done: true, device_id: made.deviceId } : { done: false, factors: step.factors, enrol: step.enrol };
};
const confirming = (password) => async () => (asked++, { password });
const waiting = ({ deadline_s }) => (deadline_s === undefined ? {} : { deadline: deadline_s });

const VERBS = {
  open({ base_url, client_id, store, skew = 0, scale = 0, binding = "key" }) {
    Object.assign(set, { skew, scale });
    storage = new Storage(join(store, "record"));
    client = nodeBaton({
      baseUrl: base_url, clientId: client_id, folder: store, storage, binding, transport,
      clock: () => Date.now() / 1000 + set.skew,
      sleep: (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * set.scale * 1000)),
    });
    client.onState((state) => say({ event: "state", signed_in: state.signedIn, reason: state.reason ?? null }));
  },
  register: async ({ email, password, ...o }) => login(await client.register(email, password, { deviceName: "agent", ...waiting(o) })),
  login: async ({ email, password, ...o }) => login(await client.login(email, password, { deviceName: "agent", ...waiting(o) })),
  pending_step: async () => (step = await client.pendingStep()) !== null,
  prove: async ({ enrolment, ...proof }) => login(await step.prove(proof, enrolment ? { enrolment } : {})),
  enrolment: () => step.enrolment("totp"),
  async call({ id, method, path, password, idempotency_key, json, query, repeat, ...o }) {
    asked = 0;
    const control = new AbortController();
    controls.set(id, control);
    const answer = await client.call(method, path, {
      ...waiting(o), signal: control.signal,
      ...(json === undefined ? {} : { json }), ...(query ? { query } : {}), ...(repeat ? { repeat } : {}),
      ...(password === undefined ? {} : { confirm: confirming(password) }),
      ...(idempotency_key === undefined ? {} : { idempotencyKey: idempotency_key }),
    });
    const replayed = answer.headers.get("baton-replayed") ?? null;
    return { status: answer.status, json: answer.bytes.length ? answer.json() : null, asked, replayed };
  },
  step_up: ({ password, method, path, json }) => client.stepUp({ password }, method, path, json === undefined ? {} : { json }),
  me: (o) => (o.deadline_s === undefined ? client.me() : client.call("GET", "/me", waiting(o)).then((answer) => answer.json())),
  forgot_password: ({ email }) => client.forgotPassword(email),
  reset_password: ({ session, code, new_password }) => client.resetPassword(session, code, new_password),
  devices: () => client.devices(),
  end_device: ({ device_id, password }) => client.endDevice(device_id, confirming(password)),
  change_password: ({ password, new_password }) => client.changePassword(new_password, confirming(password)),
  delete_account: ({ password }) => client.deleteAccount(confirming(password)),
  logout: () => client.logout(),
  logout_everywhere: ({ password }) => client.logoutEverywhere(confirming(password)),
  forget: () => client.forget(),
  state: async () => {
    const state = await client.state();
    return { signed_in: state.signedIn, reason: state.reason ?? null };
  },
  sync_clock: () => client.syncClock(),
  expire: () => storage.update((now) => (now.session ? { ...now, session: { ...now.session, expires_at: 0 } } : now)),
  async record() {
    const { session, key, pending, revocations } = await FileStorage.prototype.read.call(storage);
    return {
      token: session?.access_token ?? null, attempt: session?.attempt ?? null, device_id: session?.device_id ?? null,
      key: key?.jwk ? await thumbprint(crypto, key.jwk) : null, pending: pending !== null, revocations: revocations.length,
    };
  },
  own_attempt: async () =>
    void (await storage.update((now) => ({ ...now, session: { ...now.session, attempt: "b".repeat(22) } }))),
  async lose_key() {
    const { data } = await new SoftwareKeys().create();
    await storage.update((now) => ({ ...now, key: { ...now.key, data } }));
  },
  set: (named) => void Object.assign(set, named),
  cancel: ({ of }) => controls.get(of).abort(),
  parallel: ({ n, of }) => Promise.all(Array.from({ length: n }, () => run(of))),
};

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
