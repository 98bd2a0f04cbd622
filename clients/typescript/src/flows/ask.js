// One request, sent with a new signature each time, until there is an answer to act on.

import { isObject } from "../rules/answer.js";
import { next } from "../rules/next.js";
import { MOMENT } from "../rules/numbers.js";
import { AnswerLost, NoAnswer, Offline, Refused } from "./errors.js";
import { stopIfAborted } from "./patience.js";

/**
 * @typedef {import("../rules/next.js").Situation} Situation
 * @typedef {import("../rules/answer.js").Answer} Answer
 * @typedef {{ answer: Answer, members: Record<string, unknown> }} Success
 * @typedef {Partial<Omit<Situation, "verb" | "repeatable" | "keyed" | "came" | "status" | "error" | "code" | "action">>} Facts
 */

/**
 * @template T
 * @typedef {object} Question
 * @property {Situation["verb"]} verb
 * @property {boolean} repeatable
 * @property {boolean} [keyed]
 * @property {(created: number) => Promise<import("./core.js").Prepared | null>} prepare reads storage and signs; null: storage moved
 * @property {(success: Success) => T} read throws `NoAnswer` if the answer lacks a required member
 * @property {(refusal: Refused) => Promise<Facts>} [facts] about this operation, after a refusal
 */

/**
 * @template T @param {import("./core.js").Core} core @param {Question<T>} question @param {import("./patience.js").Patience} patience
 * @returns {Promise<{ step: "done", value: T, refused: null } | { step: Exclude<import("../rules/next.js").Step, "done">, refused: Refused | null }
 *   | { step: "done", value: null, refused: Refused }>}
 */
export async function ask(core, question, patience) {
  let synced = false;
  let defects = 0;
  for (;;) {
    stopIfAborted(patience.signal);
    const created = core.second(); // Rule 2: first the time. Then `prepare` reads storage, and signs.
    const prepared = await question.prepare(created);
    if (!prepared) return { step: "read_storage", refused: null };
    /** @type {Situation["came"]} */
    let came = "answer";
    let last = "";
    /** @type {Refused | null} */
    let refused = null;
    try {
      const read = await core.send(prepared, patience);
      if (!read.refusal) return { step: "done", value: question.read(read), refused: null };
      refused = new Refused(read.refusal);
      last = refused.message;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      came = error.sent ? "nothing" : "not_sent";
      last = error.message;
    }
    defects = refused?.code === "server_error" ? defects + 1 : 0;
    const retryAfter = Math.max(refused?.retryAfter ?? 0, refused?.code === "superseded" ? MOMENT : 0);
    const facts = refused && question.facts ? await question.facts(refused) : {};
    const step = next({
      ...NOTHING,
      ...facts,
      verb: question.verb,
      repeatable: question.repeatable,
      keyed: question.keyed ?? false,
      came,
      status: refused?.status ?? 0,
      error: refused?.error ?? "",
      code: refused?.code ?? "",
      action: refused?.action ?? "",
      defects,
      synced,
      pause: patience.next(retryAfter),
      left: patience.left(),
    });
    if (step === "pause") await patience.pause(retryAfter); // Rule 5.
    else if (step === "sync") synced = true; // `send` has set the offset from this answer.
    else if (step === "answer_lost") throw new AnswerLost(last, refused);
    else if (step === "offline") throw new Offline(last);
    else if (step === "done" && refused) return { step, value: null, refused };
    else if (step !== "done") return { step, refused };
  }
}

const NOTHING = {
  exchanged: false, renewable: false, moved: false, continued: false, grants: 0, confirm: false,
  superseded: 0, session: false, anew: false, evidence: false, attested: false,
};

/**
 * Make a reader of answers that must have these members. Any other 2xx answer was changed on its way, and throws.
 * @param {Record<string, "string" | "number" | "object" | "list">} members
 * @returns {(success: Success) => Record<string, any>}
 */
export const having = (members) => ({ members: found }) => {
  for (const [name, kind] of Object.entries(members)) {
    const value = found[name];
    const right = kind === "list" ? Array.isArray(value) : kind === "object" ? isObject(value) : typeof value === kind;
    if (!right) throw new NoAnswer(`the answer has no \`${name}\``);
  }
  return found;
};

/** Reads a token response (RFC 6749 section 5.1). */
export const tokens = having({ access_token: "string", expires_in: "number" });
