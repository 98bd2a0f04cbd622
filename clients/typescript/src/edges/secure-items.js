// The record and the key in two items of the secure store of a phone. An app has one JavaScript engine: a queue is enough.

import { base64url } from "../rules/encoding.js";
import { EMPTY, readRecord, writeRecord } from "../rules/record.js";
import { SoftwareKeys } from "./software-keys.js";

/**
 * @typedef {import("../types.js").Storage} Storage
 * @typedef {import("../types.js").DeviceKeys} DeviceKeys
 *
 * @typedef {object} SecureItems A store that throws if it cannot be read now. Null: there is no such item.
 * @property {(name: string) => Promise<string | null>} get
 * @property {(name: string, value: string) => Promise<void>} set
 * @property {(name: string) => Promise<void>} remove
 */

/**
 * Adapt `expo-secure-store`. With its default accessibility, a background refresh finds no record: this sets another one.
 * @param {{ getItemAsync(name: string, options: object): Promise<string | null>, setItemAsync(name: string, value: string, options: object): Promise<void>,
 *   deleteItemAsync(name: string, options: object): Promise<void>, AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: unknown }} store
 * @returns {SecureItems}
 */
export function expoItems(store) {
  const options = { keychainAccessible: store.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY };
  return {
    get: (name) => store.getItemAsync(name, options),
    set: (name, value) => store.setItemAsync(name, value, options),
    remove: (name) => store.deleteItemAsync(name, options),
  };
}

/** @implements {Storage} */
export class SecureStorage {
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /** @param {SecureItems} items @param {string} name */
  constructor(items, name) {
    this.items = items;
    this.name = name;
  }

  async read() {
    const text = await this.items.get(this.name);
    return text === null ? EMPTY : readRecord(text);
  }

  /** @param {import("../types.js").Change} change @returns {Promise<import("../types.js").DeviceRecord>} */
  update(change) {
    const next = this.#last.then(async () => {
      const before = await this.read();
      const after = change(before);
      if (after !== before) await this.items.set(this.name, writeRecord(after));
      return after;
    });
    this.#last = next.catch(() => undefined);
    return next;
  }
}

/** @implements {DeviceKeys} */
export class SecureKeys {
  #software;
  #crypto;

  /** @param {SecureItems} items @param {string} prefix @param {Crypto} crypto of react-native-quick-crypto */
  constructor(items, prefix, crypto = globalThis.crypto) {
    this.items = items;
    this.prefix = prefix;
    this.#crypto = crypto;
    this.#software = new SoftwareKeys(crypto);
  }

  async create() {
    const { data: pkcs8, signer } = await this.#software.create();
    const data = `${this.prefix}.${base64url(this.#crypto.getRandomValues(new Uint8Array(8)))}`;
    await this.items.set(data, pkcs8);
    return { store: "secure", data, signer };
  }

  /** @param {import("../types.js").StoredKey} key */
  async open({ data }) {
    const pkcs8 = await this.items.get(data);
    return pkcs8 === null ? null : this.#software.open({ store: "pkcs8", data: pkcs8, jwk: null });
  }

  /** @param {import("../types.js").StoredKey} key */
  async remove({ data }) {
    await this.items.remove(data);
  }
}
