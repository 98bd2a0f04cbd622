// The lineage picture as values: chain to boxes, without a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { asList, lineageSentence, mainLine } from "../../../tools/console/rules/chain.js";
import { layout } from "../../../tools/console/rules/layout.js";

const spent = (g, again = [], phone = "phone 1") => ({ g, at: 1800000000 + g * 900, attempt: `a${g}b2c3d4`, phone, request_id: `request-${g}`, again });
const current = (g) => ({ g, at: null, attempt: null, phone: null, request_id: null, again: [] });
const second = (outcome, phone = "phone 2") => ({ at: 1800009999, phone, attempt: "c3d4e5f6", request_id: "request-again", outcome });
const lineage = (generations, members = {}) => ({
  lineage: "UbN3", client: "mobile", device: "Ada's phone", bound: "key", ended: null, current: generations.at(-1).g, generations, ...members,
});
const WIDE = 1000;
const kinds = ({ boxes }) => boxes.map(({ kind }) => kind);

test("a new login has one current box", () => {
  const picture = layout(lineage([current(0)]), WIDE);
  assert.deepEqual(kinds(picture), ["login", "current"]);
  assert.equal(picture.boxes[1].sentence, "Generation 0, the token of the login: current. Only this token can be exchanged now.");
  assert.equal(picture.edges.length, 1);
});

test("spent generations lead to the current one, with the attempt on the edge", () => {
  const picture = layout(lineage([spent(0), spent(1), current(2)]), WIDE);
  assert.deepEqual(kinds(picture), ["login", "spent", "spent", "current"]);
  assert.deepEqual(picture.edges.map(({ label }) => label), ["", "a0b2…", "a1b2…"]);
  assert.equal(picture.boxes[2].request, "request-1");
  assert.match(picture.boxes[2].sentence, /^Generation 1: spent\. Exchanged at .* by phone 1, attempt a1b2c3d4\. Generation 2 took its place\.$/);
});

test("a theft is a fork with a cross, a word and both phones", () => {
  const stolen = lineage([spent(0), spent(1, [second("reuse")]), current(2)], { ended: { at: 1800009999, reason: "reuse" } });
  const picture = layout(stolen, WIDE);
  assert.deepEqual(kinds(picture), ["login", "spent", "spent", "theft", "ended", "end"]);
  const fork = picture.boxes.find(({ kind }) => kind === "theft");
  assert.equal(fork.title, "1 again, phone 2");
  assert.match(fork.sentence, /attempt c3d4e5f6: reuse: login ended/);
  assert.equal(picture.edges.find(({ kind }) => kind === "theft").key, "g1>g1-again-0");
  assert.match(picture.sentence, /first by phone 1 with a1b2c3d4, then by phone 2 with c3d4e5f6\. It ended at .*: two parties used one token\.$/);
});

test("a repetition with the same attempt is a mark on the edge, and no fork", () => {
  const picture = layout(lineage([spent(0, [second("same_child", "phone 1"), second("same_child", "phone 1")]), current(1)]), WIDE);
  assert.deepEqual(kinds(picture), ["login", "spent", "current", "again"]);
  assert.equal(picture.boxes.at(-1).title, "↻2");
});

test("generations before the stored window, and long runs of spent ones, are gaps", () => {
  const generations = Array.from({ length: 30 }, (_, index) => spent(12 + index, index === 10 ? [second("superseded")] : []));
  const parts = mainLine(lineage([...generations, current(42)]));
  assert.deepEqual(parts.filter(({ kind }) => kind === "gap").map(({ from, to }) => [from, to]), [[0, 11], [14, 21], [23, 36]]);
  assert.ok(parts.some(({ g }) => g === 22), "the generation with a second presentation is shown");
});

for (const width of [300, 328, 420, 700, 1000]) {
  test(`nothing overlaps and nothing is cut at ${width} pixels`, () => {
    const generations = Array.from({ length: 9 }, (_, g) => spent(g, g === 2 || g === 7 ? [second("reuse"), second("wrong_key"), second("same_child")] : []));
    const picture = layout(lineage([...generations, current(9)], { ended: { at: 1, reason: "reuse" } }), width);
    const solid = picture.boxes.filter(({ kind }) => kind !== "again");
    for (const box of solid) {
      assert.ok(box.x >= 0 && box.x + box.w <= picture.width, `${box.key} is cut`);
      assert.ok(box.y >= 0 && box.y + box.h <= picture.height, `${box.key} is cut below`);
    }
    for (const [index, a] of solid.entries()) {
      for (const b of solid.slice(index + 1)) {
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
        assert.ok(apart, `${a.key} overlaps ${b.key}`);
      }
    }
    assert.equal(picture.width, width);
  });
}

test("every box has a sentence, and the list says the same", () => {
  const stolen = lineage([spent(0), spent(1, [second("reuse")]), current(2)], { ended: { at: 1, reason: "reuse" } });
  const said = new Set(asList(stolen).map(({ text }) => text));
  for (const { sentence } of layout(stolen, WIDE).boxes) assert.ok(said.has(sentence), sentence);
});

test("markup in a device name stays text", () => {
  assert.match(lineageSentence(lineage([current(0)], { device: "<img src=x onerror=alert(1)>" })), /<img src=x onerror=alert\(1\)>/);
});
