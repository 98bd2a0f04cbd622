// What all flows share: the record, the key, the clock, and one sending of a signed request.

import { readAnswer, serverTime } from "../rules/answer.js";
import { encodeQuery, readBaseUrl } from "../rules/address.js";
import { newOffset } from "../rules/clock.js";
import { hmac, randomName, unbase64 } from "../rules/encoding.js";
import { SENDING } from "../rules/numbers.js";
import { lastSecret, same, withoutSession } from "../rules/record.js";
import { contentDigest, signatureFields, thumbprint } from "../rules/signature.js";
import { BatonError, LoggedOut, NoAnswer, NotLoggedIn, StorageUnavailable } from "./errors.js";
import { Patience } from "./patience.js";

/**
 * @typedef {import("../types.js").DeviceRecord} DeviceRecord
 * @typedef {import("../types.js").Session} Session
 * @typedef {import("../types.js").State} State
 * @typedef {{ keyId: string, sign(message: Uint8Array): Promise<Uint8Array> }} RequestSigner
 * @typedef {{ method: string, path: string, body?: Uint8Array | null, contentType?: string,
 *   query?: Readonly<Record<string, string>> | undefined, fields?: Record<string, string>, team?: boolean }} Plan
 * @typedef {{ url: string, method: string, team: boolean, request: import("../types.js").Request }} Prepared
 */

export class Core {
  offset = 0;
  /** @type {{ attempt: string, child: Promise<Session> } | null} */
  flight = null;
  /** @type {Promise<boolean> | null} */
  revoking = null;
  revokeAfter = 0;
  /** @type {Set<string>} */
  refusedRevocations = new Set();
  /** @type {Set<(state: State) => void>} */
  listeners = new Set();
  #told = "";

