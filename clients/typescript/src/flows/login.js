// Registration and login: one attempt for all repetitions, also after a restart.

import { quotedKey } from "../rules/address.js";
import { utf8 } from "../rules/encoding.js";
import { DEADLINE } from "../rules/numbers.js";
import { ask, having } from "./ask.js";
import { guarded } from "./core.js";
import { BatonError, NotLoggedIn, Refused } from "./errors.js";
import { born } from "./exchange.js";
import { byKey } from "./mail.js";
import { revokeWaiting } from "./revoke.js";
import { LoginStep } from "./step.js";

/**
 * @typedef {import("./core.js").Core} Core
 * @typedef {import("../types.js").DeviceRecord} DeviceRecord
 * @typedef {import("../types.js").Login} Login
 * @typedef {import("./patience.js").Patience} Patience
 */

/**
 * @param {Core} core @param {"register" | "login"} verb @param {string} email @param {string} password
 * @param {import("../types.js").LoginOptions} o @param {(options: object) => Promise<object>} [get] for a login with only a passkey
 * @returns {Promise<Login>}
 */
export async function begin(core, verb, email, password, o, get) {
  let patience = core.patience(o, DEADLINE);
  await revokeWaiting(core, patience); // Rule 8: first, because the new login has another key.
  const address = email.normalize("NFKC").trim().toLowerCase();
  const mail = o.mail ? { mail_session: o.mail.session, code: o.mail.code } : {};
  let anew = false;
  /** @type {{ attestation?: object }} */
  let evidence = {};
  let byLast = verb === "login" && core.binding === "hmac";
  for (;;) {
    const record = await pendingFor(core, verb, address); // Rule 1: attempt and key are stored before they are sent.
    const { signer, device } = await introduction(core, record, byLast);
    const entry = { client_id: core.clientId, device: { name: o.deviceName, ...device } };
    let proof = { email, password, ...mail };
    if (get) {
      const { options } = await byKey(core, "/login/passkey/options", entry, having({ options: "object" }), o, signer);
      proof = /** @type {any} */ ({ credential: await get(options) });
      patience = core.patience(o, DEADLINE); // The person's time for the gesture does not count.
    }
    const body = utf8(JSON.stringify({ ...proof, ...entry, ...evidence }));
    const attempt = record.pending?.attempt ?? "";
    const facts = async () => {
      const now = await core.read();
      const session = now.session !== null && now.pending?.attempt !== attempt;
      return { anew, session, evidence: core.evidence !== null, attested: "attestation" in evidence };
    };
    const plan = { method: "POST", path: get ? "/login/passkey" : `/${verb}`, body, fields: { "idempotency-key": quotedKey(attempt) } };
    const prepare = (/** @type {number} */ created) => core.prepared(plan, created, signer);
    const asked = await ask(core, { verb, repeatable: true, prepare, read: firstTokens(core), facts }, patience);
    const { refused } = asked;
    if (asked.step === "done" && asked.value) return begun(core, asked.value, record);
    if (asked.step === "return_session") return loginDone(await core.session(), {});
    if (asked.step === "return_step" && refused) return { done: false, step: await stepAfter(core, refused, record) };
    if (asked.step === "new_attempt") {
      anew = true; // Another process has finished this login, or its lineage has ended.
      await dropPending(core, attempt);
    } else if (asked.step === "attest" && core.evidence) {
      const json = { client_id: core.clientId };
      const { attestation_challenge: challenge } = await byKey(
        core, "/attestation-challenge", json, having({ attestation_challenge: "string" }), o, signer,
      );
      evidence = { attestation: await core.evidence(challenge, device.public_key ?? null) };
      patience = core.patience(o, DEADLINE); // The time of the platform does not count.
    } else if (byLast && signer && refused && /^(invalid|stale)_signature$/.test(refused.error)) {
      byLast = false; // The server cannot verify the last secret any more. It is not needed to log in.
    } else {
      throw refused ?? new TypeError(asked.step);
    }
  }
}

/**
 * Store the attempt of a login, or keep that of the same login. Make the key of the device, if there is none.
 * @param {Core} core @param {string} kind @param {string} email @returns {Promise<DeviceRecord>}
 */
