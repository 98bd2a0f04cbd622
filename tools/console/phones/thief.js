// A thief who has a token, for example from a log, but not its key. He signs with his own key.
import { fetchTransport } from "../client/browser.js";
import { contentDigest, signatureFields, thumbprint } from "../client/rules/signature.js";
import { serverNow } from "../parts/machine.js";
import { keepBase } from "./bases.js";
import { API } from "./phone.js";

const send = fetchTransport();
const random = () => crypto.randomUUID().replaceAll("-", "");

async function ownKey() {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const sign = async (message) => {
    const bytes = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, message));
    keepBase(new TextDecoder().decode(message), sign);
    return bytes;
  };
  return { keyId: await thumbprint(crypto, jwk), sign };
}

async function signedSend(method, path, headers, body) {
  const url = `${API}${path}`;
  const fields = body ? { ...headers, "content-digest": await contentDigest(crypto, body) } : headers;
  const signature = await signatureFields({ method, url, headers: fields }, await ownKey(), Math.floor(serverNow()), random());
  const answer = await send({ method, url, headers: { ...fields, ...signature, "baton-phone": "thief" }, body }, { timeout: 20 });
  const told = JSON.parse(new TextDecoder().decode(answer.bytes) || "{}");
  return { status: answer.status, code: told.code ?? null };
}

/** Call with the stolen token. */
export const callAsThief = (token) => signedSend("GET", "/me", { authorization: `Bearer ${token}` }, null);

/** Exchange the stolen token. */
export const exchangeAsThief = (token) =>
  signedSend("POST", "/oauth/token", { "content-type": "application/x-www-form-urlencoded", "idempotency-key": `"${random()}"` },
    new TextEncoder().encode(`grant_type=refresh_token&client_id=mobile&refresh_token=${token}`));
