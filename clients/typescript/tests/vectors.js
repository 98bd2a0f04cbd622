// The shared vectors, and a count of them: every suite prints the same numbers.

import { readFileSync } from "node:fs";

/** @param {string} name @returns {any[]} */
export const vectors = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8"));

/** The answer of a vector, as a transport returns it. */
export function rawAnswer({ status, headers, body, bytes, url }) {
  const raw = bytes === undefined ? new TextEncoder().encode(body) : Uint8Array.from(Buffer.from(bytes, "base64"));
  return { status, headers: new Map(Object.entries(headers)), bytes: raw, ...(url ? { url } : {}) };
}
