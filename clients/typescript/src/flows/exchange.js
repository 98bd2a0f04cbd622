// The exchange of a token for its child: one in flight per process, and the record decides among processes.

import { encodeQuery, quotedKey } from "../rules/address.js";
import { utf8 } from "../rules/encoding.js";
import { EARLY, LOCK_WAIT, MOMENT } from "../rules/numbers.js";
import { renewal, revoked, same, withoutSession } from "../rules/record.js";
import { seconds } from "../rules/answer.js";
import { ask, tokens } from "./ask.js";
import { sessionOf } from "./core.js";
import { LoggedOut, NotLoggedIn, Offline, Refused } from "./errors.js";
import { Patience } from "./patience.js";
import { revokeWaiting } from "./revoke.js";

/**
 * @typedef {import("./core.js").Core} Core
 * @typedef {import("../types.js").Session} Session
 */

/** Exchange the token if it has expired (rule 7). At most twice: a child that arrived late may have expired too. @param {Core} core @param {Patience} patience */
export async function usable(core, patience) {
  await revokeWaiting(core, patience);
  for (let round = 0; round < 2; round++) {
    const session = await core.session();
    if (renewal(session) === null || core.now() < session.expires_at - EARLY) return;
    await exchange(core, session, patience);
  }
}

/**
 * Exchange `parent`, or wait for the exchange that another caller has begun. An exchange outlives its caller.
 * @param {Core} core @param {Session} parent @param {Patience} patience @returns {Promise<Session>}
 */
export async function exchange(core, parent, patience) {
  for (;;) {
    const standing = await core.session();
    if (!same(standing, parent)) return standing;
    const mine = !core.flight;
    const flight = (core.flight ??= begin(core, parent, patience.left()));
    try {
      const child = await patience.wait(flight.child);
      if (flight.attempt === parent.attempt) return child;
    } catch (error) {
      if (mine || !(error instanceof Offline) || patience.left() <= MOMENT) throw error; // This caller has more time.
    }
  }
}

/** @param {Core} core @param {Session} parent @param {number} left */
function begin(core, parent, left) {
  const run = () => fly(core, parent, new Patience(core, left));
  const child = core.lock(`baton:${core.clientId}`, LOCK_WAIT, run).finally(() => {
    core.flight = null;
  });
  child.catch(() => {}); // All callers may have cancelled.
  return { attempt: parent.attempt, child };
}

/** @param {Core} core @param {Session} parent @param {Patience} patience @returns {Promise<Session>} */
async function fly(core, parent, patience) {
  for (let superseded = 0; ; superseded++) {
    const facts = async () => ({ moved: !same((await core.read()).session, parent), superseded });
    const prepare = (/** @type {number} */ created) => exchangeRequest(core, parent, created);
    const asked = await ask(core, { verb: "exchange", repeatable: true, prepare, read: tokens, facts }, patience);
    if (asked.step === "done" && asked.value) {
      const child = { ...parent, ...born(core, asked.value, parent) };
      // Rules 3 and 4: stored if the parent is still stored, and used only after that.
      return sessionOf(await core.update((now) => (same(now.session, parent) ? { ...now, session: child } : now)));
    }
    if (asked.step === "read_storage") return core.session();
    if (asked.step === "rule_8") return afterCopy(core, parent, patience);
    if (asked.step === "logged_out" && asked.refused) return sessionAfter(core, asked.refused, parent);
    if (asked.step !== "ask_again") throw asked.refused ?? new Offline("no answer");
    await patience.pause(MOMENT);
  }
}

/** @param {Core} core @param {Session} parent @param {number} created */
async function exchangeRequest(core, parent, created) {
  const record = await core.read(); // Rule 2: after `created` was taken, before every request.
  const token = renewal(parent);
  if (!same(record.session, parent) || token === null) return null;
  const form = { grant_type: "refresh_token", refresh_token: token, client_id: core.clientId };
  const fields = { "idempotency-key": quotedKey(parent.attempt) };
  return core.prepared({ ...formPlan("/oauth/token", form), fields }, created, await core.signer(record));
}

/** @param {string} path @param {Record<string, string>} form */
export const formPlan = (path, form) => ({
  method: "POST",
  path,
  body: utf8(encodeQuery(form)), // React Native's URLSearchParams is incomplete.
  contentType: "application/x-www-form-urlencoded",
});

/**
 * Read the members that every generation has, and draw the attempt of its exchange (rule 1).
 * @param {Core} core @param {Record<string, any>} given @param {Session | null} parent
 * @returns {Pick<Session, "access_token" | "refresh_token" | "expires_at" | "attempt">}
 */
export function born(core, given, parent) {
  const next = given.refresh_token ?? (parent ? parent.refresh_token : null);
  return {
    access_token: given.access_token,
    ...(next === undefined || next === given.access_token ? {} : { refresh_token: next }),
    expires_at: (seconds(given.server_time) ?? core.second()) + given.expires_in,
    attempt: core.name(),
  };
}

/**
 * Act on a second `superseded` (rule 8). Only a process that stored generation g+1 can have exchanged it (rule 4). The
 * storage still has g, so that process has another copy of this record. Revoke the login, and use a new key.
 * @param {Core} core @param {Session} parent @param {Patience} patience @returns {Promise<Session>}
 */
async function afterCopy(core, parent, patience) {
  const at = core.second();
  const record = await core.update((now) => (same(now.session, parent) ? revoked(now, "reuse", at) : now));
  if (record.session) return record.session;
  const token = renewal(parent);
  const waits = (/** @type {import("../types.js").DeviceRecord} */ now) => now.revocations.some((one) => one.token === token);
  if (!waits(record)) throw new NotLoggedIn("Another process has ended this session.");
  await revokeWaiting(core, patience, true);
  throw new LoggedOut("reuse", !waits(await core.read()));
}

/**
 * Act on the end of the session itself (rule 6). Return the newer session of another process, or throw `LoggedOut`.
 * @param {Core} core @param {Refused} refused @param {Session} used
 */
export async function sessionAfter(core, refused, used) {
  const reason = refused.code === "token_reused" ? "reuse" : (refused.reason ?? refused.code);
  const at = core.second();
  const record = await core.update((now) => (same(now.session, used) ? withoutSession(now, reason, at) : now));
  if (record.session) return record.session;
  throw new LoggedOut(reason);
}
