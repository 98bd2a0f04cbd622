// Requests without a token, signed by the key of the device: codes by mail, and the options of a login by passkey.

import { utf8 } from "../rules/encoding.js";
import { DEADLINE } from "../rules/numbers.js";
import { ask, having } from "./ask.js";
import { introduction, newKey } from "./login.js";

/** @typedef {import("./core.js").Core} Core */

/** Send a code to an address. Return the mail session of the code. @param {Core} core @param {string} path @param {string} email @returns {Promise<string>} */
export async function mailCode(core, path, email) {
  const { key: seen } = await core.read();
  if (core.binding === "key" && !(seen && (await core.keySigner(seen)))) {
    const made = await newKey(core);
    await core.update((now) => (now.key?.data === seen?.data ? { ...now, key: made } : now));
  }
  const { device } = await introduction(core, await core.read(), false);
  const json = { email, client_id: core.clientId, device: { name: "", ...device } };
  return (await byKey(core, path, json, having({ mail_session: "string" }))).mail_session;
}

/**
 * @template T @param {Core} core @param {string} path @param {object} json @param {(success: import("./ask.js").Success) => T} read
 * @param {import("../types.js").Waiting} [waiting] @param {import("./core.js").RequestSigner | null} [given] @returns {Promise<T>}
 */
export async function byKey(core, path, json, read, waiting, given) {
  const signer = given === undefined ? (await introduction(core, await core.read(), false)).signer : given;
  const plan = { method: "POST", path, body: utf8(JSON.stringify(json)) };
  const prepare = (/** @type {number} */ created) => core.prepared(plan, created, signer);
  const asked = await ask(core, { verb: "time", repeatable: true, prepare, read }, core.patience(waiting, DEADLINE));
  if (asked.step === "done" && !asked.refused) return asked.value;
  throw asked.refused ?? new TypeError(asked.step);
}
