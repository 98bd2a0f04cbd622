// Revocations, overtaken logins and slow writers: guards that need a particular order of events.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MemoryStorage } from "../src/index.js";
import { FileStorage } from "../src/node.js";
import { copyOf, device, failure, loggedIn, NAME } from "./device.js";
import { EMAIL, FakeServer, PASSWORD } from "./fake-server.js";

const refuse = (error, code, action) => () => ({
  status: 400,
  headers: new Map([["baton-request-id", "0123abcd-ef"], ["content-type", "application/json"], ["cache-control", "no-store"]]),
  bytes: new TextEncoder().encode(JSON.stringify({ error, code, action })),
});

test("a revocation that is refused is kept, and not sent again until the app starts again", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  server.faults.push(refuse("unauthorized_client", "unauthorized_client", "fix_request"));
  assert.deepEqual(await client.logout(), { confirmed: false });
  await client.login(EMAIL, PASSWORD, NAME);
  await client.me();
  assert.deepEqual([(await storage.read()).revocations.length, server.sent("/oauth/revoke").length], [1, 0]);
  await device(server, { storage }).client.me();
  assert.deepEqual([(await storage.read()).revocations.length, server.sent("/oauth/revoke").length], [0, 1]);
});

test("a login that has ended at the server already completes its revocation", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  server.faults.push(refuse("invalid_grant", "login_required", "log_in"));
  assert.deepEqual(await client.logout(), { confirmed: true });
});

test("a revocation that was not answered does not delay each call", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  server.faults.push(...Array(40).fill(server.loseRequest));
  await client.logout();
  server.faults.length = 0;
  await client.login(EMAIL, PASSWORD, NAME);
  await client.me();
  assert.equal(server.sent("/oauth/revoke").length, 0);
  server.time += 31;
  await client.me();
  assert.equal(server.sent("/oauth/revoke").length, 1);
});

test("a revocation whose key is gone is dropped, and one of 31 days too", async () => {
  const server = new FakeServer();
  const { storage } = await loggedIn(server);
  const one = { token: "t", key_id: "a key that is gone", secret: null, since: server.time };
  await storage.update((now) => ({ ...now, revocations: [one, { ...one, token: "u", key_id: now.session.key_id, since: server.time - 31 * 86400 }] }));
  await device(server, { storage }).client.me();
  assert.deepEqual((await storage.read()).revocations, []);
  assert.equal(server.sent("/oauth/revoke").length, 0);
});

test("at most eight revocations wait", async () => {
  const server = new FakeServer();
  const storage = new MemoryStorage();
  for (let login = 0; login < 10; login++) {
    const { client } = await loggedInWithout(server, storage);
    server.faults.push(...Array(40).fill(server.loseRequest));
    await client.logout();
    server.faults.length = 0;
  }
  assert.equal((await storage.read()).revocations.length, 8);
});

/** Log in on a storage whose revocations stay: its record has none of them during the login. */
async function loggedInWithout(server, storage) {
  const { revocations } = await storage.read();
  await storage.update((now) => ({ ...now, revocations: [] }));
  const made = await loggedIn(server, { storage });
  await storage.update((now) => ({ ...now, revocations }));
  return made;
}

test("a login that another one overtook is not stored", async () => {
  const server = new FakeServer();
  server.accounts.set("bob@example.com", { password: PASSWORD, factor: null });
  const { client, storage } = device(server);
  const other = device(server, { storage });
  server.faults.push(async (request) => {
    const answer = server.serve(request);
    await other.client.login("bob@example.com", PASSWORD, NAME);
    return answer;
  });
  assert.equal((await failure(client.login(EMAIL, PASSWORD, NAME))).kind, "not_logged_in");
  assert.equal((await other.client.me()).email, "bob@example.com");
});

test("a login of a clone does not revive the revocation of the owner", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  const clone = device(server, { storage: await copyOf(storage) });
  await client.logout();
  assert.equal((await failure(clone.client.me())).reason, "logout");
});

test("a file that is made again below a newer record does not count", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "baton-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const storage = new FileStorage(folder);
  const ended = (reason) => (now) => ({ ...now, ended: { reason, at: 1 } });
  await storage.update(ended("first"));
  let round = 0;
  const after = await storage.update((now) => {
    // A slow process: meanwhile the others wrote numbers 2 and 3, and deleted 1 and 2.
    if (round++ === 0) {
      writeFileSync(join(folder, "record.000000000003"), JSON.stringify({ ...now, ended: { reason: "third", at: 3 } }));
      rmSync(join(folder, "record.000000000001"));
    }
    return { ...now, ended: { reason: `${now.ended.reason}, then ours`, at: 4 } };
  });
  assert.equal(after.ended.reason, "third, then ours");
  assert.equal((await storage.read()).ended.reason, "third, then ours");
});
