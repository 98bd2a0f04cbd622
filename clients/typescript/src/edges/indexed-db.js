// The record and the key in IndexedDB. All tabs and workers of an origin share them.

import { StorageUnavailable } from "../flows/errors.js";
import { EMPTY, readRecord, writeRecord } from "../rules/record.js";
import { base64url } from "../rules/encoding.js";
import { signerOf } from "./software-keys.js";

/**
 * @typedef {import("../types.js").Storage} Storage
 * @typedef {import("../types.js").DeviceKeys} DeviceKeys
 * @typedef {import("../types.js").DeviceRecord} DeviceRecord
 */

const RECORDS = "records";
const KEYS = "keys";
const RECORD = "record";
const UNNAMED_LIFE = 3600e3; // Milliseconds. A tab stores the name of a new key much sooner.

/** One database, opened again once if the connection is lost. */
export class Database {
  /** @type {Promise<IDBDatabase> | null} */
  #opening = null;
  #factory;

  /** @param {string} name @param {IDBFactory} factory */
  constructor(name, factory = globalThis.indexedDB) {
    this.name = name;
    this.#factory = factory;
  }

  /**
   * Run one transaction. `work` starts its requests before it returns, and the result counts after the commit.
   * @template T @param {string[]} stores @param {IDBTransactionMode} mode
   * @param {(transaction: IDBTransaction, done: (value: T) => void, fail: (error: unknown) => void) => void} work @returns {Promise<T>}
   */
  async run(stores, mode, work) {
    try {
      return await this.#run(await this.#open(), stores, mode, work);
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "InvalidStateError") throw error;
      this.#opening = null; // The connection is lost: Safari closes it while a page sleeps.
      return this.#run(await this.#open(), stores, mode, work);
    }
  }

  #open() {
    return (this.#opening ??= new Promise((resolve, reject) => {
      const request = this.#factory.open(this.name, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(RECORDS);
        request.result.createObjectStore(KEYS);
      };
      request.onsuccess = () => {
        const database = request.result;
        database.onclose = database.onversionchange = () => {
          this.#opening = null;
          database.close();
        };
        resolve(database);
      };
      request.onblocked = () => reject(new StorageUnavailable("Another tab blocks the database."));
      request.onerror = () => {
        this.#opening = null;
        reject(request.error);
      };
    }));
  }

  /**
   * @template T @param {IDBDatabase} database @param {string[]} stores @param {IDBTransactionMode} mode
   * @param {(transaction: IDBTransaction, done: (value: T) => void, fail: (error: unknown) => void) => void} work @returns {Promise<T>}
   */
  #run(database, stores, mode, work) {
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(stores, mode, { durability: "strict" }); // Chrome's default is relaxed.
      /** @type {T} */
      let result;
      /** @type {unknown} */
      let failure = null;
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => reject(failure ?? transaction.error ?? new Error("the transaction was aborted"));
      const done = (/** @type {T} */ value) => {
        result = value;
      };
      work(transaction, done, (error) => {
        failure = error;
        transaction.abort();
      });
    });
  }
}

/** @implements {Storage} */
export class IndexedDbStorage {
  /** @param {Database} database */
  constructor(database) {
    this.database = database;
  }

  read() {
    return this.update((record) => record, "readonly");
  }

  /** @param {import("../types.js").Change} change @param {IDBTransactionMode} [mode] */
  update(change, mode = "readwrite") {
    return this.database.run([RECORDS], mode, (transaction, /** @type {(record: DeviceRecord) => void} */ done, fail) => {
      const store = transaction.objectStore(RECORDS);
      const request = store.get(RECORD);
      request.onsuccess = () => {
        try {
          const before = request.result === undefined ? EMPTY : readRecord(request.result);
          const after = change(before);
          if (after !== before) store.put(writeRecord(after), RECORD);
          done(after);
        } catch (error) {
          fail(error);
        }
      };
    });
  }
}

/** Keys that no code can export. The browser keeps them, and the record has their name. @implements {DeviceKeys} */
export class WebCryptoKeys {
  /** @type {Map<string, CryptoKeyPair>} */
  #memory = new Map();
  #crypto;

  /** @param {Database} database @param {Crypto} crypto */
  constructor(database, crypto = globalThis.crypto) {
    this.database = database;
    this.#crypto = crypto;
  }

  async create() {
    const pair = await this.#crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    const data = base64url(this.#crypto.getRandomValues(new Uint8Array(16)));
    const signer = await this.#signer(pair);
    try {
      await this.database.run([RECORDS, KEYS], "readwrite", (transaction, done) => {
        transaction.objectStore(KEYS).put({ pair, since: Date.now() }, data);
        sweep(transaction);
        done(null);
      });
      return { store: "webcrypto", data, signer };
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "DataCloneError") throw error;
      this.#memory.set(data, pair); // Some private windows cannot store a key: the login ends with the tab.
      return { store: "memory", data, signer };
    }
  }

  /** @param {import("../types.js").StoredKey} key */
  async open({ store, data }) {
    if (store === "memory") {
      const kept = this.#memory.get(data);
      return kept ? this.#signer(kept) : null;
    }
    const stored = await this.database.run([KEYS], "readonly", (transaction, /** @type {(found: { pair: CryptoKeyPair } | undefined) => void} */ done) => {
      const request = transaction.objectStore(KEYS).get(data);
      request.onsuccess = () => done(request.result);
    });
    return stored ? this.#signer(stored.pair) : null;
  }

  /** @param {import("../types.js").StoredKey} key */
  async remove({ data }) {
    this.#memory.delete(data);
    await this.database.run([KEYS], "readwrite", (transaction, done) => {
      transaction.objectStore(KEYS).delete(data);
      done(null);
    });
  }

  /** @param {CryptoKeyPair} pair */
  async #signer({ privateKey, publicKey }) {
    const { crv = "", kty = "", x = "", y = "" } = await this.#crypto.subtle.exportKey("jwk", publicKey);
    return signerOf(this.#crypto, privateKey, { crv, kty, x, y });
  }
}

/** Delete the keys that no record names, after an hour. @param {IDBTransaction} transaction */
function sweep(transaction) {
  const reading = transaction.objectStore(RECORDS).get(RECORD);
  reading.onsuccess = () => {
    const named = String(reading.result ?? "");
    const walking = transaction.objectStore(KEYS).openCursor();
    walking.onsuccess = () => {
      const cursor = walking.result;
      if (!cursor) return;
      const old = Date.now() - cursor.value.since > UNNAMED_LIFE;
      if (old && !named.includes(String(cursor.key))) cursor.delete();
      cursor.continue();
    };
  };
}
