// The browser's edges over fakes of IndexedDB and Web Locks, and Node's own BroadcastChannel. They have not run in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Baton, Database, IndexedDbStorage, WebCryptoKeys, broadcast, browserBaton, webLock } from "../src/browser.js";
import { EMPTY } from "../src/rules/record.js";
import { expire, failure, NAME } from "./device.js";
import { FakeIndexedDb } from "./fake-indexed-db.js";
import { BASE, EMAIL, FakeServer, PASSWORD } from "./fake-server.js";

/** Web Locks, as far as the client uses them. */
class FakeLocks {
  held = new Map();
  async request(name, { signal }, work) {
    while (this.held.has(name)) {
      const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      await Promise.race([this.held.get(name), aborted]);
    }
    let release;
    this.held.set(name, new Promise((resolve) => (release = resolve)));
    try {
      return await work();
    } finally {
      this.held.delete(name);
      release();
    }
  }
}

function tab(factory, server, locks, options = {}) {
  const database = new Database("baton.mobile", factory);
  const storage = new IndexedDbStorage(database);
  const client = new Baton({
    baseUrl: BASE, clientId: "mobile", storage, keys: new WebCryptoKeys(database), transport: server.transport, lock: webLock(locks),
    clock: () => server.time, sleep: async () => {}, random: () => 0.5, ...options,
  });
  return { client, storage, database };
}

test("a login in one tab is a login in the other one, with a key that no code can export", async () => {
  const [factory, server, locks] = [new FakeIndexedDb(), new FakeServer(), new FakeLocks()];
  const first = tab(factory, server, locks);
  await first.client.login(EMAIL, PASSWORD, NAME);
  const second = tab(factory, server, locks);
  assert.ok((await second.client.state()).signedIn);
  await second.client.me();
  const { key } = await first.storage.read();
  assert.equal(key.store, "webcrypto");
  const { pair } = factory.databases.get("baton.mobile").stores.get("keys").get(key.data);
  await assert.rejects(crypto.subtle.exportKey("pkcs8", pair.privateKey), /InvalidAccessError|not extractable/);
  assert.ok(factory.transactions.every((durability) => durability === "strict"));
});

test("three tabs, 51 callers, an expired token: one exchange", async () => {
  const [factory, server, locks] = [new FakeIndexedDb(), new FakeServer(), new FakeLocks()];
  const tabs = [0, 1, 2].map(() => tab(factory, server, locks));
  await tabs[0].client.login(EMAIL, PASSWORD, NAME);
  await expire(tabs[0].storage);
  await Promise.all(tabs.flatMap(({ client }) => Array.from({ length: 17 }, () => client.me())));
  assert.equal(server.sent("/oauth/token").length, 1);
});

test("without locks the tabs get the same child", async () => {
  const [factory, server] = [new FakeIndexedDb(), new FakeServer()];
  const tabs = [0, 1, 2].map(() => tab(factory, server, undefined));
  await tabs[0].client.login(EMAIL, PASSWORD, NAME);
  await expire(tabs[0].storage);
  await Promise.all(tabs.map(({ client }) => client.me()));
  assert.equal([...server.lineages.values()][0].generation, 1);
});

test("a frozen tab holds the lock: the others go on after the wait", async () => {
  const locks = new FakeLocks();
  void locks.request("l", { signal: new AbortController().signal }, () => new Promise(() => {}));
  assert.equal(await webLock(locks)("l", 0.02, async () => "went on"), "went on");
});

test("an error under the lock is passed on, and not run twice", async () => {
  let runs = 0;
  const work = webLock(new FakeLocks())("l", 1, async () => {
    runs++;
    throw new Error("inside");
  });
  assert.equal((await failure(work)).message, "inside");
  assert.equal(runs, 1);
});

test("the record: a guard that throws, a broken record, a lost connection", async () => {
  const factory = new FakeIndexedDb();
  const storage = new IndexedDbStorage(new Database("b", factory));
  assert.deepEqual(await storage.read(), EMPTY);
  await assert.rejects(storage.update(() => { throw new RangeError("in the change"); }), RangeError);
  await storage.update((now) => ({ ...now, ended: { reason: "logout", at: 1 } }));
  for (const connection of factory.opened) connection.close();
  assert.equal((await storage.read()).ended.reason, "logout", "opened again");
  factory.databases.get("b").stores.get("records").set("record", '{"v":9}');
  assert.equal((await failure(storage.update((now) => ({ ...now, ended: null })))).kind, "broken_storage");
  assert.equal(factory.databases.get("b").stores.get("records").get("record"), '{"v":9}', "it was not changed");
});

test("100 updates of two tabs: none is lost", async () => {
  const factory = new FakeIndexedDb();
  const tabs = [0, 1].map(() => new IndexedDbStorage(new Database("b", factory)));
  const add = (now) => ({ ...now, ended: { reason: null, at: (now.ended?.at ?? 0) + 1 } });
  await Promise.all(tabs.flatMap((storage) => Array.from({ length: 50 }, () => storage.update(add))));
  assert.equal((await tabs[0].read()).ended.at, 100);
});

test("keys: a deleted one is lost, an old unnamed one is swept, a window that cannot store one keeps it in memory", async () => {
  const factory = new FakeIndexedDb();
  const database = new Database("b", factory);
  const keys = new WebCryptoKeys(database);
  const first = await keys.create();
  const stored = factory.databases.get("b").stores.get("keys");
  assert.deepEqual((await keys.open(first)).jwk, first.signer.jwk);
  stored.get(first.data).since -= 3601e3;
  await new IndexedDbStorage(database).update((now) => ({ ...now, key: { store: "webcrypto", data: first.data, jwk: first.signer.jwk } }));
  const second = await keys.create();
  assert.ok(stored.has(first.data), "a key that the record names is kept");
  await new IndexedDbStorage(database).update((now) => ({ ...now, key: null }));
  await keys.create();
  assert.ok(!stored.has(first.data) && stored.has(second.data));
  await keys.remove(second);
  assert.equal(await keys.open(second), null);
  const put = database.run.bind(database);
  database.run = (stores, mode, work) => (mode === "readwrite" ? Promise.reject(new DOMException("", "DataCloneError")) : put(stores, mode, work));
  const kept = await keys.create();
  assert.equal(kept.store, "memory");
  assert.deepEqual((await keys.open(kept)).jwk, kept.signer.jwk);
  assert.equal(await new WebCryptoKeys(database).open(kept), null, "it ends with the tab");
});

test("another tab hears of a logout", async () => {
  const [factory, server, locks] = [new FakeIndexedDb(), new FakeServer(), new FakeLocks()];
  const first = tab(factory, server, locks, { channel: broadcast("baton.test") });
  const second = tab(factory, server, locks, { channel: broadcast("baton.test") });
  await first.client.login(EMAIL, PASSWORD, NAME);
  const told = new Promise((resolve) => second.client.onState((state) => state.signedIn || resolve(state)));
  const alive = setTimeout(() => {}, 5000); // The channel alone does not keep Node running.
  await first.client.logout();
  assert.equal((await told).reason, "logout");
  clearTimeout(alive);
});

test("browserBaton takes what the page has", async () => {
  globalThis.indexedDB = new FakeIndexedDb();
  const server = new FakeServer();
  const client = browserBaton({ baseUrl: BASE, clientId: "mobile", transport: server.transport, clock: () => server.time });
  await client.login(EMAIL, PASSWORD, NAME);
  assert.ok((await client.me()).device_id);
  delete globalThis.indexedDB;
});
