// HTTP Message Signatures (RFC 9421) in the profile of Baton: the tag `baton`.

import { base64, base64url, sha256, utf8 } from "./encoding.js";

const FIELDS = ["content-digest", "authorization", "idempotency-key", "baton-grant"];

/** @typedef {import("../types.js").Request} Request */

/**
 * Return the parameters and the signature base of a request.
 * @param {{ method: string, url: string, headers: Readonly<Record<string, string>> }} request
 * @param {{ created: number, keyId: string, nonce: string }} parameters
 */
export function signatureBase(request, { created, keyId, nonce }) {
  const [, authority = "", path = "", query] = /^https?:\/\/([^/?#]+)([^?#]*)(?:\?([^#]*))?$/.exec(request.url) ?? [];
  /** @type {[string, string][]} */
  const covered = [['"@method"', request.method], ['"@authority"', authority], ['"@path"', path]];
  for (const pair of (query ?? "").split("&").filter(Boolean)) {
    const [name, value = ""] = pair.split("=");
    covered.push([`"@query-param";name="${name}"`, value]);
  }
  for (const name of FIELDS) {
    const value = request.headers[name];
    if (value !== undefined) covered.push([`"${name}"`, value]);
  }
  const names = covered.map(([name]) => name).join(" ");
  const input = `(${names});created=${created};keyid="${keyId}";nonce="${nonce}";tag="baton"`;
  return { input, base: [...covered, ['"@signature-params"', input]].map(([name, value]) => `${name}: ${value}`).join("\n") };
}

/**
 * Sign a request. Return the two header fields to add.
 * @param {{ method: string, url: string, headers: Readonly<Record<string, string>> }} request
 * @param {{ keyId: string, sign(message: Uint8Array): Promise<Uint8Array> }} signer
 * @param {number} created @param {string} nonce
 */
export async function signatureFields(request, signer, created, nonce) {
  const { input, base } = signatureBase(request, { created, keyId: signer.keyId, nonce });
  const signature = base64(await signer.sign(utf8(base)));
  return { "signature-input": `baton=${input}`, signature: `baton=:${signature}:` };
}

/** Return the Content-Digest of a body (RFC 9530). @param {Crypto} crypto @param {Uint8Array} body */
export const contentDigest = async (crypto, body) => `sha-256=:${base64(await sha256(crypto, body))}:`;

/**
 * Return the thumbprint of a public key (RFC 7638).
 * @param {Crypto} crypto @param {import("../types.js").PublicJwk} jwk
 */
export const thumbprint = async (crypto, { crv, kty, x, y }) =>
  base64url(await sha256(crypto, utf8(JSON.stringify(kty === "OKP" ? { crv, kty, x } : { crv, kty, x, y }))));
