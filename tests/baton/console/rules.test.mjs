// The rules of the pages on values: events, requests, mails, the API reference, stories.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { KEPT, isLost, merged, rows, route, units } from "../../../tools/console/rules/events.js";
import { beside, curl, told } from "../../../tools/console/rules/request.js";
import { parts } from "../../../tools/console/rules/mail.js";
import { bodyOf, example, filled, operations, target, written } from "../../../tools/console/rules/openapi.js";
import { left, span } from "../../../tools/console/rules/words.js";
import { compared } from "../../../tools/console/stories/expect.js";
import { STORIES } from "../../../tools/console/stories/stories.js";
import { highest, path, sentence, total } from "../../../tools/console/rules/metrics.js";

const request = (n, members = {}) => ({ n, kind: "request", method: "POST", path: "/api/oauth/token", status: 200, phone: "phone 1", units: {}, ...members });

test("events are merged once and in order, and the oldest are dropped", () => {
  assert.deepEqual(merged([request(1)], [request(3), request(2), request(2), request(1)]).map(({ n }) => n), [1, 2, 3]);
  const many = Array.from({ length: KEPT + 5 }, (_, index) => request(index + 1));
  assert.equal(merged([], many).length, KEPT);
  assert.equal(merged([], many)[0].n, 6);
  const same = [request(1)];
  assert.equal(merged(same, [request(1)]), same);
});

test("a filter leaves the rows that fit, the newest first", () => {
  const events = [request(1), request(2, { status: 400 }), { n: 3, kind: "clock" }, request(4, { status: null, phone: "phone 2" })];
  const none = { refusals: false, onlyRoute: "", phone: "" };
  const numbers = (filter) => rows(events, { ...none, ...filter }).map(({ n }) => n);
  assert.deepEqual(numbers({}), [4, 3, 2, 1]);
  assert.deepEqual(numbers({ refusals: true }), [4, 2]);
  assert.deepEqual(numbers({ phone: "phone 2" }), [4]);
  assert.deepEqual(numbers({ onlyRoute: "/me" }), []);
  assert.ok(isLost(events[3]));
  assert.equal(route("/api/me?x=1"), "/me");
  assert.equal(units({ read: 0.5, write: 2 }), "2w 0.5r");
});

test("two signature bases differ line by line; lines of secrets are not compared", () => {
  const server = '"@method": POST\n"@path": /api/a\n"authorization": digest';
  const phone = '"@method": POST\n"@path": /api/b\n"authorization": Bearer secret\n"content-digest": x';
  assert.deepEqual(beside(server, phone).filter(({ differs }) => differs).map(({ name }) => name), ['"@path"', '"content-digest"']);
  assert.deepEqual(beside(server, null).filter(({ differs }) => differs), []);
  assert.deepEqual(beside(server, '"@method": POST\n"@path": /api/a').filter(({ differs }) => differs).map(({ name }) => name), ['"authorization"']);
});

test("a curl command quotes what a shell would read", () => {
  const found = { method: "POST", path: "/api/x", request: { headers: [["Host", "h"], ["X-A", "it's $HOME"]], body: "{'a'}" } };
  assert.equal(curl(found, "http://localhost:1"), "curl -X POST 'http://localhost:1/api/x' \\\n  -H 'X-A: it'\\''s $HOME' \\\n  --data-raw '{'\\''a'\\''}'");
});

test("a summary says what an exchange did", () => {
  const exchange = (outcome) => told(request(1, { exchange: { generation: 3, attempt: "a1b2c3d4", outcome } })).join(" ");
  assert.match(exchange("exchanged"), /generation 3 became generation 4\. The attempt is a1b2c3d4/);
  assert.match(exchange("same_child"), /same attempt, same child/);
  assert.match(exchange("reuse"), /two parties have it/);
  assert.match(told(request(1, { status: null, fault: "answer_lost" }))[0], /had no answer: the fault answer_lost/);
});

test("codes and links of a mail are found, and nothing else becomes a link", () => {
  const found = parts("Your code is 1234 5678 or 123456.\nhttps://example.com/a?b=c and javascript:alert(1) <b>2026-11-29</b>");
  assert.deepEqual(found.filter(({ kind }) => kind !== "text").map(({ kind, text }) => [kind, text]), [["code", "1234 5678"], ["code", "123456"], ["link", "https://example.com/a?b=c"]]);
  assert.equal(found.map(({ text }) => text).join(""), "Your code is 1234 5678 or 123456.\nhttps://example.com/a?b=c and javascript:alert(1) <b>2026-11-29</b>");
});

test("every operation of the real openapi.json is drawn, with an example of its body", () => {
  const api = JSON.parse(readFileSync(new URL("../../../chalicelib/baton/http/openapi.json", import.meta.url), "utf-8"));
  const found = operations(api);
  assert.ok(found.length > 40);
  for (const operation of found) {
    const body = bodyOf(api, operation);
    if (body) assert.doesNotThrow(() => written(body.type, example(api, body.schema)), operation.id);
  }
  const login = found.find(({ id }) => id === "post /login");
  const made = filled(example(api, bodyOf(api, login).schema), { email: "a@example.com", password: "secret" });
  assert.equal(made.email, "a@example.com");
  assert.equal(made.client_id, "mobile");
  const transfer = found.find(({ id }) => id === "delete /me/devices/{device_id}");
  assert.deepEqual(target(transfer, [{ name: "device_id", in: "path" }], { device_id: "a/b" }), { path: "/me/devices/a%2Fb", query: {} });
});

test("times are told shortly", () => {
  assert.deepEqual([span(960), span(-60), span(31 * 86400 + 1)], ["+00:16:00", "-00:01:00", "+31 d 00:00:01"]);
  assert.deepEqual([left(30), left(840), left(7200), left(86400 * 31)], ["30 s", "14 min", "2 h", "31 d"]);
});

test("a story is data, and an expectation compares members", () => {
  for (const { name, steps } of STORIES) {
    for (const { say, do: done, expect } of steps) {
      assert.ok(say && done.length >= 2 && Object.keys(expect).length, name);
      assert.deepEqual(JSON.parse(JSON.stringify(done)), done);
    }
  }
  const [wrong, right] = compared({ result: "ok", repeated: ["reuse"] }, { result: "offline", repeated: ["reuse"] });
  assert.deepEqual([wrong.ok, wrong.found, right.ok], [false, "offline", true]);
});

test("a line of metrics has its scale, gaps and sentence", () => {
  const count = (...values) => values.map((value, index) => [index, value]);
  assert.equal(path(count(0, 2, 4)), "M0 72h0L160 38L320 4");
  assert.equal(path(count(0, 0)), "M0 72h0L320 72");
  assert.equal(path(count(null, 5, null, 5)), "M106.7 4h0M320 4h0");
  assert.equal(path([]), "");
  assert.deepEqual([total(count(1, null, 2.5)), highest(count(1, null, 2.5)), highest([])], [3.5, 2.5, 0]);
  const metric = { title: "Logins", unit: "count", points: count(1000, 2000) };
  assert.equal(sentence(metric, 168), "Logins in seven days: 3,000, at most 2,000 in one interval.");
  assert.equal(sentence({ ...metric, title: "Time", unit: "ms" }, 3), "Time in 3 hours: at most 2,000 ms.");
  assert.equal(sentence({ ...metric, title: "Time", unit: "ms", points: count(null) }, 24), "Time in 24 hours: no value.");
});
