// The transport of browsers, Node and React Native.

import { ANSWER_BYTES } from "../rules/numbers.js";
import { NoAnswer } from "../flows/errors.js";
import { stopIfAborted } from "../flows/patience.js";

const NOT_SENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"]; // Of Node. Any other failure counts as sent.
const DECODED = ["gzip", "deflate", "br", "zstd", "x-gzip"];

/** Send by `fetch`: without redirects, cookies and caches, and with one time limit for head and body. @returns {import("../types.js").Transport} */
export const fetchTransport =
  (fetching = (/** @type {string} */ url, /** @type {RequestInit} */ init) => fetch(url, init)) =>
  async ({ method, url, headers, body }, { timeout, signal }) => {
    const control = new AbortController();
    const stop = () => control.abort(signal?.reason);
    const timer = setTimeout(() => control.abort(), timeout * 1000);
    signal?.addEventListener("abort", stop);
    try {
      const answer = await fetching(url, {
        method,
        headers: { ...headers },
        body: /** @type {Uint8Array<ArrayBuffer> | null} */ (body),
        redirect: "manual",
        cache: "no-store",
        credentials: "omit",
        signal: control.signal,
      });
      const bytes = await limited(answer);
      /** @type {Map<string, string>} */
      const found = new Map();
      answer.headers.forEach((value, name) => found.set(name.toLowerCase(), value));
      if (DECODED.includes(found.get("content-encoding") ?? "")) found.delete("content-encoding"); // The platform requested it.
      return { status: answer.status, headers: found, bytes, ...(answer.url ? { url: answer.url } : {}) };
    } catch (error) {
      if (error instanceof NoAnswer) throw error;
      stopIfAborted(signal);
      const cause = /** @type {{ cause?: { code?: string } }} */ (error).cause;
      const late = control.signal.aborted ? "no answer in time" : `${error}${cause?.code ? ` (${cause.code})` : ""}`;
      throw new NoAnswer(late, !NOT_SENT.includes(cause?.code ?? ""));
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  };

/** @param {Response} answer */
async function limited(answer) {
  if (!answer.body?.getReader) return checked(new Uint8Array(await answer.arrayBuffer())); // React Native has no streams.
  const reader = answer.body.getReader();
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > ANSWER_BYTES) {
      await reader.cancel();
      throw new NoAnswer("the answer is too long");
    }
    parts.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** @param {Uint8Array} bytes */
function checked(bytes) {
  if (bytes.length > ANSWER_BYTES) throw new NoAnswer("the answer is too long");
  return bytes;
}
