import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Baton, MemoryStorage, SoftwareKeys } from "../src/index.js";
import { confirm, copyOf, device, expire, failure, loggedIn, NAME } from "./device.js";
import { EMAIL, FakeServer, PASSWORD } from "./fake-server.js";

const KEY = "0123456789abcdef";

test("50 callers with an expired token: one exchange, 50 answers", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  await expire(storage);
  const answers = await Promise.all(Array.from({ length: 50 }, () => client.me()));
  assert.equal(new Set(answers.map(({ device_id }) => device_id)).size, 1);
  assert.equal(answers.length, 50);
  assert.equal(server.sent("/oauth/token").length, 1);
});

test("the first of 50 callers cancels: the others are answered, by the same exchange", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  await expire(storage);
  const control = new AbortController();
  const first = failure(client.call("GET", "/me", { signal: control.signal }));
  const others = Array.from({ length: 49 }, () => client.me());
  control.abort();
  assert.equal((await first).name, "AbortError");
  await Promise.all(others);
  assert.equal(server.sent("/oauth/token").length, 1);
});

test("a caller with a short deadline is offline, and the exchange goes on for the others", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  await expire(storage);
  let release;
  server.faults.push(() => new Promise((resolve) => (release = resolve)));
  const long = client.me();
  while (!release) await new Promise((resolve) => setImmediate(resolve)); // Until the exchange is on its way.
  const short = await failure(client.call("GET", "/me", { deadline: 0.02 }));
  assert.equal(short.kind, "offline");
  release();
  assert.ok(await long);
  assert.equal(server.sent("/oauth/token").length, 1);
});

test("an exchange whose answer is lost three times gets the same child", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  await expire(storage);
  server.faults.push(server.loseAnswer, server.loseAnswer, server.loseAnswer);
  await client.me();
  const attempts = new Set(server.sent("/oauth/token").map(({ headers }) => headers["idempotency-key"]));
  assert.deepEqual([server.sent("/oauth/token").length, attempts.size, [...server.lineages.values()][0].generation], [4, 1, 1]);
});

test("rule 3: a late child does not replace the record of another process", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  const sibling = device(server, { storage });
  await expire(storage);
  server.faults.push(async (request) => {
    const answer = server.serve(request);
    await sibling.client.me(); // It gets the same child, stores it, and exchanges that too.
    await expire(storage);
    await sibling.client.me();
    return answer;
  });
  await client.me();
  assert.match((await storage.read()).session.access_token, /\.2$/);
});

test("rule 2: storage moved before the sending, so nothing is sent", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  await expire(storage);
  const sibling = device(server, { storage });
  await Promise.all([client.me(), sibling.client.me()]);
  assert.equal([...server.lineages.values()][0].ended, null);
  assert.equal([...server.lineages.values()][0].generation, 1);
});

test("rule 2: storage moved while this process paused: the old token is not sent again", async () => {
  const server = new FakeServer();
  const { storage } = await loggedIn(server);
  const sibling = device(server, { storage });
  const { client } = device(server, { storage, sleep: async () => void (await sibling.client.me()) });
  await expire(storage);
  server.faults.push(server.loseRequest);
  await client.me();
  assert.equal(server.sent("/oauth/token").length, 1, "the one of the sibling");
});

test("rule 8: a clone exchanges twice; the owner revokes, and the next login has a new key", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  const clone = device(server, { storage: await copyOf(storage) });
  for (let round = 0; round < 2; round++) {
    await expire(clone.storage);
    await clone.client.me();
  }
  const before = (await storage.read()).key;
  await expire(storage);
  const ended = await failure(client.me());
  assert.deepEqual([ended.kind, ended.reason, ended.confirmed], ["logged_out", "reuse", true]);
  assert.equal([...server.lineages.values()][0].ended, "reuse");
  assert.deepEqual((await storage.read()).revocations, []);
  assert.equal((await failure(clone.client.me())).reason, "reuse");
  await client.login(EMAIL, PASSWORD, NAME);
  assert.notEqual((await storage.read()).key.data, before.data);
});