  /** @param {import("../types.js").BatonOptions & { transport: import("../types.js").Transport }} options */
  constructor(options) {
    this.base = readBaseUrl(options.baseUrl, options.plainHttp);
    this.clientId = options.clientId;
    this.storage = options.storage;
    this.keys = options.keys;
    this.binding = options.binding ?? "key";
    this.evidence = options.evidence ?? null;
    this.transport = options.transport;
    this.clock = options.clock ?? (() => Date.now() / 1000);
    this.sleep = options.sleep ?? sleep;
    this.random = options.random ?? Math.random;
    this.crypto = options.crypto ?? globalThis.crypto;
    this.lock = options.lock ?? ((_name, _wait, run) => run());
    this.channel = options.channel;
    if (!this.crypto?.subtle)
      throw new TypeError("insecure_context: this page has no crypto.subtle. Serve it over https or from localhost.");
    this.channel?.onTold(() => void this.read().then((record) => this.#tell(record, false), () => {}));
  }

  now() {
    return this.clock() + this.offset;
  }

  name() {
    return randomName(this.crypto);
  }

  /** @param {import("../types.js").Waiting | undefined} waiting @param {number} usual */
  patience(waiting, usual) {
    return new Patience(this, waiting?.deadline === undefined ? usual : waiting.deadline, waiting?.signal);
  }

  // The record

  /** @returns {Promise<DeviceRecord>} */
  read() {
    return guarded(() => this.storage.read());
  }

  /** Change the record. Listeners are told after it has changed. @param {import("../types.js").Change} change */
  async update(change) {
    const record = await guarded(() =>
      this.storage.update((now) => {
        this.#told ||= JSON.stringify(stateOf(now)); // What the app has seen until now.
        return change(now);
      }),
    );
    this.#tell(record, true);
    return record;
  }

  async session() {
    return sessionOf(await this.read());
  }

  /** @param {DeviceRecord} record @param {boolean} here */
  #tell(record, here) {
    const state = stateOf(record);
    const told = JSON.stringify(state);
    if (told === this.#told) return;
    this.#told = told;
    if (here) this.channel?.tell();
    for (const listener of [...this.listeners]) {
      try {
        listener(state);
      } catch (error) {
        queueMicrotask(() => {
          throw error; // It is an error of the app. The login stays active.
        });
      }
    }
  }

  // Keys

  /** Return the signer of a session, or null for an unbound one. A lost key ends the session (rule 6). @param {DeviceRecord} record */
  async signer(record) {
    const session = sessionOf(record);
    if (session.key_id === null) return null;
    if (session.secret !== null) return this.secretSigner(session.key_id, session.secret);
    const signer = record.key && (await this.keySigner(record.key));
    if (signer?.keyId === session.key_id) return signer;
    await this.update((now) => (same(now.session, session) ? { ...withoutSession(now, "key_lost", this.second()), key: null } : now));
    throw new LoggedOut("key_lost", false);
  }

  /**
   * Open the key of the device. Null: it does not exist any more. An error of the key store ends no login.
   * @param {import("../types.js").StoredKey} key @returns {Promise<RequestSigner & { jwk: import("../types.js").PublicJwk } | null>}
   */
  async keySigner(key) {
    for (const wait of [0.2, 1, null]) {
      try {
        const signer = await this.keys.open(key);
        if (!signer || (key.jwk && key.jwk.x !== signer.jwk.x)) return null;
        return { keyId: await thumbprint(this.crypto, signer.jwk), jwk: signer.jwk, sign: (message) => signer.sign(message) };
      } catch (error) {
        if (wait === null) throw new StorageUnavailable("The key of the device cannot be used now.", error);
        await this.sleep(wait);
      }
    }
    return null;
  }

  /** @param {string} keyId @param {string} secret @returns {RequestSigner} */
  secretSigner(keyId, secret) {
    return { keyId, sign: (message) => hmac(this.crypto, unbase64(secret), message) };
  }

  /** Return the signer of a login by the last HMAC secret, if there is one. @param {DeviceRecord} record */
  lastSigner(record) {
    const last = lastSecret(record);
    return last && this.secretSigner(last.key_id, last.secret);
  }

  second() {
    return Math.floor(this.now());
  }

  // Requests

  /** Build a request, signed with a fresh nonce. @param {Plan} plan @param {number} created @param {RequestSigner | null} signer */
  async prepared({ method, path, body = null, contentType, query, fields, team = false }, created, signer) {
    const encoded = encodeQuery(query);
    const url = `${this.base.origin}${this.base.prefix}${path}${encoded && "?"}${encoded}`;
    /** @type {Record<string, string>} */
    const headers = { accept: team ? "application/json, application/problem+json, */*;q=0.1" : "application/json, application/problem+json" };
    if (body?.length) {
      headers["content-type"] = contentType ?? "application/json";
      headers["content-digest"] = await contentDigest(this.crypto, body);
    }
    Object.assign(headers, fields);
    if (signer) Object.assign(headers, await signatureFields({ method, url, headers }, signer, created, this.name()));
    return { url, method, team, request: { method, url, headers, body: body?.length ? body : null } };
  }

  /** Send once. Throw `NoAnswer` for an answer that is not Baton's (rule 9). @param {Prepared} prepared @param {Patience} patience */
  async send({ request, ...asked }, patience) {
    const before = this.clock();
    const timeout = Math.max(0.1, Math.min(SENDING, patience.left()));
    const raw = await this.transport(request, { timeout, signal: patience.signal });
    const read = readAnswer(raw, asked);
    if (read.foreign !== null) throw new NoAnswer(`the answer is not Baton's: ${read.foreign}`);
    this.offset = newOffset(this.offset, before, this.clock(), serverTime(raw.headers, read.members));
    return read;
  }
}

/** @param {DeviceRecord} record @returns {State} */
export const stateOf = ({ session, ended }) =>
  session ? { signedIn: true, deviceId: session.device_id } : { signedIn: false, reason: ended?.reason ?? null, at: ended?.at ?? null };

/** @param {DeviceRecord} record */
export function sessionOf({ session }) {
  if (!session) throw new NotLoggedIn();
  return session;
}

/** @template T @param {() => Promise<T>} work */
export async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BatonError) throw error;
    throw new StorageUnavailable("The storage cannot be used now. The login is kept: repeat the call.", error);
  }
}

/** @type {import("../types.js").Sleep} */
const sleep = (seconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", done);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
