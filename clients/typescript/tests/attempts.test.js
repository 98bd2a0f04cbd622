// The table of rules: each vector on the table alone, then on a real client. Each row, deleted, makes a vector fail.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ROWS, next } from "../src/rules/next.js";
import { play } from "./script.js";
import { vectors } from "./vectors.js";

const all = vectors("attempts");
const failures = (rows) => all.filter(({ situation, step }) => next(situation, rows) !== step).map(({ name }) => name);

test(`the table decides all ${all.length} situations`, () => {
  assert.deepEqual(failures(ROWS), []);
});

for (const [at, [name]] of ROWS.entries())
  test(`without the row "${name}" a vector fails`, () => {
    assert.notDeepEqual(failures(ROWS.filter((_, other) => other !== at)), []);
  });

test("without the deadline (row 14) a vector fails", () => {
  const endless = all.filter(({ situation, step }) => next({ ...situation, left: Infinity }) !== step);
  assert.ok(endless.length > 100);
});

/** What a client that takes a step does, seen from outside. */
const SEEN = {
  done: ({ events, result }, { run }) => {
    if (run.verb === "exchange") assert.deepEqual([events[0].path, events[0].token], ["/things", "Bearer t2"]);
    else assert.ok(run.verb === "call" ? result.value.status === 200 : result.value.done);
  },
  pause: ({ events, last }, { situation }) => {
    assert.equal(events[0].slept, situation.pause);
    sameAgain(events[1], last);
  },
  sync: ({ events, last }) => sameAgain(events[0], last),
  answer_lost: ({ events, result }) => ended(events, result, "answer_lost"),
  offline: ({ events, result }) => ended(events, result, "offline"),
  refused: ({ events, result }, { situation }) => {
    ended(events, result, "refused");
    assert.equal(result.error.code, situation.code);
  },
  exchange: ({ events }) => assert.equal(events[0].path, "/oauth/token"),
  step_up: ({ events }) => assert.equal(events[0].path, "/step-up"),
  return_step: ({ result, record }) => {
    assert.equal(result.value.done, false);
    assert.equal(record.pending.auth_session, "as.new");
  },
  return_session: ({ events, result }) => assert.deepEqual([events, result.value.deviceId], [[], "other"]),
  new_attempt: ({ events, last }) => {
    assert.equal(events[0].path, last.path);
    assert.notEqual(events[0].attempt, last.attempt);
  },
  read_storage: ({ events }) => {
    assert.equal(events[0].path, "/things");
    assert.match(events[0].token, /^Bearer newer-/);
  },
  ask_again: ({ events, last }) => {
    assert.ok(events[0].slept >= 1);
    sameAgain(events[1], last);
  },
  rule_8: ({ events, record }) => {
    assert.equal(events[0].path, "/oauth/revoke");
    assert.deepEqual([record.session, record.key, record.revocations.length, record.ended.reason], [null, null, 1, "reuse"]);
  },
  logged_out: ({ events, result, record }) => {
    ended(events, result, "logged_out");
    assert.equal(record.session, null);
    assert.equal(record.ended.reason, result.error.reason);
  },
};

function ended(events, result, kind) {
  assert.deepEqual(events, []);
  assert.equal(result?.error?.kind, kind);
}

function sameAgain(sent, last) {
  assert.deepEqual([sent.path, sent.attempt, sent.token], [last.path, last.attempt, last.token]);
  assert.notEqual(sent.signature, last.signature, "signed again, with another nonce");
}

for (const vector of all.filter(({ run }) => run))
  test(vector.name, async () => {
    const played = await play(vector.run);
    assert.equal(played.left, 0, "every answer was asked for");
    SEEN[vector.step](played, vector);
    if (!["logged_out", "rule_8"].includes(vector.step) && ["call", "exchange"].includes(vector.run.verb))
      assert.ok(played.record.session, "the session is kept");
  });