test("rule 8 without a network: logged out, the revocation is kept, and a restart sends it", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  const clone = device(server, { storage: await copyOf(storage) });
  for (let round = 0; round < 2; round++) {
    await expire(clone.storage);
    await clone.client.me();
  }
  await expire(storage);
  const serve = server.serve.bind(server);
  server.faults.push(serve, serve, ...Array(40).fill(server.loseRequest));
  const ended = await failure(client.me());
  assert.deepEqual([ended.kind, ended.reason, ended.confirmed], ["logged_out", "reuse", false]);
  assert.equal((await storage.read()).revocations.length, 1);
  server.faults.length = 0;
  await device(server, { storage }).client.login(EMAIL, PASSWORD, NAME);
  assert.deepEqual((await storage.read()).revocations, []);
  assert.deepEqual([...server.lineages.values()].map(({ ended: reason }) => reason), ["reuse", null]);
});

test("logout without a network: signed out here, revoked later, and a login since is untouched", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  server.faults.push(...Array(40).fill(server.refuse));
  assert.deepEqual(await client.logout(), { confirmed: false });
  assert.equal((await client.state()).signedIn, false);
  assert.equal((await failure(client.me())).kind, "not_logged_in");
  server.faults.length = 0;
  const again = device(server, { storage });
  server.faults.push(...Array(40).fill(server.portal)); // A portal's page confirms nothing.
  await again.client.logout();
  assert.equal((await storage.read()).revocations.length, 1);
  server.faults.length = 0;
  const later = device(server, { storage });
  await later.client.login(EMAIL, PASSWORD, NAME);
  await later.client.me();
  assert.deepEqual((await storage.read()).revocations, []);
  assert.deepEqual([...server.lineages.values()].map(({ ended }) => ended), ["logout", null]);
});

test("logout without the key of the login is not confirmed: no request can revoke it", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  await storage.update((now) => ({ ...now, key: null }));
  assert.deepEqual(await client.logout(), { confirmed: false });
  assert.equal((await client.state()).signedIn, false);
  assert.deepEqual((await storage.read()).revocations, []);
  assert.equal([...server.lineages.values()][0].ended, null);
});

test("logout with a network is confirmed, and a second one too", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  assert.deepEqual(await client.logout(), { confirmed: true });
  assert.deepEqual(await client.logout(), { confirmed: true });
  assert.deepEqual(await client.state(), { signedIn: false, reason: "logout", at: server.time });
});

test("a login elsewhere with this record's key ends it: the reason survives a restart", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  const clone = device(server, { storage: await copyOf(storage) });
  await clone.client.login(EMAIL, PASSWORD, NAME);
  assert.equal((await failure(client.me())).reason, "replaced");
  assert.equal((await storage.read()).key, null, "another holder has this key");
  assert.equal((await device(server, { storage }).client.state()).reason, "replaced");
});

test("the key is lost: logged out, and the next login makes one", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  const other = await new SoftwareKeys().create();
  await storage.update((now) => ({ ...now, key: { ...now.key, data: other.data } }));
  assert.deepEqual(inKind(await failure(client.me())), ["logged_out", "key_lost"]);
  await client.login(EMAIL, PASSWORD, NAME);
  assert.ok(await client.me());
});

test("a key store in trouble ends nothing", async () => {
  const server = new FakeServer();
  const { storage } = await loggedIn(server);
  const keys = { create: () => Promise.reject(new Error("busy")), open: () => Promise.reject(new Error("locked")), remove: async () => {} };
  const { client, slept } = device(server, { storage, keys });
  assert.equal((await failure(client.me())).kind, "storage_unavailable");
  assert.deepEqual(slept, [0.2, 1]);
  assert.ok((await storage.read()).session);
});

test("a storage that is locked or full: nothing is sent twice, nothing ends", async () => {
  const server = new FakeServer();
  const { storage } = await loggedIn(server);
  await expire(storage);
  let trouble = "read";
  const broken = {
    read: async () => (trouble === "read" ? Promise.reject(new Error("locked")) : storage.read()),
    update: async (change) => (trouble === "update" ? Promise.reject(new Error("ENOSPC")) : storage.update(change)),
  };
  const { client } = device(server, { storage: broken });
  const count = server.log.length;
  assert.equal((await failure(client.me())).kind, "storage_unavailable");
  assert.equal(server.log.length, count);
  trouble = "update";
  assert.equal((await failure(client.me())).kind, "storage_unavailable"); // The child cannot be stored, so it is not used.
  trouble = "";
  await client.me();
  assert.equal([...server.lineages.values()][0].generation, 1, "the same child");
});

test("a wrong clock costs one more request", async () => {
  const server = new FakeServer();
  const { client } = device(server, { wrong: 86_400 });
  await client.login(EMAIL, PASSWORD, NAME);
  assert.equal(server.sent("/login").length, 2);
  assert.equal(Math.floor(client.now()), server.time);
  assert.equal(await client.syncClock(), -86_400);
});

