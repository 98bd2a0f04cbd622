// Test your app against faults: `make dev` loses answers, slows down or copies a device, when your test plans it.
// docs/baton/development.md lists the faults. This file is for tests: the package does not have it.

/**
 * @typedef {{ route?: string, phone?: string, account?: string, times?: number, ms?: number, seconds?: number }} Options
 * `route`: only requests to this route, such as `POST /oauth/token`. `phone`: only requests with this header
 * `Baton-Phone`. `account`: only requests of this account, by its id or e-mail address. `times`: how many requests get
 * the fault. `ms` is for `slow` and `database_slow`, `seconds` for `clock_skew`.
 */

/** The development server refused a request. `known` lists the known names. */
export class DevelopmentError extends Error {
  /**
   * @param {number} status
   * @param {Record<string, any>} members
   */
  constructor(status, members) {
    super(`${status} ${members.code ?? ""}: ${members.detail ?? ""} ${members.known ?? ""}`);
    this.name = "DevelopmentError";
    this.status = status;
    this.code = String(members.code ?? "");
    /** @type {string[]} */
    this.known = members.known ?? [];
  }
}

/** No request met the fault, so the test has tested nothing. */
export class FaultNotMetError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "FaultNotMetError";
  }
}

/** A running `make dev`. */
export class Development {
  #url;

  /** @param {string} url The address of the server, without `/api`. */
  constructor(url = "http://localhost:8000") {
    this.#url = url.replace(/\/+$/, "");
  }

  /**
   * Plan a fault for the requests of `run`. Afterwards, the rest of the plan is removed.
   *
   * @template T
   * @param {string} name such as `answer_lost`
   * @param {Options} options
   * @param {() => Promise<T>} run
   * @returns {Promise<T>}
   */
  async fault(name, { route, phone, account, times = 1, ms, seconds }, run) {
    const match = { route, phone, account };
    const { id } = await this.#send("POST", "/faults", { name, match, times, ms, seconds });
    let result;
    let unmet = false;
    try {
      result = await run();
      unmet = (await this.faults()).some((one) => one.id === id && one.left === times);
    } finally {
      await this.#send("DELETE", `/faults/${id}`).catch((refused) => {
        if (!(refused instanceof DevelopmentError)) throw refused; // else: it has happened as often as planned
      });
    }
    if (unmet) throw new FaultNotMetError(`no request met the fault ${name}: ${JSON.stringify(match)}`);
    return result;
  }

  /** The planned faults. @returns {Promise<{ id: string, name: string, left: number }[]>} */
  async faults() {
    return (await this.#send("GET", "/faults")).faults;
  }

  /**
   * Move the clock of the server.
   *
   * @param {number} seconds
   * @returns {Promise<number>} its time
   */
  async skip(seconds) {
    return (await this.#send("POST", "/clock", { skip: seconds })).server_time;
  }

  /** The mails, the newest first. @returns {Promise<{ to: string, subject: string, text: string, html: string }[]>} */
  async mails() {
    return (await this.#send("GET", "/mails")).mails;
  }

  /** Delete all accounts, mails and faults, and move the clock to the true time. */
  async reset() {
    await this.#send("POST", "/reset", {});
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [members]
   * @returns {Promise<any>}
   */
  async #send(method, path, members) {
    const answer = await fetch(`${this.#url}/_dev${path}`, {
      method,
      headers: { "content-type": "application/json" },
      ...(members ? { body: JSON.stringify(members) } : {}),
    });
    const text = await answer.text();
    const said = text ? JSON.parse(text) : {};
    if (!answer.ok) throw new DevelopmentError(answer.status, said);
    return said;
  }
}
