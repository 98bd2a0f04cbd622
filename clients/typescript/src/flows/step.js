// The second step of a login: it proves a second factor, or enrols one. It survives a restart.

import { quotedKey } from "../rules/address.js";
import { utf8 } from "../rules/encoding.js";
import { DEADLINE } from "../rules/numbers.js";
import { ask, having } from "./ask.js";
import { checkProof } from "./call.js";
import { NotLoggedIn } from "./errors.js";
import { begun, dropPending, firstTokens, introduction, loginDone, stepAfter } from "./login.js";

/**
 * @typedef {import("./core.js").Core} Core
 * @typedef {import("../types.js").Login} Login
 * @typedef {import("../types.js").Waiting} Waiting
 */

export class LoginStep {
  #core;

  /**
   * @param {Core} core @param {{ factors: readonly string[], enrol: readonly string[], expires_at: number }} step
   * @param {Readonly<Record<string, unknown>>} problem
   */
  constructor(core, { factors, enrol, expires_at }, problem) {
    this.#core = core;
    this.factors = factors;
    this.enrol = enrol;
    this.expiresAt = expires_at;
    const { auth_session: _secret, ...shown } = problem;
    this.problem = shown;
  }

  /** Return the options of a passkey, for the platform. @param {Waiting} [waiting] @returns {Promise<object>} */
  async options(waiting) {
    const { value } = await this.#ask("/login/factor/options", {}, having({ options: "object" }), waiting);
    return value.options;
  }

  /** Where `factors` is `email_code`: send a code to the address of the account. @param {Waiting} [waiting] */
  async sendEmailCode(waiting) {
    await this.#ask("/login/email-code", {}, having({ expires_in: "number" }), waiting);
  }

  /**
   * Begin to enrol a factor. Show `otpauth_uri`, or pass `options` to the platform. Then `prove` with `enrolment`.
   * @param {"totp" | "passkey"} kind @param {Waiting} [waiting] @returns {Promise<Record<string, any>>}
   */
  async enrolment(kind, waiting) {
    const read = having({ enrolment: "string", ...(kind === "passkey" ? { options: "object" } : { secret: "string" }) });
    return (await this.#ask("/login/enrol", { kind }, read, waiting)).value;
  }

  /**
   * Prove a factor. After `Refused` with code `invalid_factor` or `invalid_code`, ask the person again. After
   * `invalid_session`, log in again.
   * @param {import("../types.js").Proof} proof
   * @param {{ rememberDevice?: boolean, enrolment?: string } & Waiting} [o] @returns {Promise<Login>}
   */
  async prove(proof, o = {}) {
    checkProof(proof);
    const members = { ...proof, ...(o.enrolment === undefined ? {} : { enrolment: o.enrolment }), remember_device: o.rememberDevice ?? true };
    const { value, record, step, finished } = await this.#ask("/login/factor", members, firstTokens(this.#core), o);
    if (finished) return loginDone(await this.#core.session(), {}); // Another process has finished this login.
    return step ? { done: false, step } : begun(this.#core, value, record);
  }

  /**
   * @param {string} path @param {object} members @param {ReturnType<typeof having>} read @param {Waiting | undefined} waiting
   * @returns {Promise<{ value: Record<string, any>, record: import("../types.js").DeviceRecord, step: LoginStep | null, finished: boolean }>}
   */
  async #ask(path, members, read, waiting) {
    const core = this.#core;
    const record = await core.read();
    const { pending } = record;
    if (!pending?.auth_session) throw new NotLoggedIn("No login waits for a second factor: log in.");
    const body = utf8(JSON.stringify({ auth_session: pending.auth_session, ...members }));
    const { signer } = await introduction(core, record, core.binding === "hmac");
    const plan = { method: "POST", path, body, fields: { "idempotency-key": quotedKey(pending.attempt) } };
    const prepare = (/** @type {number} */ created) => core.prepared(plan, created, signer);
    const question = { verb: /** @type {const} */ ("factor"), repeatable: true, prepare, read, facts: async () => {
      const now = await core.read();
      return { session: now.session !== null && now.pending?.attempt !== pending.attempt };
    } };
    const asked = await ask(core, question, core.patience(waiting, DEADLINE));
    const { step, refused } = asked;
    if (asked.step === "done" && asked.value) return { value: asked.value, record, step: null, finished: false };
    if (step === "return_session") return { value: {}, record, step: null, finished: true };
    if (step === "return_step" && refused) return { value: {}, record, step: await stepAfter(core, refused, record), finished: false };
    if (refused?.code === "invalid_session") await dropPending(core, pending.attempt); // Log in again, with the password.
    throw refused ?? new TypeError(step);
  }
}