test("a step-up asks the person once, and a spent grant is replaced", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  let asked = 0;
  const ask = async (demand) => (asked++, assert.deepEqual(demand.problem.factors, ["password"]), { password: PASSWORD });
  const serve = server.serve.bind(server);
  server.faults.push(serve, serve, server.loseAnswer); // The demand, the grant, and the lost answer.
  await client.call("POST", "/things", { json: { a: 1 }, confirm: ask, repeat: true });
  assert.deepEqual([asked, server.sent("/step-up").length, server.effects], [1, 2, 2]);
});

test("a grant that is too old asks the person again", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  let asked = 0;
  server.oldGrants = 1;
  await client.call("POST", "/things", { json: { a: 1 }, confirm: async () => (asked++, { password: PASSWORD }) });
  assert.deepEqual([asked, server.effects], [2, 1]);
});

test("a confirm that returns no proof is an error of the app, before a step-up is sent", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  for (const given of [undefined, null, "a password", {}, { password: "" }, []]) {
    const error = await failure(client.call("POST", "/things", { json: { a: 1 }, confirm: async () => given }));
    assert.ok(error instanceof TypeError, String(error));
    assert.match(error.message, /A proof is an object/);
    assert.ok((await failure(client.stepUp(given, "POST", "/things"))) instanceof TypeError);
  }
  assert.equal(server.sent("/step-up").length, 0);
});

test("without confirm the demand is returned", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  const refused = await failure(client.call("DELETE", "/me"));
  assert.deepEqual([refused.kind, refused.code, refused.action], ["refused", "step_up_required", "step_up"]);
  const grant = await client.stepUp({ password: PASSWORD }, "DELETE", "/me");
  assert.equal((await client.call("DELETE", "/me", { grant })).status, 204);
});

test("the own verbs", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  assert.equal((await client.devices()).length, 1);
  await client.changePassword("another lantern drifting sideways", confirm);
  assert.equal(await client.handover("web", "/orders"), "ho.code");
  assert.deepEqual(JSON.parse(server.log.at(-1).body), { client_id: "web", next: "/orders" });
  await client.endDevice("a b/c", confirm);
  assert.equal(server.log.at(-1).path, "/me/devices/a%20b%2Fc");
  await client.logoutEverywhere(confirm);
  assert.equal((await storage.read()).session, null);
  await client.login(EMAIL, PASSWORD, NAME);
  await client.deleteAccount(confirm);
  assert.deepEqual(await client.state(), { signedIn: false, reason: null, at: null });
});

test("a logout everywhere whose answer was lost returns as usual", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  await client.logoutEverywhere(() => {
    server.faults.push(() => null, server.loseAnswer); // the step-up is answered
    return { password: PASSWORD };
  });
  assert.equal(server.sent("/logout").length, 3);
  assert.equal((await client.state()).signedIn, false);
});

test("a logout everywhere of a login that ended before reports this end", async () => {
  for (const reason of ["password_changed", "ended_everywhere"]) {
    const server = new FakeServer();
    const { client } = await loggedIn(server);
    for (const one of server.lineages.values()) one.ended = reason;
    const over = await failure(client.logoutEverywhere(confirm));
    assert.deepEqual([over.kind, over.reason], ["logged_out", reason]);
  }
});

test("a logout everywhere reports another end of the login during the call", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  const ends = () => {
    for (const one of server.lineages.values()) one.ended = "password_changed";
    return null;
  };
  const over = await failure(client.logoutEverywhere(() => {
    server.faults.push(() => null, ends); // the step-up is answered
    return { password: PASSWORD };
  }));
  assert.deepEqual([over.kind, over.reason], ["logged_out", "password_changed"]);
});

test("a call with a key has one effect, whatever is lost; without a key its answer is lost", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  server.faults.push(server.loseAnswer, server.loseRequest, server.loseAnswer);
  const answer = await client.call("POST", "/transfers", { json: { amount: 7 }, idempotencyKey: KEY });
  assert.deepEqual([answer.status, answer.json(), server.effects], [201, { paid: true }, 1]);
  server.faults.push(server.loseAnswer);
  const lost = await failure(client.call("POST", "/transfers", { json: { amount: 7 } }));
  assert.equal(lost.kind, "answer_lost");
  assert.throws(() => new Baton({}), TypeError);
  assert.ok((await failure(client.call("POST", "/transfers", { idempotencyKey: "short" }))) instanceof TypeError);
  assert.match(Baton.newIdempotencyKey(), /^[\w-]{22}$/);
});

