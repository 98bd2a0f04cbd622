// A signed call with a usable token. It applies each remedy that a refusal names.

import { checkPath, quotedKey } from "../rules/address.js";
import { isObject } from "../rules/answer.js";
import { utf8 } from "../rules/encoding.js";
import { DEADLINE } from "../rules/numbers.js";
import { renewal, same } from "../rules/record.js";
import { contentDigest } from "../rules/signature.js";
import { ask, having } from "./ask.js";
import { sessionOf } from "./core.js";
import { Refused } from "./errors.js";
import { exchange, sessionAfter, usable } from "./exchange.js";

/**
 * @typedef {import("./core.js").Core} Core
 * @typedef {import("./ask.js").Success} Success
 * @typedef {import("../types.js").CallOptions} CallOptions
 * @typedef {import("../types.js").Session} Session
 */

const SAFE = ["GET", "HEAD", "OPTIONS"];

/**
 * @template T @param {Core} core @param {string} method @param {string} path
 * @param {CallOptions & { granted?: () => void }} o `granted` is called after each step-up
 * @param {(success: Success) => T} read @param {boolean} team a route of the app
 * @returns {Promise<T>}
 */
export async function call(core, method, path, o, read, team) {
  checkPath(path);
  if (!/^[A-Z]+$/.test(method)) throw new TypeError("A method is written in capitals.");
  const key = o.idempotencyKey === undefined ? undefined : quotedKey(o.idempotencyKey);
  const body = bodyOf(o); // Encoded once: a repetition has the same bytes.
  const repeatable = o.repeat ?? (SAFE.includes(method) || key !== undefined);
  const stepUpAttempt = core.name(); // With this attempt, the same code may be sent again.
  let { grant } = o;
  let patience = core.patience(o, DEADLINE);
  let exchanged = false;
  let continued = false;
  let grants = 0;
  /** @type {import("../types.js").Proof | undefined} */
  let proof;
  /** @type {Session | undefined} */
  let used;

  const prepare = async (/** @type {number} */ created) => {
    const record = await core.read(); // Rule 2: after `created` was taken, before every request.
    used = sessionOf(record);
    /** @type {Record<string, string>} */
    const fields = { authorization: `Bearer ${used.access_token}` };
    if (key !== undefined) fields["idempotency-key"] = key;
    if (grant !== undefined) fields["baton-grant"] = grant;
    const plan = { method, path, body, query: o.query, fields, team, ...(o.contentType ? { contentType: o.contentType } : {}) };
    return core.prepared(plan, created, await core.signer(record));
  };
  const facts = async () => ({
    moved: !same((await core.read()).session, used ?? null),
    renewable: used !== undefined && renewal(used) !== null,
    confirm: o.confirm !== undefined,
    exchanged, continued, grants,
  });

  for (;;) {
    await usable(core, patience); // Rule 7.
    const asked = await ask(core, { verb: "call", repeatable, keyed: key !== undefined, prepare, read, facts }, patience);
    const { step, refused } = asked;
    if (step === "done") return /** @type {T} */ (asked.value);
    if (!refused || !used) throw refused ?? new TypeError(step);
    if (step === "exchange") {
      exchanged = true;
      await exchange(core, used, patience);
    } else if (step === "step_up" && o.confirm) {
      grants++;
      if (grant !== undefined && refused.code === "step_up_required") proof = undefined; // It is too old: ask again.
      const options = () => stepUpOptions(core, method, path, body, o);
      proof ??= await o.confirm(refused, { options });
      patience = core.patience(o, DEADLINE); // The person's time for the input does not count.
      grant = await stepUp(core, proof, method, path, body, stepUpAttempt, { ...o, deadline: patience.left() });
      o.granted?.();
    } else if (step === "read_storage" || step === "logged_out") {
      continued = true;
      await sessionAfter(core, refused, used); // It throws, unless storage has a newer session.
    } else {
      throw refused;
    }
  }
}

/** @param {{ json?: unknown, body?: Uint8Array }} o @returns {Uint8Array} */
export function bodyOf({ json, body }) {
  if (json !== undefined && body !== undefined) throw new TypeError("Give `json` or `body`, not both.");
  return body ?? (json === undefined ? new Uint8Array() : utf8(JSON.stringify(json)));
}

/** Refuse a value that is no proof, before a request is sent. @param {unknown} proof */
export function checkProof(proof) {
  if (!isObject(proof) || !Object.values(proof).some(Boolean))
    throw new TypeError("A proof is an object with a password, a code or a passkey. To cancel, `confirm` throws an error.");
}

/**
 * Prove a factor for one exact request. Return the grant.
 * @param {Core} core @param {import("../types.js").Proof} proof @param {string} method @param {string} path @param {Uint8Array} body
 * @param {string} attempt @param {import("../types.js").Waiting} waiting @returns {Promise<string>}
 */
export async function stepUp(core, proof, method, path, body, attempt, waiting) {
  checkProof(proof);
  const json = { operation: await operation(core, method, path, body), ...proof };
  const answer = await call(core, "POST", "/step-up", { json, idempotencyKey: attempt, ...only(waiting) }, having({ grant: "string" }), false);
  return answer.grant;
}

/** Return the options of a passkey for one exact request. @param {Core} core @param {string} method @param {string} path @param {Uint8Array} body @param {import("../types.js").Waiting} waiting */
export async function stepUpOptions(core, method, path, body, waiting) {
  const json = { operation: await operation(core, method, path, body) };
  const answer = await call(core, "POST", "/step-up/options", { json, repeat: true, ...only(waiting) }, having({ options: "object" }), false);
  return /** @type {object} */ (answer.options);
}

/** @param {Core} core @param {string} method @param {string} path @param {Uint8Array} body */
const operation = async (core, method, path, body) => ({
  method,
  path: core.base.prefix + path,
  digest: await contentDigest(core.crypto, body),
});

/** @param {import("../types.js").Waiting} waiting */
const only = ({ deadline, signal }) => ({
  ...(deadline === undefined ? {} : { deadline }),
  ...(signal === undefined ? {} : { signal }),
});

/** @param {unknown} error @param {string} code */
export const isRefused = (error, code) => error instanceof Refused && error.code === code;
