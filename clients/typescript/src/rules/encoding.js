// Bytes, text, base64 and random names. Nothing here needs more than ES2022 and `crypto`.

const encoder = new TextEncoder();

/** @param {string} text @returns {Uint8Array} */
export const utf8 = (text) => encoder.encode(text);

/**
 * Decode strict UTF-8, or throw. `decodeURIComponent` refuses malformed UTF-8, and every engine has it: Hermes (React
 * Native) has no `TextDecoder`.
 * @param {Uint8Array} bytes
 */
export function textOf(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; ) {
    let end = Math.min(at + 0x4000, bytes.length);
    while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end++; // Keep a character whole.
    let escaped = "";
    for (const byte of bytes.subarray(at, end)) escaped += "%" + (byte + 256).toString(16).slice(1);
    parts.push(decodeURIComponent(escaped));
    at = end;
  }
  return parts.join("");
}

/** @param {Uint8Array} bytes */
export const base64 = (bytes) => btoa(String.fromCharCode(...bytes));

/** @param {Uint8Array} bytes */
export const base64url = (bytes) => base64(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

/** @param {string} text base64 or base64url @returns {Uint8Array<ArrayBuffer>} */
export const unbase64 = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));

/** Draw 128 random bits: an attempt or a nonce. @param {Crypto} crypto */
export const randomName = (crypto) => base64url(crypto.getRandomValues(new Uint8Array(16)));

/** Return the SHA-256 of some bytes. @param {Crypto} crypto @param {Uint8Array} bytes */
export const sha256 = async (crypto, bytes) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {Uint8Array<ArrayBuffer>} */ (bytes)));

/** Return the HMAC-SHA-256. @param {Crypto} crypto @param {Uint8Array} secret @param {Uint8Array} message */
export async function hmac(crypto, secret, message) {
  const raw = /** @type {Uint8Array<ArrayBuffer>} */ (secret);
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, /** @type {Uint8Array<ArrayBuffer>} */ (message)));
}
