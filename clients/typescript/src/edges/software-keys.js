// P-256 keys in the record, as PKCS #8. Their protection is that of the storage.

import { base64, unbase64 } from "../rules/encoding.js";
import { publicPart } from "../rules/record.js";

const P256 = { name: "ECDSA", namedCurve: "P-256" };

/** @param {Crypto} crypto @param {CryptoKey} key @param {import("../types.js").PublicJwk} jwk @returns {import("../types.js").Signer} */
export const signerOf = (crypto, key, jwk) => ({
  jwk,
  sign: async (message) => {
    const bytes = /** @type {Uint8Array<ArrayBuffer>} */ (message);
    return new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, bytes));
  },
});

export class SoftwareKeys {
  #crypto;

  /** @param {Crypto} crypto */
  constructor(crypto = globalThis.crypto) {
    this.#crypto = crypto;
  }

  async create() {
    const { privateKey } = await this.#crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
    const data = base64(new Uint8Array(await this.#crypto.subtle.exportKey("pkcs8", privateKey)));
    return { store: "pkcs8", data, signer: signerOf(this.#crypto, privateKey, publicPart(data)) };
  }

  /** @param {import("../types.js").StoredKey} stored */
  async open({ data }) {
    const key = await this.#crypto.subtle.importKey("pkcs8", unbase64(data), P256, false, ["sign"]);
    return signerOf(this.#crypto, key, publicPart(data));
  }

  async remove() {}
}
