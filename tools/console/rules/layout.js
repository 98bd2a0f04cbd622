// The lineage picture: place the generations of a lineage as boxes and edges. Pure functions.
import { againSentence, gapSentence, generationSentence, lineageSentence, mainLine, stateOf } from "./chain.js";
import { clockTime, outcome, reason, short } from "./words.js";

export const BOX = { w: 108, h: 54 };
const FORK = { w: 204, h: 62 };
const TOP = 20;
const LANE = 18; // Above a fork.
const ROW = 34; // Between two rows.

/** The measures of a width. `gap` is between two boxes: an edge, with the attempt above it. */
export function measures(width) {
  const [margin, gap] = width < 400 ? [14, 40] : [18, 60];
  const pitch = BOX.w + gap;
  const perRow = Math.max(1, Math.floor((width - 2 * margin + gap) / pitch));
  return { margin, pitch, perRow, right: margin + perRow * pitch - gap };
}

/**
 * Place a lineage in a width. Return boxes, edges and the size. A box has a sentence, which is its label.
 * @returns {{ width: number, height: number, boxes: object[], edges: object[], sentence: string }}
 */
export function layout(lineage, width) {
  const parts = mainLine(lineage);
  if (lineage.ended) parts.push({ kind: "end" });
  const { margin, pitch, perRow, right } = measures(width);
  const boxes = [];
  const edges = [];
  let y = TOP;
  let before = null;
  for (let start = 0; start < parts.length; start += perRow) {
    const row = parts.slice(start, start + perRow);
    let lanes = 0;
    row.forEach((part, column) => {
      const box = { ...BOX, x: margin + column * pitch, y, ...facts(part, lineage) };
      boxes.push(box);
      if (before) edges.push(edge(before, box, part));
      const forks = (part.again ?? []).filter((one) => one.outcome !== "same_child");
      before = { ...box, part };
      for (const [index, one] of forks.entries()) {
        const fork = forkBox(box, one, part, index, y + BOX.h + LANE + lanes * (FORK.h + LANE), margin, right);
        boxes.push(fork);
        edges.push(forkEdge(box, fork));
        lanes += 1;
      }
    });
    y += BOX.h + lanes * (FORK.h + LANE) + ROW;
  }
  marks(boxes, edges, parts);
  return { width, height: y - ROW + TOP, boxes, edges, sentence: lineageSentence(lineage) };
}

function facts(part, lineage) {
  if (part.kind === "login") return { key: "login", kind: "login", title: "login", word: lineage.client, sentence: `The login of ${lineage.device || "a device"} through ${lineage.client}.`, request: null };
  if (part.kind === "gap") return { key: `gap-${part.from}`, kind: "gap", title: "…", word: `${part.from} to ${part.to}`, sentence: gapSentence(part), request: null };
  if (part.kind === "end") {
    const { at, reason: why } = lineage.ended;
    return { key: "end", kind: "end", title: "ended", word: String(why).replaceAll("_", " "), sentence: `The login ended at ${clockTime(at)}: ${reason(why)}.`, request: null };
  }
  const state = stateOf(part, lineage);
  return { key: `g${part.g}`, kind: state, title: String(part.g), word: state, sentence: generationSentence(part, lineage), request: part.request_id };
}

/** The edge between two neighbours. At the end of a row it goes down to the next one. */
function edge(from, to, part) {
  const label = from.part.kind === "generation" && from.part.attempt && part.kind !== "end" ? short(from.part.attempt, 4) : "";
  const key = `${from.key}>${to.key}`;
  const kind = part.kind === "end" ? "ended" : "line";
  const middle = { x1: from.x + from.w, y1: from.y + from.h / 2, x2: to.x, y2: to.y + to.h / 2 };
  if (from.y === to.y) return { key, kind, label, level: true, lx: (middle.x1 + middle.x2) / 2, ly: middle.y1 - 14, d: `M ${middle.x1} ${middle.y1} H ${middle.x2 - 2}` };
  const turn = to.y - ROW / 2;
  const d = `M ${middle.x1} ${middle.y1} H ${middle.x1 + 10} V ${turn} H ${to.x - 12} V ${middle.y2} H ${to.x - 2}`;
  return { key, kind, label, level: false, lx: to.x + to.w / 2, ly: turn - 5, d };
}

function forkBox(box, one, part, index, y, margin, right) {
  const said = outcome(one.outcome);
  const x = Math.max(margin, Math.min(box.x + 26, right - FORK.w));
  return {
    ...FORK, x, y, key: `g${part.g}-again-${index}`, kind: one.outcome === "reuse" ? "theft" : "refused", request: one.request_id,
    title: `${part.g} again${one.phone ? `, ${one.phone}` : ""}`,
    word: said.word, detail: `attempt ${short(one.attempt, 8)} ${clockTime(one.at)}`,
    sentence: againSentence(part.g, one),
  };
}

/** From the bottom of the box, beside earlier forks, to the left side of the fork or to its top. */
function forkEdge(box, fork) {
  const x = Math.min(box.x + 14, fork.x + fork.w - 14);
  const middle = fork.y + fork.h / 2;
  const d = fork.x > x + 4 ? `M ${x} ${box.y + box.h} V ${middle} H ${fork.x - 2}` : `M ${x} ${box.y + box.h} V ${fork.y - 2}`;
  return { key: `${box.key}>${fork.key}`, kind: fork.kind === "theft" ? "theft" : "fork", label: "", d };
}

/** A round mark on an edge for each repetition that got the same child. */
function marks(boxes, edges, parts) {
  for (const part of parts) {
    const same = (part.again ?? []).map((one, index) => ({ one, index })).filter(({ one }) => one.outcome === "same_child");
    if (!same.length) continue;
    const leaving = edges.find((edge) => edge.key.startsWith(`g${part.g}>`) && edge.kind === "line");
    if (!leaving) continue;
    const { one, index } = same[same.length - 1];
    const at = { x: leaving.lx - 11, y: leaving.level ? leaving.ly + 3 : leaving.ly - 6 }; // On the line.
    if (!leaving.level) leaving.label = "";
    boxes.push({
      key: `g${part.g}-same-${index}`, kind: "again", x: at.x, y: at.y, w: 22, h: 22, title: same.length > 1 ? `↻${same.length}` : "↻",
      word: "", sentence: againSentence(part.g, one), request: one.request_id,
    });
  }
}
