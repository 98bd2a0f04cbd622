// A phone of this page: the client library as an app uses it, with its own storage, key and clock. The key is a software
// key, so a copy of the storage is a copy of the whole device: that is what a clone and a stolen backup are.
import { MemoryStorage, NoAnswer, SoftwareKeys, browserBaton, fetchTransport, readRecord, webLock, writeRecord } from "../client/browser.js";
import { clock } from "../parts/machine.js";
import { keepBase, keepSent } from "./bases.js";

export const API = `${location.origin}/api`;
const CLIENT = "mobile";
const DEADLINE_S = 15;
const never = () => new Promise(() => {});
const send = fetchTransport();

/** The record of one phone in this browser's local storage. All tabs share it. */
export class PhoneStorage {
  constructor(id, shelf = localStorage) {
    this.name = `baton.console.record.${id}`;
    this.shelf = shelf;
  }

  async read() {
    const text = this.shelf.getItem(this.name);
    return text ? readRecord(text) : new MemoryStorage().read();
  }

  update(change) {
    return navigator.locks.request(this.name, async () => {
      const after = change(await this.read());
      this.shelf.setItem(this.name, writeRecord(after));
      return after;
    });
  }

  text() {
    return this.shelf.getItem(this.name);
  }

  replace(text) {
    if (text === null) this.shelf.removeItem(this.name);
    else this.shelf.setItem(this.name, text);
  }
}

/** Software keys that keep what they sign, to show it. */
class WatchedKeys {
  #keys = new SoftwareKeys();

  async create() {
    const { signer, ...key } = await this.#keys.create();
    return { ...key, signer: watched(signer) };
  }

  async open(key) {
    return watched(await this.#keys.open(key));
  }

  async remove() {}
}

const watched = (signer) => ({
  jwk: signer.jwk,
  sign: (message) => {
    keepBase(new TextDecoder().decode(message), signer.sign);
    return signer.sign(message);
  },
});

export class Phone {
  /** `data` is what the browser keeps of a phone beside its record. */
  constructor(data) {
    this.data = { email: "", clock: 0, offline: false, backup: null, of: null, ...data };
    this.storage = new PhoneStorage(this.data.id);
    this.sent = [];
    this.seen = null; // The id of the newest answered request.
    this.tunnel = false;
    this.start();
  }

  get name() {
    return this.data.name;
  }

  /** Start the app. An earlier process of this phone is killed: it never writes again. */
  start() {
    if (this.process) this.process.alive = false;
    this.process = this.#process();
  }

  #process() {
    const process = { alive: true };
    const living = async (work) => {
      if (!process.alive) return never();
      const value = await work();
      return process.alive ? value : never();
    };
    process.baton = browserBaton({
      baseUrl: API,
      clientId: CLIENT,
      plainHttp: true,
      keys: new WatchedKeys(),
      storage: { read: () => living(() => this.storage.read()), update: (change) => living(() => this.storage.update(change)) },
      transport: (request, limits) => living(() => this.send(request, limits)),
      clock: () => this.seconds(),
      sleep: (seconds) => this.#sleep(seconds),
      channel: undefined,
      lock: (name, wait, run) => webLock(navigator.locks)(`${name}:${this.data.id}`, wait, run),
    });
    return process;
  }

  /** Pause between two requests. Without a network no request is sent, so the page does not wait for the deadline. */
  #sleep(seconds) {
    return this.data.offline ? Promise.resolve() : new Promise((done) => setTimeout(done, seconds * 1000));
  }

  /** Send one request, as this phone. `sent` gets the status, the error code or `lost` of each request. */
  async send(request, limits = { timeout: 20 }) {
    if (this.data.offline) throw new NoAnswer("the phone is offline", false);
    keepSent(request, this);
    try {
      const answer = await send({ ...request, headers: { ...request.headers, "baton-phone": this.name } }, limits);
      this.seen = answer.headers.get("baton-request-id") ?? null;
      this.sent.push(answer.status < 400 ? String(answer.status) : codeOf(answer));
      return answer;
    } catch (error) {
      this.sent.push("lost");
      if (this.tunnel) this.data.offline = true; // In a tunnel, the repetitions are lost as well.
      throw error;
    }
  }

  /** The time of the phone in seconds. It moves with the clock of the server. `data.clock` is its error in seconds. */
  seconds() {
    return Date.now() / 1000 + clock.get() + this.data.clock;
  }

  second() {
    return Math.floor(this.process.baton.now());
  }

  // What a person does

  register(email, password) {
    this.data.email = email;
    return this.process.baton.register(email, password, { deviceName: this.name, deadline: DEADLINE_S });
  }

  login(email, password) {
    this.data.email = email;
    return this.process.baton.login(email, password, { deviceName: this.name, deadline: DEADLINE_S });
  }

  logout() {
    return this.process.baton.logout();
  }

  call(method, path, options = {}) {
    return this.process.baton.call(method, path, { deadline: DEADLINE_S, ...options });
  }

  /** Exchange now: the app treats its token as expired. */
  async exchange() {
    const generation = await this.generation();
    await this.#expire();
    await this.call("GET", "/me");
    return { before: generation, after: await this.generation() };
  }

  #expire() {
    return this.storage.update((now) => (now.session ? { ...now, session: { ...now.session, expires_at: 0 } } : now));
  }

  /** Two processes with the same storage exchange at the same time, without a lock between them. */
  async twoProcesses() {
    await this.#expire();
    const second = this.#process();
    const tells = [this.process, second].map(({ baton }) => baton.call("GET", "/me", { deadline: DEADLINE_S }));
    const outcomes = await Promise.allSettled(tells);
    second.alive = false;
    const failed = outcomes.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
  }

  // What may happen to a phone

  backup() {
    this.data.backup = this.storage.text();
  }

  restore() {
    this.storage.replace(this.data.backup);
    this.start();
  }

  erase() {
    this.process.alive = false;
    this.storage.replace(null);
  }

  /** The state of the app for the page, read from the record and the claims of its token. */
  async view() {
    const record = await this.storage.read();
    const claims = record.session ? claimsOf(record.session.access_token) : null;
    return {
      signedIn: record.session !== null,
      lineage: record.session?.device_id ?? null,
      generation: claims?.gen ?? null,
      account: claims?.sub ?? null,
      expires: record.session?.expires_at ?? null,
      ended: record.ended,
      attempt: record.session?.attempt ?? null,
      token: record.session?.access_token ?? null,
    };
  }

  async generation() {
    return (await this.view()).generation;
  }
}

function codeOf({ status, bytes }) {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)).code ?? String(status);
  } catch {
    return String(status);
  }
}

/** The claims of a JWT, not verified: only to show them. Null for an opaque token. */
export function claimsOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/** The first 8 hexadecimal digits of the digest of an attempt, as the server shows it. */
export async function attemptDigits(attempt) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`baton attempt\0${attempt}`)));
  return [...digest.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
