// Plays the script of a vector of `attempts.json` on a real client, and returns what the client did after the last answer.

import { Baton, BatonError, MemoryStorage, NoAnswer, SoftwareKeys } from "../src/index.js";
import { EMPTY } from "../src/rules/record.js";
import { thumbprint } from "../src/rules/signature.js";
import { rawAnswer } from "./vectors.js";

export const TIME = 1_800_000_000;
const PATHS = { call: "/things", register: "/register", login: "/login", factor: "/login/factor", exchange: "/oauth/token" };
const CODE = { totp: "123456" };

class Stop extends Error {}

const baton = (members) => rawAnswer({
  status: 200,
  headers: { "baton-request-id": "0123abcd-ef", "content-type": "application/json", "baton-time": `${TIME}`, "cache-control": "no-store" },
  body: JSON.stringify(members),
});

/** @param {any} run @returns {Promise<{ events: any[], result: any, record: any }>} */
export async function play(run) {
  const keys = new SoftwareKeys();
  const { signer, ...stored } = await keys.create();
  const key = { ...stored, jwk: signer.jwk };
  const session = {
    device_id: "d1", access_token: "t1", expires_at: run.verb === "exchange" ? TIME : TIME + 900, attempt: "attempt-of-token-1",
    key_id: await thumbprint(crypto, signer.jwk), secret: null,
  };
  const pending = { kind: "login", email: "ada@example.com", client_id: "mobile", binding: "key", attempt: "attempt-of-a-login", auth_session: "as.1" };
  const stores = run.verb === "call" || run.verb === "exchange" ? { session } : run.verb === "factor" ? { pending } : {};
  const storage = new MemoryStorage({ ...EMPTY, key, ...stores });

  const answers = [...run.answers];
  const events = [];
  const sendings = [];
  let newer = 0;
  async function otherProcess(what) {
    const moved = { ...session, access_token: `newer-${++newer}`, attempt: `attempt-of-newer-${newer}`, expires_at: TIME + 900 };
    if (what === "moved") await storage.update((now) => ({ ...now, session: moved }));
    if (what === "finished") await storage.update((now) => ({ ...now, pending: null, session: { ...moved, device_id: "other" } }));
  }
  const client = new Baton({
    baseUrl: "https://api.example.com/api", clientId: "mobile", storage, keys, clock: () => TIME, random: () => 0.5,
    sleep: async (seconds) => void (answers.length || events.push({ slept: seconds })),
    transport: async ({ url, headers }) => {
      const path = url.slice("https://api.example.com/api".length);
      const sent = { path, attempt: headers["idempotency-key"], token: headers.authorization, signature: headers["signature-input"] };
      if (!answers.length) {
        events.push(sent);
        throw new Stop();
      }
      if (path !== PATHS[run.verb])
        return baton(path === "/step-up" ? { grant: "g", expires_in: 300 } : { access_token: "t2", refresh_token: "t2", expires_in: 900 });
      sendings.push(sent);
      const { answer, storage: other } = answers.shift();
      await otherProcess(other);
      if (answer === "not_sent" || answer === "nothing") throw new NoAnswer(answer, answer !== "not_sent");
      return rawAnswer(answer);
    },
  });

  const o = { deviceName: "d", deadline: run.deadline };
  const options = {
    deadline: run.deadline,
    ...(run.keyed ? { idempotencyKey: "0123456789abcdef" } : {}),
    ...(run.repeat ? { repeat: true } : {}),
    ...(run.confirm ? { confirm: async () => ({ password: "word" }) } : {}),
  };
  let result;
  try {
    if (run.verb === "call") result = { value: await client.call(run.method, "/things", options) };
    else if (run.verb === "exchange") result = { value: await client.call("GET", "/things", { deadline: run.deadline }) };
    else if (run.verb === "factor") result = { value: await (await client.pendingStep()).prove(CODE, o) };
    else result = { value: await client[run.verb]("ada@example.com", "word", o) };
  } catch (error) {
    if (error instanceof Stop) result = null;
    else if (error instanceof BatonError) result = { error };
    else throw error;
  }
  return { events, result, last: sendings[sendings.length - 1], record: await storage.read(), left: answers.length };
}
