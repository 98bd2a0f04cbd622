// The storage record: its format, and the changes of it. Every change checks the record that it gets, because it may be applied again.

import { BrokenStorage } from "../flows/errors.js";
import { base64url, unbase64 } from "./encoding.js";
import { isObject } from "./answer.js";
import { REVOCATIONS, REVOCATION_LIFE } from "./numbers.js";

/**
 * @typedef {import("../types.js").DeviceRecord} DeviceRecord
 * @typedef {import("../types.js").Session} Session
 * @typedef {import("../types.js").StoredKey} StoredKey
 */

/** @type {DeviceRecord} */
export const EMPTY = { v: 2, session: null, key: null, pending: null, last: null, revocations: [], ended: null };

/** @param {DeviceRecord} record */
export const writeRecord = (record) => JSON.stringify(record);

/** Read a record of this format or of the one before it. Throw `BrokenStorage`. @param {string} text @returns {DeviceRecord} */
export function readRecord(text) {
  try {
    const given = fields(JSON.parse(text));
    const version = given.v === undefined ? 1 : number(given.v);
    if (version > 2) throw new BrokenStorage("A newer client wrote this record. It was not changed. Update the app.");
    if (version < 1 || (version === 1 && !["session", "pending", "key"].every((name) => name in given))) throw new TypeError("v");
    return {
      v: 2,
      session: optional(given.session, session),
      key: optional(given.key, key),
      pending: optional(given.pending, pending),
      last: optional(given.last, (last) => ({ key_id: text_(last.key_id), secret: text_(last.secret) })),
      revocations: list(given.revocations ?? []).map((one) => (version === 1 ? oldRevocation(one) : revocation(one))),
      ended: optional(given.ended, (ended) => ({ reason: textOrNull(ended.reason), at: number(ended.at) })),
    };
  } catch (error) {
    if (error instanceof BrokenStorage) throw error;
    throw new BrokenStorage("The record cannot be read. It was not changed.");
  }
}

/** @param {Record<string, unknown>} given @returns {Session} */
const session = (given) => ({
  device_id: text_(given.device_id),
  access_token: text_(given.access_token),
  ...(given.refresh_token === undefined || given.refresh_token === given.access_token
    ? {}
    : { refresh_token: textOrNull(given.refresh_token) }),
  expires_at: number(given.expires_at),
  attempt: text_(given.attempt),
  key_id: textOrNull(given.key_id),
  secret: textOrNull(given.secret),
});

/** @param {Record<string, unknown>} given @returns {StoredKey} */
function key(given) {
  if (given.pkcs8 !== undefined) return { store: "pkcs8", data: text_(given.pkcs8), jwk: publicPart(text_(given.pkcs8)) };
  const jwk = optional(given.jwk, ({ crv, kty, x, y }) => ({ crv: text_(crv), kty: text_(kty), x: text_(x), y: text_(y) }));
  return { store: text_(given.store), data: text_(given.data), jwk };
}

/** Return the public key at the end of a P-256 key in PKCS #8, as OpenSSL and WebCrypto write it. @param {string} pkcs8 */
export function publicPart(pkcs8) {
  const bytes = unbase64(pkcs8);
  const point = bytes.subarray(-65);
  if (bytes.length !== 138 || point[0] !== 4) throw new TypeError("not a P-256 key");
  return { crv: "P-256", kty: "EC", x: base64url(point.subarray(1, 33)), y: base64url(point.subarray(33)) };
}

/** @param {Record<string, unknown>} given @returns {import("../types.js").Pending} */
const pending = (given) => ({
  kind: given.kind === undefined ? "login" : text_(given.kind),
  email: text_(given.email),
  client_id: text_(given.client_id),
  binding: text_(given.binding),
  attempt: text_(given.attempt),
  auth_session: textOrNull(given.auth_session),
  ...(given.factors === undefined ? {} : { factors: list(given.factors).map(text_) }),
  ...(given.enrol === undefined ? {} : { enrol: list(given.enrol).map(text_) }),
  ...(given.expires_at === undefined ? {} : { expires_at: number(given.expires_at) }),
});

/** @param {unknown} one @returns {import("../types.js").Revocation} */
function revocation(one) {
  const given = fields(one);
  const copied = given.key === undefined ? {} : { key: optional(given.key, key) };
  return { token: text_(given.token), key_id: textOrNull(given.key_id), secret: textOrNull(given.secret), since: number(given.since), ...copied };
}

/** @param {unknown} one @returns {import("../types.js").Revocation} */
function oldRevocation(one) {
  const given = fields(one);
  const ended = session(fields(given.session));
  return { token: renewal(ended) ?? ended.access_token, key_id: ended.key_id, secret: ended.secret, since: 0, key: optional(given.key, key) };
}

/** @param {unknown} value @returns {Record<string, unknown>} */
function fields(value) {
  if (!isObject(value)) throw new TypeError("not an object");
  return value;
}

/** @template T @param {unknown} value @param {(given: Record<string, unknown>) => T} read */
const optional = (value, read) => (value === null || value === undefined ? null : read(fields(value)));

/** @param {unknown} value @returns {unknown[]} */
function list(value) {
  if (!Array.isArray(value)) throw new TypeError("not a list");
  return value;
}

/** @param {unknown} value */
function text_(value) {
  if (typeof value !== "string") throw new TypeError("not a string");
  return value;
}

/** @param {unknown} value */
const textOrNull = (value) => (value === null || value === undefined ? null : text_(value));

/** @param {unknown} value */
function number(value) {
  if (typeof value !== "number") throw new TypeError("not a number");
  return value;
}

/** Return the token that is exchanged, or null: the login cannot be renewed. @param {Session} session */
export const renewal = (session) => (session.refresh_token === undefined ? session.access_token : session.refresh_token);

/** Return whether both are the same generation: an attempt is made once for each token. @param {Session | null} a @param {Session | null} b */
export const same = (a, b) => a?.attempt === b?.attempt;

/** Hardware keys cannot be copied. Every other key may be in a copy of the device. @param {StoredKey | null} key */
const copyable = (key) => key !== null && key.store !== "enclave" && key.store !== "keystore";

/** Return the secret that signs the next HMAC login. @param {DeviceRecord} record */
export const lastSecret = ({ session, last }) =>
  session?.key_id && session.secret ? { key_id: session.key_id, secret: session.secret } : last;

/**
 * Drop the session. After a copy was used, the key is not used again: the other holder may have it (rule 8).
 * @param {DeviceRecord} record @param {string | null} reason @param {number} at @returns {DeviceRecord}
 */
export function withoutSession(record, reason, at) {
  const copied = (reason === "reuse" || reason === "replaced") && copyable(record.key);
  const ended = reason === null ? null : { reason, at };
  return { ...record, session: null, key: copied ? null : record.key, last: lastSecret(record), ended };
}

/**
 * Move the token from the session to the revocations, in one write: no crash loses the revocation.
 * @param {DeviceRecord} record @param {string} reason @param {number} at @returns {DeviceRecord}
 */
export function revoked(record, reason, at) {
  const { session, key } = record;
  if (!session) return record;
  const left = withoutSession(record, reason, at);
  const token = renewal(session) ?? session.access_token;
  const copied = key && !left.key && !session.secret ? { key } : {};
  const one = { token, key_id: session.key_id, secret: session.secret, since: at, ...copied };
  const waiting = record.revocations.filter(({ since }) => since === 0 || at - since < REVOCATION_LIFE);
  return { ...left, revocations: [...waiting, one].slice(-REVOCATIONS) };
}
