// The quick start of the README runs. The README has these lines to the letter.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Baton, nodeBaton } from "../src/node.js";
import { BASE as baseUrl, EMAIL as email, FakeServer, PASSWORD as password } from "./fake-server.js";

const MARKED = /^ *\/\/ \[quick-start\]\n(.*?)^ *\/\/ \[quick-start\]/ms;
const here = readFileSync(new URL(import.meta.url), "utf8");
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

test("the quick start", async (t) => {
  const server = new FakeServer();
  server.time = Date.now() / 1000;
  server.accounts.get(email).factor = "123456";
  server.pendingKey = null;
  const folder = mkdtempSync(join(tmpdir(), "baton-"));
  const before = { fetch: globalThis.fetch, console: globalThis.console };
  t.after(() => (rmSync(folder, { recursive: true }), Object.assign(globalThis, before)));
  const printed = [];
  globalThis.console = { log: (...parts) => printed.push(parts) };
  globalThis.fetch = async (url, { method, headers, body }) => {
    const answer = server.serve({ url, method, headers, body });
    return new Response(answer.status === 204 ? null : answer.bytes, { status: answer.status, headers: [...answer.headers] });
  };
  const codes = ["000000", "123456"]; // The first one is wrong.
  const ask = async (what) => (what === "Code" ? codes.shift() : password);
  const transfer = { to: "bob", amount: 7 };
  // [quick-start]
  const baton = nodeBaton({ baseUrl, clientId: "mobile", folder });
  let login = await baton.login(email, password, { deviceName: "Ada's laptop" });
  const again = (error) => (error.code === "invalid_factor" ? login : Promise.reject(error)); // A wrong code: ask again.
  while (!login.done) login = await login.step.prove({ totp: await ask("Code") }).catch(again);
  console.log(await baton.me());

  const idempotencyKey = Baton.newIdempotencyKey(); // Store it with the transfer, before the call.
  const confirm = async () => ({ password: await ask("Password") }); // Called only if the route requires it.
  const answer = await baton.call("POST", "/transfers", { json: transfer, idempotencyKey, confirm });
  console.log(answer.json());
  console.log(await baton.logout());
  // [quick-start]
  assert.deepEqual(codes, []);
  assert.deepEqual(printed.slice(1), [[{ paid: true }], [{ confirmed: true }]]);
});

test("the README has it to the letter", () => {
  const block = MARKED.exec(here)[1].replace(/^ {2}/gm, "").trim();
  assert.ok(readme.includes(`\`\`\`js\n${block}\n\`\`\``));
  assert.ok(block.split("\n").length <= 12);
});
