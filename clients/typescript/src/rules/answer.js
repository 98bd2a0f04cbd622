// Rule 9: an answer that is not Baton's is no answer. It is never a success, ends no login and moves no clock.

import { textOf } from "./encoding.js";

/** @typedef {import("../types.js").RawAnswer} RawAnswer */

/** A 2xx answer. */
export class Answer {
  /** @param {number} status @param {ReadonlyMap<string, string>} headers @param {Uint8Array} bytes */
  constructor(status, headers, bytes) {
    this.status = status;
    this.headers = headers;
    this.bytes = bytes;
  }

  /** @returns {unknown} */
  json() {
    return JSON.parse(textOf(this.bytes));
  }
}

/**
 * @typedef {object} Refusal
 * @property {number} status
 * @property {string} error
 * @property {string} code
 * @property {string} action
 * @property {string | null} reason
 * @property {number} retryAfter
 * @property {Readonly<Record<string, unknown>>} problem
 */

/**
 * Read an answer of Baton, or return why it is not Baton's.
 * @param {RawAnswer} raw
 * @param {{ url: string, method: string, team: boolean }} asked `team`: a route of the app, which may send any media type
 * @returns {{ foreign: string } | { foreign: null, answer: Answer, members: Record<string, unknown>, refusal: Refusal | null }}
 */
export function readAnswer(raw, asked) {
  const { status, headers, bytes } = raw;
  const media = (headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  const json = media === "application/json" || media === "application/problem+json";
  const said = `${status} ${media}`.trim();
  if (!/^[0-9A-Za-z-]{8,64}$/.test(headers.get("baton-request-id") ?? ""))
    return { foreign: `${said} without Baton-Request-Id, perhaps from a captive portal, a firewall or a proxy` };
  if (raw.url !== undefined && raw.url !== asked.url) return { foreign: `${said} after a redirect` };
  if (!((status >= 200 && status < 300) || (status >= 400 && status < 600)))
    return { foreign: `${said} with a status that Baton does not send` };
  if (!storable(headers) && (seconds(headers.get("age")) ?? 0) > 0)
    return { foreign: `${said} from a cache, which must not store it` };
  if (!["", "identity"].includes((headers.get("content-encoding") ?? "").toLowerCase()))
    return { foreign: `${said} with an encoding that was not requested` };
  const empty = bytes.length === 0 && (status < 300 || asked.method === "HEAD");
  if (!empty && !json && !asked.team) return { foreign: `${said} which is not JSON` };
  const parsed = empty ? {} : json ? parseStrictly(bytes) : {};
  if (parsed === undefined || (!asked.team && !isObject(parsed)))
    return { foreign: `${said} with a body that Baton does not send` };
  const members = isObject(parsed) ? parsed : {};
  if (!asked.team && status >= 400 && !(typeof members.code === "string" && typeof members.action === "string"))
    return { foreign: `${said} without code and action` };
  const answer = new Answer(status, headers, bytes);
  return { foreign: null, answer, members, refusal: status < 300 ? null : readRefusal(status, headers, members) };
}

/**
 * Read either dialect of refusals. A route of the app may leave out `code` and `action`: the status gives them.
 * @param {number} status @param {ReadonlyMap<string, string>} headers @param {Record<string, unknown>} problem
 * @returns {Refusal}
 */
function readRefusal(status, headers, problem) {
  const { error, code, action, reason } = problem;
  return {
    status,
    error: typeof error === "string" ? error : "",
    code: typeof code === "string" ? code : `http_${status}`,
    action: typeof action === "string" ? action : status === 429 || status >= 500 ? "retry" : "fix_request",
    reason: typeof reason === "string" ? reason : null,
    retryAfter: seconds(headers.get("retry-after")) ?? 0,
    problem,
  };
}

/**
 * Return the server's time of an answer of Baton, or null. An answer with `Age` comes from a cache, and so does its time.
 * @param {ReadonlyMap<string, string>} headers @param {Record<string, unknown>} members
 */
export function serverTime(headers, members) {
  if (headers.has("age")) return null;
  return seconds(headers.get("baton-time")) ?? (storable(headers) ? null : seconds(members.server_time));
}

/** Read a time or a duration in whole seconds, or null. @param {unknown} stated */
export const seconds = (stated) => (/^[0-9]{1,12}$/.test(String(stated)) ? Number(stated) : null);

/** @param {ReadonlyMap<string, string>} headers */
const storable = (headers) => !(headers.get("cache-control") ?? "").toLowerCase().includes("no-store");

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Parse JSON in strict UTF-8, without a byte order mark and without duplicate members. Undefined: the bytes are not such JSON.
 * @param {Uint8Array} bytes @returns {unknown}
 */
export function parseStrictly(bytes) {
  try {
    const text = textOf(bytes);
    const parsed = JSON.parse(text); // It refuses a byte order mark.
    /** @type {Set<string>[]} */
    const open = [];
    for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}]/g)) {
      if (token === "{") open.push(new Set());
      else if (token === "}") open.pop();
      else if (/^\s*:/.test(text.slice(index + token.length, index + token.length + 64))) {
        const names = open[open.length - 1];
        const name = JSON.parse(token);
        if (names?.has(name)) return undefined;
        names?.add(name);
      }
    }
    return parsed;
  } catch {
    return undefined;
  }
}