test("a login goes on with its attempt after a restart", async () => {
  const server = new FakeServer();
  const { client, storage } = device(server);
  server.faults.push(...Array(40).fill(server.loseAnswer));
  assert.equal((await failure(client.register("bob@example.com", PASSWORD, NAME))).kind, "offline");
  server.faults.length = 0;
  await device(server, { storage }).client.login(" Bob@Example.com", PASSWORD, NAME).catch(() => {});
  const attempts = server.log.filter(({ path }) => path === "/register" || path === "/login").map(({ headers }) => headers["idempotency-key"]);
  assert.equal(new Set(attempts).size, 1);
});

test("a second factor: a wrong code, a restart, the right code", async () => {
  const server = new FakeServer();
  const { client, storage } = device(server);
  server.accounts.get(EMAIL).factor = "123456";
  const login = await client.login(EMAIL, PASSWORD, NAME);
  assert.deepEqual([login.done, login.step.factors, login.step.expiresAt], [false, ["totp"], server.time + 600]);
  assert.equal((await failure(login.step.prove({ totp: "000000" }))).code, "invalid_factor");
  const restarted = await device(server, { storage }).client.pendingStep();
  assert.deepEqual([restarted.factors, restarted.expiresAt], [["totp"], server.time + 600]);
  assert.equal((await restarted.enrolment("totp")).enrolment, "en.1");
  const done = await restarted.prove({ totp: "123456" }, { enrolment: "en.1" });
  assert.deepEqual([done.done, done.recoveryCodes], [true, ["one", "two"]]);
  assert.equal(await client.pendingStep(), null);
  assert.match(server.sent("/login/factor").at(-1).body, /"remember_device":true/);
});

test("a void session of a factor: the login begins anew", async () => {
  const server = new FakeServer();
  const { client, storage } = device(server);
  server.accounts.get(EMAIL).factor = "123456";
  const { step } = await client.login(EMAIL, PASSWORD, NAME);
  server.accounts.get(EMAIL).factor = null;
  assert.equal((await failure(step.prove({ totp: "123456" }))).code, "invalid_session");
  assert.equal((await storage.read()).pending, null);
});

test("a passkey alone: options for the key, then a login with its attempt", async () => {
  const server = new FakeServer();
  const { client } = device(server);
  const login = await client.loginWithPasskey(async (options) => ({ challenge: options.challenge }), NAME);
  assert.ok(login.done);
  assert.ok(await client.me());
  const [{ body, headers }] = server.sent("/login/passkey");
  assert.deepEqual(Object.keys(JSON.parse(body)).sort(), ["client_id", "credential", "device"]);
  assert.match(headers["idempotency-key"], /^"[\w-]{22}"$/);
  assert.equal((await failure(client.loginWithPasskey(async () => ({ challenge: "old" }), NAME))).code, "challenge_invalid");
  assert.ok((await client.state()).signedIn);
});

test("row 12: evidence when the server requires it, once for each attempt", async () => {
  const server = new FakeServer();
  server.requiresEvidence = true;
  const asked = [];
  const evidence = async (challenge, key) => (asked.push(key.kty), { format: "android-key", challenge });
  const { client } = device(server, { evidence });
  assert.ok((await client.login(EMAIL, PASSWORD, NAME)).done);
  const [first, second] = server.sent("/login");
  assert.equal(first.headers["idempotency-key"], second.headers["idempotency-key"]);
  assert.deepEqual(JSON.parse(second.body).attestation, { format: "android-key", challenge: "at.1" });
  assert.deepEqual([server.sent("/login").length, server.sent("/attestation-challenge").length, asked], [2, 1, ["EC"]]);
  assert.ok((await client.loginWithPasskey(async (options) => ({ challenge: options.challenge }), NAME)).done);

  const tampered = device(server, { evidence: async () => ({ format: "android-key", challenge: "at.0" }) });
  server.log.length = 0;
  const error = await failure(tampered.client.login(EMAIL, PASSWORD, NAME));
  assert.deepEqual([error.code, server.sent("/login").length], ["attestation_failed", 2]);
  assert.equal((await failure(device(server).client.login(EMAIL, PASSWORD, NAME))).code, "attestation_required");
});

