// What a client does next: the table of rules. Its rows are tried in order, and the first that applies decides.
// `attempts.json` of the vectors lists the situations. A test deletes each row in turn: a vector must fail.

import { DEFECTS, GRANTS } from "./numbers.js";

/**
 * @typedef {object} Situation
 * @property {"call" | "register" | "login" | "factor" | "exchange" | "revoke" | "time"} verb `time`: without a token
 * @property {boolean} repeatable two executions have one effect
 * @property {boolean} keyed the caller gave an idempotency key
 * @property {"not_sent" | "nothing" | "answer"} came `nothing`: no answer, an incomplete one, or a foreign one (rule 9)
 * @property {number} status of an answer
 * @property {string} error
 * @property {string} code
 * @property {string} action
 * @property {number} defects `server_error` in a row, with this one
 * @property {boolean} synced the clock was set for this request
 * @property {boolean} exchanged this call has exchanged its token
 * @property {boolean} renewable the token can be exchanged
 * @property {boolean} moved storage does not hold the token that was sent any more
 * @property {boolean} continued this call went on with a newer token
 * @property {number} grants grants that this call has used
 * @property {boolean} confirm the caller can ask the person
 * @property {number} superseded earlier `superseded` answers to this exchange
 * @property {boolean} session another process has finished this login
 * @property {boolean} anew this login has a second attempt
 * @property {boolean} evidence the caller can make evidence
 * @property {boolean} attested this request had evidence
 * @property {number} pause the next pause, in seconds
 * @property {number} left the rest of the deadline, in seconds
 *
 * @typedef {"done" | "pause" | "sync" | "answer_lost" | "exchange" | "step_up" | "return_step" | "return_session" | "new_attempt"
 *   | "read_storage" | "ask_again" | "rule_8" | "logged_out" | "attest" | "refused" | "offline"} Step
 * @typedef {(situation: Situation) => Step | null} Row
 */

/** Pause and send again with a fresh signature and the same attempt, if there is time (row 14). @type {(s: Situation) => Step} */
const again = (s) => (s.pause < s.left ? "pause" : s.status === 429 ? "refused" : "offline");
/** @param {Situation} s */
const isLogin = (s) => s.verb === "register" || s.verb === "login" || s.verb === "factor";
/** @param {Situation} s */
const isDefect = (s) => s.code === "server_error" && s.defects >= DEFECTS;

/** @type {readonly (readonly [name: string, row: Row])[]} */
export const ROWS = [
  ["1 success", (s) => (s.came === "answer" && s.status < 300 ? "done" : null)],
  ["2 not sent", (s) => (s.came === "not_sent" ? again(s) : null)],
  ["3 refused before any effect", (s) => (s.status === 429 ? again(s) : null)],
  [
    "5 the outcome is unknown, or a defect",
    (s) => {
      if (s.action !== "check_outcome" && !isDefect(s)) return null;
      if (!s.repeatable || (s.keyed && (isDefect(s) || s.code !== "server_error"))) return "answer_lost";
      return isDefect(s) ? "refused" : again(s); // With a key, the next answer says whether the outcome is known.
    },
  ],
  [
    "3 no answer",
    (s) => {
      // With row 4: `replayed_nonce` has the action `retry`. An HTTP stack has sent the same bytes twice.
      const busy = s.action === "retry" && s.code !== "superseded";
      return s.came === "nothing" || busy ? (s.repeatable ? again(s) : "answer_lost") : null;
    },
  ],
  ["6 the clock is wrong", (s) => (s.action === "sync_clock" && !s.synced ? "sync" : null)],
  ["7 the token has expired", (s) => (s.verb === "call" && s.action === "exchange" && s.renewable && !s.exchanged ? "exchange" : null)],
  ["8 a step-up", (s) => (s.action === "step_up" && s.confirm && s.grants < GRANTS ? "step_up" : null)],
  ["9 a second factor", (s) => (isLogin(s) && /^(prove|enrol)_factor$/.test(s.action) ? "return_step" : null)],
  [
    "10 superseded",
    (s) => {
      if (s.code !== "superseded" || !(s.verb === "exchange" || isLogin(s))) return null;
      if (s.verb === "exchange") return s.moved ? "read_storage" : s.superseded ? "rule_8" : s.pause < s.left ? "ask_again" : "offline";
      return s.session ? "return_session" : s.anew || s.verb === "factor" ? "refused" : "new_attempt";
    },
  ],
  [
    "11 the session has ended",
    (s) => {
      const own = s.verb === "call" || s.verb === "exchange" || s.verb === "revoke";
      if (!own || s.action !== "log_in" || !/^invalid_(token|grant)$/.test(s.error)) return null;
      if (s.verb === "revoke") return "done";
      return !s.moved ? "logged_out" : s.continued ? "refused" : "read_storage";
    },
  ],
  ["12 evidence of the app", (s) => (s.action === "attest" && s.evidence && !s.attested ? "attest" : null)],
];

/**
 * Return what to do next. Any other refusal, and an unknown action, is `refused` (row 13).
 * @param {Situation} situation @param {readonly (readonly [string, Row])[]} rows
 * @returns {Step}
 */
export function next(situation, rows = ROWS) {
  for (const [, row] of rows) {
    const step = row(situation);
    if (step) return step;
  }
  return "refused";
}
