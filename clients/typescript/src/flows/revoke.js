// Logins that have ended here: each is revoked at the server until the server has confirmed its end.

import { REVOCATION, REVOCATION_LIFE, REVOCATION_REST } from "../rules/numbers.js";
import { ask } from "./ask.js";
import { AnswerLost, Offline } from "./errors.js";
import { formPlan } from "./exchange.js";

/**
 * @typedef {import("./core.js").Core} Core
 * @typedef {import("../types.js").Revocation} Revocation
 */

/**
 * Send the revocations that wait. None of their errors concerns the caller. Return false if one was given up: its key
 * does not exist any more, or it is too old.
 * @param {Core} core @param {import("./patience.js").Patience} patience
 * @param {boolean} now without it, a revocation that was not answered is sent again after half a minute at the earliest
 */
export async function revokeWaiting(core, patience, now = false) {
  if (!now && core.clock() < core.revokeAfter) return true;
  core.revoking ??= sendAll(core).finally(() => {
    core.revoking = null;
  });
  core.revoking.catch(() => {}); // All callers may have cancelled.
  return patience.wait(core.revoking);
}

/** @param {Core} core */
async function sendAll(core) {
  let possible = true;
  for (const one of (await core.read()).revocations) {
    if (core.refusedRevocations.has(one.token)) continue;
    const old = one.since > 0 && core.now() - one.since > REVOCATION_LIFE;
    const signer = old ? undefined : await signerOf(core, one);
    if (signer === undefined) {
      possible = false;
      await forgetRevocation(core, one); // Its key does not exist any more: no request can revoke this login.
      continue;
    }
    const form = formPlan("/oauth/revoke", { token: one.token, client_id: core.clientId });
    const prepare = (/** @type {number} */ created) => core.prepared(form, created, signer);
    try {
      const question = { verb: /** @type {const} */ ("revoke"), repeatable: true, prepare, read: () => true };
      const asked = await ask(core, question, core.patience(undefined, REVOCATION));
      if (asked.step === "done") await forgetRevocation(core, one);
      else core.refusedRevocations.add(one.token); // Until the app starts again.
    } catch (error) {
      if (!(error instanceof Offline || error instanceof AnswerLost)) throw error;
      core.revokeAfter = core.clock() + REVOCATION_REST;
      return possible;
    }
  }
  return possible;
}

/** Return the signer, null for an unbound login, or undefined if its key is gone. @param {Core} core @param {Revocation} one */
async function signerOf(core, one) {
  if (one.key_id === null) return null;
  if (one.secret !== null) return core.secretSigner(one.key_id, one.secret);
  const key = one.key ?? (await core.read()).key;
  const signer = key && (await core.keySigner(key));
  return signer?.keyId === one.key_id ? signer : undefined;
}

/** @param {Core} core @param {Revocation} done */
async function forgetRevocation(core, done) {
  await core.update((now) => ({ ...now, revocations: now.revocations.filter((one) => one.token !== done.token) }));
  if (done.key) await core.keys.remove(done.key).catch(() => undefined); // A key that is left over is swept later.
}
