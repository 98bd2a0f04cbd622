// The other vectors: signatures, addresses, answers, clocks, the record.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { checkPath, encodeQuery, readBaseUrl } from "../src/rules/address.js";
import { readAnswer, serverTime } from "../src/rules/answer.js";
import { newOffset, pauseLength } from "../src/rules/clock.js";
import { rawSignature } from "../src/rules/der.js";
import { base64, hmac, unbase64, utf8 } from "../src/rules/encoding.js";
import { readRecord, writeRecord } from "../src/rules/record.js";
import { contentDigest, signatureBase, thumbprint } from "../src/rules/signature.js";
import { rawAnswer, vectors } from "./vectors.js";

/** Run one check for each vector of a file, and print how many there are. */
function each(file, check) {
  const all = vectors(file);
  test(`${file}: ${all.length} vectors`, async () => {
    for (const one of all) {
      try {
        await check(one);
      } catch (error) {
        throw new Error(`${file}: ${one.name ?? JSON.stringify(one).slice(0, 120)}: ${error.message}`, { cause: error });
      }
    }
  });
}

each("signature_base", ({ method, url, headers, query, created, key_id: keyId, nonce, input, base }) => {
  assert.deepEqual(signatureBase({ method, url, headers }, { created, keyId, nonce }), { input, base });
  assert.equal(encodeQuery(query), url.split("?")[1] ?? "");
});

each("signatures", async ({ kind, key, base, signature }) => {
  const raw = unbase64(signature);
  if (kind === "hmac") return assert.deepEqual(await hmac(crypto, unbase64(key), utf8(base)), raw);
  const jwk = createPublicKey({ key, format: "jwk" });
  const options = kind === "p256" ? { key: jwk, dsaEncoding: "ieee-p1363" } : jwk;
  assert.ok(verify(kind === "p256" ? "sha256" : null, utf8(base), options, raw));
});

each("digest", async ({ body, expect }) => assert.equal(await contentDigest(crypto, unbase64(body)), expect));
each("thumbprint", async ({ jwk, expect }) => assert.equal(await thumbprint(crypto, jwk), expect));

each("der", ({ der, expect }) => {
  const bytes = Uint8Array.from(Buffer.from(der, "hex"));
  if (expect === undefined) assert.throws(() => rawSignature(bytes), TypeError);
  else assert.equal(Buffer.from(rawSignature(bytes)).toString("hex"), expect);
});

each("base_url", ({ url, refused, ...expect }) => {
  if (refused) assert.throws(() => readBaseUrl(url), TypeError);
  else assert.deepEqual(readBaseUrl(url), expect);
  if (!refused) assert.equal(new URL(expect.origin + expect.prefix).href.replace(/\/$/, ""), expect.origin + expect.prefix);
});

each("path", ({ path, accepted }) => {
  if (!accepted) return assert.throws(() => checkPath(path), TypeError);
  checkPath(path);
  assert.equal(new URL(`https://api.example.com${path}`).pathname, path, "what is signed is what is sent");
});

each("problems", ({ team, answer, expect }) => {
  const read = readAnswer(rawAnswer(answer), { url: "https://api.example.com/api/me", method: "GET", team });
  if (expect.foreign) return assert.notEqual(read.foreign, null);
  assert.equal(read.foreign, null);
  assert.equal(read.answer.status, expect.status);
  if (expect.code === undefined) return assert.equal(read.refusal, null);
  const { error, code, action, reason, retryAfter } = read.refusal;
  const { ends, retry_after, status: _status, ...rest } = expect;
  assert.deepEqual({ error, code, action, reason }, rest);
  assert.equal(retryAfter, retry_after);
});

each("clock", ({ before, after, offset, answer, expect }) => {
  const { headers, bytes } = rawAnswer(answer);
  const members = bytes.length ? JSON.parse(new TextDecoder().decode(bytes)) : {};
  assert.equal(newOffset(offset, before, after, serverTime(headers, members)), expect);
});

each("backoff", ({ pauses, draw, at_least, expect }) => assert.equal(pauseLength(pauses, draw, at_least), expect));

each("record", ({ text, expect, broken }) => {
  if (broken) return assert.throws(() => readRecord(text), { kind: "broken_storage" });
  assert.deepEqual(readRecord(text), expect);
  assert.deepEqual(readRecord(writeRecord(readRecord(text))), expect);
});

test("base64 of every byte", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  assert.deepEqual(unbase64(base64(bytes)), bytes);
});
