// The errors of this client. `kind` is the same string in every language.

/** @typedef {import("../rules/answer.js").Refusal} Refusal */

export class BatonError extends Error {
  /** @param {string} kind @param {string} message @param {unknown} [cause] */
  constructor(kind, message, cause) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.kind = kind;
  }
}

/** The storage has no login, or a login in progress can no longer be finished: show the login screen. */
export class NotLoggedIn extends BatonError {
  constructor(message = "This device has no login: log in.", kind = "not_logged_in") {
    super(kind, message);
  }
}

/**
 * The login has ended, and the client has removed it from the storage.
 * `confirmed` is false if the server has not yet confirmed the end.
 */
export class LoggedOut extends NotLoggedIn {
  /** @param {string | null} reason @param {boolean} confirmed */
  constructor(reason, confirmed = true) {
    super(`This login has ended (${reason ?? "no reason given"}). Log in again.`, "logged_out");
    this.reason = reason;
    this.confirmed = confirmed;
  }
}

/** There was no answer in time. The login is kept, and the next call continues. `last` describes the last failure. */
export class Offline extends BatonError {
  /** @param {string} last */
  constructor(last) {
    super("offline", `No answer in time. The login is kept. Last problem: ${last}`);
    this.last = last;
  }
}

/** The call was sent, and its outcome is unknown. Check it before a repetition. The login is kept. */
export class AnswerLost extends BatonError {
  /** @param {string} last @param {Refused | null} refusal */
  constructor(last, refusal = null) {
    super("answer_lost", `The call may have been carried out, or not: ${last}`, refusal ?? undefined);
    this.last = last;
  }
}

/** The record or the key cannot be used now. The login is kept: repeat the call. */
export class StorageUnavailable extends BatonError {
  /** @param {string} message @param {unknown} [cause] */
  constructor(message, cause) {
    super("storage_unavailable", message, cause);
  }
}

/** The record cannot be parsed, or a newer client wrote it. It was not changed. */
export class BrokenStorage extends BatonError {
  /** @param {string} message */
  constructor(message) {
    super("broken_storage", message);
  }
}

/** The server returned an error. Switch on `code`: errors.md lists the codes. `problem` has all members of the answer. */
export class Refused extends BatonError {
  /** @param {Refusal} refusal */
  constructor({ status, error, code, action, reason, retryAfter, problem }) {
    const told = problem.detail ?? problem.error_description ?? "the server gave no explanation";
    const quotable = typeof problem.request_id === "string" ? ` [request ${problem.request_id}]` : "";
    super("refused", `${status} ${code} (${action}): ${told}${quotable}`);
    this.status = status;
    this.error = error;
    this.code = code;
    this.action = action;
    this.reason = reason;
    this.retryAfter = retryAfter;
    this.problem = problem;
  }
}

/** A transport throws this if there is no answer. `sent`: the request may have arrived. */
export class NoAnswer extends Error {
  /** @param {string} message @param {boolean} sent */
  constructor(message, sent = true) {
    super(message);
    this.name = "NoAnswer";
    this.sent = sent;
  }
}
