// The public surface: one device of one person at one Baton server.

import { serverTime } from "../rules/answer.js";
import { base64url } from "../rules/encoding.js";
import { DEADLINE, REVOCATION } from "../rules/numbers.js";
import { revoked, withoutSession } from "../rules/record.js";
import { fetchTransport } from "../edges/fetch.js";
import { ask, having } from "./ask.js";
import { bodyOf, call, stepUp } from "./call.js";
import { Core, stateOf } from "./core.js";
import { LoggedOut, NoAnswer } from "./errors.js";
import { begin, pendingStep } from "./login.js";
import { byKey, mailCode } from "./mail.js";
import { revokeWaiting } from "./revoke.js";

/**
 * @typedef {import("../rules/answer.js").Answer} Answer
 * @typedef {import("../types.js").CallOptions} CallOptions
 * @typedef {import("../types.js").Confirm} Confirm
 * @typedef {import("../types.js").LoginOptions} LoginOptions
 * @typedef {import("../types.js").State} State
 */

export class Baton {
  #core;

  /** @param {import("../types.js").BatonOptions} options */
  constructor(options) {
    this.#core = new Core({ transport: fetchTransport(), ...options });
  }

  // Logins

  /** Create an account and log in. A repetition after `Offline` or a restart is safe. @param {string} email @param {string} password @param {LoginOptions} o */
  register(email, password, o) {
    return begin(this.#core, "register", email, password, o);
  }

  /** Log in. A repetition after `Offline` or a restart is safe. @param {string} email @param {string} password @param {LoginOptions} o */
  login(email, password, o) {
    return begin(this.#core, "login", email, password, o);
  }

  /**
   * Log in with only a passkey. `get` passes the options to the platform, and returns its answer (`toJSON()`).
   * @param {(options: object) => Promise<object>} get @param {LoginOptions} o
   */
  loginWithPasskey(get, o) {
    return begin(this.#core, "login", "", "", o, get);
  }

  // Mail: keep the mail session that these functions return in memory.

  /** Send a code to an address, for `register(…, { mail })`. @param {string} email */
  startRegistration(email) {
    return mailCode(this.#core, "/register/start", email);
  }

  /** Send a code to an address, if an account has it, for `resetPassword`. @param {string} email */
  forgotPassword(email) {
    return mailCode(this.#core, "/password/forgot", email);
  }

  /** Set a new password with the code of the mail. Every login of the account ends: log in next. @param {string} session @param {string} code @param {string} newPassword */
  resetPassword(session, code, newPassword) {
    return byKey(this.#core, "/password/reset", { mail_session: session, code, new_password: newPassword }, () => undefined);
  }

  /** Return the step of a login that waits for a second factor, also after a restart, or null. */
  pendingStep() {
    return pendingStep(this.#core);
  }

  /**
   * End this login. The person is signed out here in one write, before anything is sent. Then one request within 10 s
   * informs the server. `confirmed` is false if the server has not answered. The revocation is stored and sent again.
   * @returns {Promise<{ confirmed: boolean }>}
   */
  async logout() {
    const core = this.#core;
    const at = core.second();
    await core.update((now) => revoked(now, "logout", at));
    const possible = await revokeWaiting(core, core.patience(undefined, REVOCATION), true).catch(() => false); // The revocation is stored.
    return { confirmed: possible && (await core.read()).revocations.length === 0 };
  }

  /** Delete the login on this device without a request. */
  async forget() {
    await this.#core.update((now) => withoutSession(now, null, 0));
  }

  // Calls

  /** Send a signed call to a route of the app. Return its 2xx answer, or throw. @param {string} method @param {string} path @param {CallOptions} [o] @returns {Promise<Answer>} */
  call(method, path, o = {}) {
    return call(this.#core, method, path, o, ({ answer }) => answer, true);
  }

  /** Return a grant for one exact request. @param {import("../types.js").Proof} proof @param {string} method @param {string} path @param {{ json?: unknown, body?: Uint8Array }} [o] */
  stepUp(proof, method, path, o = {}) {
    return stepUp(this.#core, proof, method, path, bodyOf(o), this.#core.name(), {});
  }

  /** Read the account and this device. */
  me() {
    return call(this.#core, "GET", "/me", {}, having({ device_id: "string" }), false);
  }

  /** List the logins of the account. @returns {Promise<Record<string, any>[]>} */
  async devices() {
    return (await call(this.#core, "GET", "/me/devices", {}, having({ devices: "list" }), false)).devices;
  }

  /**
   * Return a code with which a browser takes over this login: as `clientId`, for one minute and one use. Open
   * `<base URL>/session/open#<code>`, or send it as `Baton-Handover` with the first request of an embedded view.
   * @param {string} clientId @param {string} [next] The path that the browser opens then. @returns {Promise<string>}
   */
  async handover(clientId, next = "/") {
    const json = { client_id: clientId, next };
    return (await call(this.#core, "POST", "/session/handover", { json, repeat: true }, having({ code: "string" }), false)).code;
  }

  /** End the login of a device. @param {string} deviceId @param {Confirm} confirm */
  endDevice(deviceId, confirm) {
    return this.#own("DELETE", `/me/devices/${encodeURIComponent(deviceId)}`, { confirm, repeat: true });
  }

  /** Change the password, and log out every other device. After `AnswerLost`, either password may be valid. @param {string} newPassword @param {Confirm} confirm */
  changePassword(newPassword, confirm) {
    return this.#own("POST", "/me/password", { json: { new_password: newPassword }, confirm });
  }

  /**
   * End the logins of all devices. After `Offline` it is safe to call this again. After `LoggedOut`, this login had
   * ended before, maybe by the call that was `Offline`. If not, other logins may still be active.
   * @param {Confirm} confirm
   */
  async logoutEverywhere(confirm) {
    let granted = false;
    const json = { everywhere: true };
    await this.#ending(async () => {
      try {
        await this.#own("POST", "/logout", { json, confirm, repeat: true, granted: () => (granted = true) });
      } catch (over) {
        // A repetition finds the login ended by the first sending, whose answer was lost. With a grant, the login was
        // active during this call. Without one, it ended before, and other logins may be newer.
        if (!(granted && over instanceof LoggedOut && over.confirmed && over.reason === "ended_everywhere")) throw over;
      }
    });
  }

  /** Delete the account. @param {Confirm} confirm */
  async deleteAccount(confirm) {
    await this.#ending(() => this.#own("DELETE", "/me", { confirm }), false);
  }

  // State and time

  /** @returns {Promise<State>} */
  async state() {
    return stateOf(await this.#core.read());
  }

  /** Tell a listener each new state, also one that another tab caused. Return the function that removes it. @param {(state: State) => void} listener */
  onState(listener) {
    this.#core.listeners.add(listener);
    return () => void this.#core.listeners.delete(listener);
  }

  /** Return the server's time, in seconds, by the clock of this device and its known offset. */
  now() {
    return this.#core.now();
  }

  /** Read the server's time. Return the offset in seconds. */
  async syncClock() {
    const core = this.#core;
    const prepare = (/** @type {number} */ created) => core.prepared({ method: "GET", path: "/time" }, created, null);
    const read = (/** @type {import("./ask.js").Success} */ { answer, members }) => {
      if (serverTime(answer.headers, members) === null) throw new NoAnswer("the answer has no time");
    };
    const asked = await ask(core, { verb: "time", repeatable: true, prepare, read }, core.patience(undefined, DEADLINE));
    if (asked.refused) throw asked.refused;
    return core.offset;
  }

  /** Make an idempotency key of 128 bits. The app stores it with its intent, before the call. */
  static newIdempotencyKey() {
    return base64url(globalThis.crypto.getRandomValues(new Uint8Array(16)));
  }

  /** @param {string} method @param {string} path @param {CallOptions & { granted?: () => void }} o @returns {Promise<void>} */
  #own(method, path, o) {
    return call(this.#core, method, path, o, () => undefined, false);
  }

  /** Drop the login that an answer has ended. A login that replaced it meanwhile stays. @param {() => Promise<void>} work @param {boolean} [known] */
  async #ending(work, known = true) {
    const ended = (await this.#core.read()).session?.device_id;
    await work();
    await this.#core.update((now) => {
      if (now.session?.device_id !== ended) return now;
      const left = withoutSession(now, null, 0);
      return known ? left : { ...left, last: null }; // No account is left that would recognise this secret.
    });
  }
}
