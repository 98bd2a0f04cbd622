// Storages of Node and of React Native, and the transport.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { FileStorage, NoAnswer, fetchTransport, nodeBaton } from "../src/node.js";
import { SecureKeys, SecureStorage, expoItems, reactNativeBaton } from "../src/react-native.js";
import { EMPTY } from "../src/rules/record.js";
import { expire, failure, NAME } from "./device.js";
import { BASE, EMAIL, FakeServer, PASSWORD } from "./fake-server.js";

const WRITER = fileURLToPath(new URL("storage-writer.js", import.meta.url));
const add = (now) => ({ ...now, ended: { reason: null, at: (now.ended?.at ?? 0) + 1 } });

function folderOf(t) {
  const folder = mkdtempSync(join(tmpdir(), "baton-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, "record");
}

test("files: one record, of its owner alone", async (t) => {
  const folder = folderOf(t);
  const storage = new FileStorage(folder);
  assert.deepEqual(await storage.read(), EMPTY);
  for (let time = 0; time < 3; time++) await storage.update(add);
  assert.deepEqual(readdirSync(folder).sort(), ["record.000000000003", "started"]);
  assert.equal(statSync(join(folder, "record.000000000003")).mode & 0o777, 0o600);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
});

test("files: four processes, 100 updates each, while others are killed: none is lost", async (t) => {
  const folder = folderOf(t);
  const killed = Array.from({ length: 4 }, () => spawn(process.execPath, [WRITER, folder + "-2", "1000"]));
  const writers = Array.from({ length: 4 }, () => spawn(process.execPath, [WRITER, folder, "100"], { stdio: "inherit" }));
  const codes = await Promise.all(writers.map(async (writer) => (await once(writer, "exit"))[0]));
  assert.deepEqual(codes, [0, 0, 0, 0]);
  assert.equal((await new FileStorage(folder).read()).revocations.length, 400);
  for (const writer of killed) writer.kill("SIGKILL");
  const survivor = new FileStorage(folder + "-2");
  const before = (await survivor.read()).revocations.length;
  assert.ok(before > 0);
  assert.equal((await survivor.update(add)).revocations.length, before, "a killed writer leaves a whole record, and no lock");
});

test("files: what a killed process left is removed after a minute", async (t) => {
  const folder = folderOf(t);
  const storage = new FileStorage(folder);
  await storage.update(add);
  writeFileSync(join(folder, "new.old"), "");
  writeFileSync(join(folder, "new.fresh"), "");
  utimesSync(join(folder, "new.old"), 1, 1);
  await storage.update(add);
  assert.deepEqual(readdirSync(folder).sort(), ["new.fresh", "record.000000000002", "started"]);
});

test("files: a record that disappeared is broken, not empty; a broken one is not changed", async (t) => {
  const folder = folderOf(t);
  const storage = new FileStorage(folder);
  await storage.update(add);
  writeFileSync(join(folder, "record.000000000002"), "{");
  assert.equal((await failure(storage.update(add))).kind, "broken_storage");
  rmSync(join(folder, "record.000000000002"));
  rmSync(join(folder, "record.000000000001"));
  assert.equal((await failure(storage.read())).kind, "broken_storage");
});

test("two processes of Node share a login", async (t) => {
  const server = new FakeServer();
  const options = { baseUrl: BASE, clientId: "mobile", folder: folderOf(t), transport: server.transport, clock: () => server.time };
  const [first, second] = [nodeBaton(options), nodeBaton(options)];
  await first.login(EMAIL, PASSWORD, NAME);
  await expire(new FileStorage(options.folder));
  await Promise.all([first.me(), second.me()]);
  assert.equal([...server.lineages.values()][0].generation, 1);
});

test("React Native: record and key in two items, over a fake of expo-secure-store", async () => {
  const items = new Map();
  const accessible = [];
  const store = {
    AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: 7,
    getItemAsync: async (name, options) => (accessible.push(options.keychainAccessible), items.get(name) ?? null),
    setItemAsync: async (name, value, options) => void (accessible.push(options.keychainAccessible), items.set(name, value)),
    deleteItemAsync: async (name) => void items.delete(name),
  };
  const server = new FakeServer();
  const options = { baseUrl: BASE, clientId: "mobile", items: expoItems(store), transport: server.transport, clock: () => server.time };
  const client = reactNativeBaton(options);
  await client.login(EMAIL, PASSWORD, NAME);
  await Promise.all([client.me(), client.me()]);
  assert.deepEqual([...items.keys()].map((name) => name.replace(/key\..*/, "key")).sort(), ["baton.mobile", "baton.mobile.key"]);
  assert.ok(!items.get("baton.mobile").includes(items.get([...items.keys()].find((name) => name.includes("key")))));
  assert.ok([...items.values()].every((value) => value.length < 2048));
  assert.deepEqual(new Set(accessible), new Set([7]));
  items.delete([...items.keys()].find((name) => name.includes("key")));
  assert.equal((await failure(reactNativeBaton(options).me())).reason, "key_lost");
  assert.throws(() => reactNativeBaton({ ...options, binding: "hmac" }), TypeError);
  const storage = new SecureStorage(expoItems(store), "counter");
  await Promise.all(Array.from({ length: 50 }, () => storage.update(add)));
  assert.equal((await storage.read()).ended.at, 50);
  const keys = new SecureKeys(expoItems(store), "k");
  const key = await keys.create();
  await keys.remove(key);
  assert.equal(await keys.open(key), null);
});

async function serving(t, handler) {
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}`;
}

const send = (url, timeout = 5, signal = undefined) =>
  fetchTransport()({ method: "GET", url, headers: { accept: "application/json" }, body: null }, { timeout, signal });

test("the transport: headers, bytes, no redirect, no cookies", async (t) => {
  const arrived = [];
  const url = await serving(t, (request, response) => {
    arrived.push(request.url);
    if (request.url === "/away") return response.writeHead(307, { location: "/arrived" }).end();
    response.setHeader("Set-Cookie", "a=b");
    response.end("é");
  });
  const { status, headers, bytes } = await send(`${url}/`);
  assert.deepEqual([status, headers.get("content-length"), [...bytes]], [200, "2", [0xc3, 0xa9]]);
  assert.equal((await send(`${url}/away`)).status, 307);
  assert.deepEqual(arrived, ["/", "/away"]);
});

test("the transport: what is certainly not sent, a body that drips, one that is too long, one that is cut", async (t) => {
  const url = await serving(t, (request, response) => {
    if (request.url === "/huge") return response.end(Buffer.alloc((1 << 20) + 1));
    if (request.url === "/most") return response.end(Buffer.alloc(1 << 20));
    response.writeHead(200, { "content-length": "10" });
    if (request.url === "/cut") return response.write("half", () => response.destroy());
    const drip = setInterval(() => response.write("x"), 50);
    response.on("close", () => clearInterval(drip));
  });
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address();
  await once(closed.close(), "close");
  assert.equal((await failure(send(`http://127.0.0.1:${port}/`))).sent, false);
  assert.equal((await failure(send("http://no-such-host.invalid/"))).sent, false);
  assert.match((await failure(send(`${url}/huge`))).message, /too long/);
  assert.equal((await send(`${url}/most`)).bytes.length, 1 << 20);
  const cut = await failure(send(`${url}/cut`));
  assert.deepEqual([cut instanceof NoAnswer, cut.sent], [true, true]);
  assert.match((await failure(send(`${url}/drip`, 0.2))).message, /in time/);
  const control = new AbortController();
  setTimeout(() => control.abort(), 50);
  assert.equal((await failure(send(`${url}/drip`, 5, control.signal))).name, "AbortError");
});

test("the transport without streams, as in React Native: the limit is checked after reading", async () => {
  const answer = (length) => async () => ({ status: 200, url: "u", headers: new Headers(), body: null, arrayBuffer: async () => new ArrayBuffer(length) });
  const request = { method: "GET", url: "u", headers: {}, body: null };
  assert.equal((await fetchTransport(answer(5))(request, { timeout: 1, signal: undefined })).bytes.length, 5);
  assert.match((await failure(fetchTransport(answer((1 << 20) + 1))(request, { timeout: 1, signal: undefined }))).message, /too long/);
});