test("codes by mail: one key for the code and for what follows", async () => {
  const server = new FakeServer();
  const { client, storage } = device(server);
  const session = await client.forgotPassword(EMAIL);
  assert.equal(session, "ms.1");
  const { key } = await storage.read();
  assert.equal((await failure(client.resetPassword(session, "0000 0000", PASSWORD))).code, "invalid_code");
  await client.resetPassword(session, "1234 5678", PASSWORD);
  await client.register("bob@example.com", PASSWORD, { ...NAME, mail: { session: await client.startRegistration("bob@example.com"), code: "1" } });
  assert.match(server.sent("/register")[0].body, /"mail_session":"ms.1","code":"1"/);
  assert.deepEqual((await storage.read()).key, key);
});

test("HMAC: the first login is not signed, the second one is signed with the last secret", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server, { binding: "hmac" });
  await client.me();
  const { secret } = (await storage.read()).session;
  await client.logout();
  assert.equal((await storage.read()).last.secret, secret);
  await client.login(EMAIL, PASSWORD, NAME);
  const [first, second] = server.sent("/login");
  assert.deepEqual([first.headers.signature, typeof second.headers.signature], [undefined, "string"]);
});

test("without a binding nothing is signed", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server, { binding: "none" });
  await client.me();
  assert.ok(server.log.every(({ headers }) => headers.signature === undefined));
});

test("listeners are told after the record has changed, once for each state", async () => {
  const server = new FakeServer();
  const { client, storage } = device(server);
  const told = [];
  const stop = client.onState((state) => told.push([state.signedIn, state.reason]));
  await client.login(EMAIL, PASSWORD, NAME);
  await expire(storage);
  await client.me();
  await client.logout();
  stop();
  await client.login(EMAIL, PASSWORD, NAME);
  assert.deepEqual(told, [[true, undefined], [false, "logout"]]);
});

test("a portal answers every verb: nothing succeeds, nothing ends", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  const portal = device(server, { storage, transport: async (request) => server.portal(request) }).client;
  const safe = [() => portal.me(), () => portal.handover("web"), () => portal.devices(), () => portal.endDevice("x", confirm), () => portal.logoutEverywhere(confirm), () => portal.syncClock()];
  const once = [() => portal.changePassword("x", confirm), () => portal.deleteAccount(confirm), () => portal.call("POST", "/x")];
  for (const work of safe) assert.equal((await failure(work())).kind, "offline");
  for (const work of once) assert.equal((await failure(work())).kind, "answer_lost");
  await expire(storage);
  assert.equal((await failure(portal.me())).kind, "offline");
  assert.ok((await storage.read()).session);
  await client.me();
});

test("no secret is shown by the objects of the client", async () => {
  const server = new FakeServer();
  const { client, storage } = await loggedIn(server);
  server.accounts.get(EMAIL).factor = "123456";
  const { step } = await device(server).client.login(EMAIL, PASSWORD, NAME);
  const { session, key } = await storage.read();
  const error = await failure(client.call("DELETE", "/me"));
  const lost = await failure(device(server, { storage, transport: server.loseRequest }).client.call("POST", "/x", { json: { secret: PASSWORD } }));
  for (const shown of [client, step, error, lost])
    for (const text of [inspect(shown, { depth: 9, showHidden: true }), JSON.stringify(shown), String(shown)])
      for (const secret of [session.access_token, session.attempt, key.data, PASSWORD, "as.ada"])
        assert.ok(!String(text).includes(secret), `${text} has ${secret}`);
});

test("errors of the program are noticed before anything is sent", async () => {
  const server = new FakeServer();
  const { client } = await loggedIn(server);
  const count = server.log.length;
  for (const [method, path, o] of [["GET", "me"], ["GET", "/a/../me"], ["get", "/me"], ["POST", "/x", { json: {}, body: new Uint8Array(1) }]])
    assert.ok((await failure(client.call(method, path, o))) instanceof TypeError);
  assert.equal(server.log.length, count);
  const options = { clientId: "mobile", storage: new MemoryStorage(), keys: new SoftwareKeys() };
  assert.throws(() => new Baton({ ...options, baseUrl: "http://10.0.2.2:8000/api" }), /https/);
  assert.ok(new Baton({ ...options, baseUrl: "http://10.0.2.2:8000/api", plainHttp: true }));
  assert.throws(() => new Baton({ ...options, baseUrl: "https://api.example.com", crypto: {} }), /insecure_context/);
});

const inKind = ({ kind, reason }) => [kind, reason];
