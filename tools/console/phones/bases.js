// What the phones of this page have signed, by nonce: the detail of a request shows it beside the server's base, and
// can send the request again with a new signature.
import { signatureFields } from "../client/rules/signature.js";

const KEPT = 500;
const signed = new Map();

const nonce = (text) => /nonce="([^"]+)"/.exec(text ?? "")?.[1];

function entry(text) {
  const name = nonce(text);
  if (!name) return {};
  if (!signed.has(name)) signed.set(name, {});
  if (signed.size > KEPT) signed.delete(signed.keys().next().value);
  return signed.get(name);
}

/** Keep a base, and the function that signs another base. */
export const keepBase = (base, sign) => void Object.assign(entry(base), { base, sign, keyId: /keyid="([^"]+)"/.exec(base)?.[1] });
/** Keep a request that carries a signature. */
export const keepSent = (request, phone) => void Object.assign(entry(request.headers["signature-input"]), { request, phone });

/** The base of a signature, by its input, or null if another page or program signed it. */
export const signedBase = (input) => signed.get(nonce(input))?.base ?? null;
/** Whether this page can send the request again. */
export const canRepeat = (input) => Boolean(signed.get(nonce(input))?.request);

/** Send the same request again, with the same body and token and a new signature. Return the status. */
export async function repeat(input) {
  const { request, sign, keyId, phone } = signed.get(nonce(input));
  const { signature: _old, "signature-input": _input, ...headers } = request.headers;
  const fresh = crypto.getRandomValues(new Uint8Array(16));
  const name = btoa(String.fromCharCode(...fresh)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const fields = await signatureFields({ ...request, headers }, { keyId, sign }, phone.second(), name);
  const again = { ...request, headers: { ...headers, ...fields } };
  const answer = await phone.send(again);
  return answer.status;
}