async function pendingFor(core, kind, email) {
  const { binding, clientId: client_id } = core;
  const fresh = { kind, email, client_id, binding, attempt: core.name(), auth_session: null };
  for (;;) {
    const seen = (await core.read()).key;
    const made = binding === "key" && !(seen && (await core.keySigner(seen))) ? await newKey(core) : null;
    const record = await core.update((now) => {
      const { pending } = now;
      const goesOn = pending?.email === email && pending.client_id === client_id && pending.binding === binding;
      const key = made && now.key?.data === seen?.data ? made : now.key; // Another tab may have made one meanwhile.
      return { ...now, pending: goesOn ? pending : fresh, key };
    });
    if (binding !== "key" || record.key) return record;
  }
}

/** @param {Core} core @returns {Promise<import("../types.js").StoredKey>} */
export async function newKey(core) {
  const { store, data, signer } = await guarded(() => core.keys.create());
  const { crv, kty, x, y } = signer.jwk;
  return { store, data, jwk: y === undefined ? { crv, kty, x } : { crv, kty, x, y } };
}

/**
 * Return the device of a login, and its signer: the key, or the secret of the last HMAC login.
 * @param {Core} core @param {DeviceRecord} record @param {boolean} byLast
 */
export async function introduction(core, record, byLast) {
  if (core.binding === "hmac") return { signer: byLast ? core.lastSigner(record) : null, device: { binding: "hmac" } };
  if (core.binding === "none") return { signer: null, device: {} };
  const signer = record.key && (await core.keySigner(record.key));
  if (!signer) throw new BatonError("storage_unavailable", "The new key of the device cannot be opened. Log in again.");
  return { signer, device: { public_key: signer.jwk } };
}

/** Only the answer to an HMAC login has a secret, once. @param {Core} core */
export const firstTokens = (core) =>
  having({
    access_token: "string", expires_in: "number", device_id: "string",
    ...(core.binding === "hmac" ? { key_id: "string", secret: "string" } : {}),
  });

/**
 * Store the session of a finished login, if the storage still waits for it.
 * @param {Core} core @param {Record<string, any>} given @param {DeviceRecord} sent @returns {Promise<Login>}
 */
export async function begun(core, given, sent) {
  const attempt = sent.pending?.attempt;
  const own = core.binding === "key" && sent.key ? (await core.keySigner(sent.key))?.keyId : given.key_id;
  const session = { device_id: given.device_id, key_id: own ?? null, secret: given.secret ?? null, ...born(core, given, null) };
  const record = await core.update((now) =>
    now.pending?.attempt === attempt ? { ...now, session, pending: null, last: null, ended: null } : now,
  );
  if (!record.session || record.session.device_id !== session.device_id)
    throw new NotLoggedIn("Another login on this storage overtook this one.");
  return loginDone(record.session, given);
}

/** @param {import("../types.js").Session} session @param {Record<string, any>} given @returns {Login} */
export const loginDone = ({ device_id }, given) => ({
  done: true,
  deviceId: device_id,
  recoveryCodes: given.recovery_codes ?? [],
  recoveryCodesLeft: given.recovery_codes_left ?? null,
});

/** Store the newest `auth_session`, before the step is returned. @param {Core} core @param {Refused} refused @param {DeviceRecord} sent */
export async function stepAfter(core, refused, sent) {
  const { auth_session: session, expires_in: left, factors, enrol } = refused.problem;
  if (typeof session !== "string") throw refused;
  const listed = { factors: strings(factors), enrol: strings(enrol) };
  const step = { auth_session: session, expires_at: core.second() + (typeof left === "number" ? left : 600), ...listed };
  await core.update((now) =>
    now.pending && now.pending.attempt === sent.pending?.attempt ? { ...now, pending: { ...now.pending, ...step } } : now,
  );
  return new LoginStep(core, step, refused.problem);
}

/** @param {unknown} value @returns {string[]} */
const strings = (value) => (Array.isArray(value) ? value.filter((one) => typeof one === "string") : []);

/** @param {Core} core @param {string | undefined} attempt */
export const dropPending = (core, attempt) =>
  core.update((now) => (now.pending?.attempt === attempt ? { ...now, pending: null } : now));

/** @param {Core} core */
export async function pendingStep(core) {
  const { pending } = await core.read();
  if (!pending?.auth_session || (pending.expires_at ?? Infinity) <= core.now()) return null;
  const { factors = [], enrol = [], expires_at = 0 } = pending;
  return new LoginStep(core, { factors, enrol, expires_at }, {});
}

