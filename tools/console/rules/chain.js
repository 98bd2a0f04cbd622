// A lineage as data: which generations are shown, and a sentence for each. Pure functions.
import { clockTime, outcome, reason, short } from "./words.js";

const FIRST = 2;
const LAST = 6;

const by = (phone) => (phone ? `by ${phone}` : "by a device without a name");
const attemptOf = (attempt) => (attempt ? `, attempt ${short(attempt)}` : "");

/**
 * The parts of the main line, in order: the login, generations, and gaps that stand for several generations.
 * A generation with a second presentation is always shown.
 */
export function mainLine({ generations, current }) {
  const parts = [{ kind: "login" }];
  const total = generations.length;
  const first = total ? generations[0].g : 0;
  // An entry has the exchange that replaced its generation. The current generation has none.
  if (first > 0) parts.push({ kind: "gap", from: 0, to: first - 1, stored: false });
  generations.forEach((generation, index) => {
    const keep = index < FIRST || index >= total - LAST || generation.again.length > 0 || generation.g === current;
    const before = parts[parts.length - 1];
    if (keep) parts.push({ kind: "generation", ...generation });
    else if (before.kind === "gap" && before.stored) before.to = generation.g;
    else parts.push({ kind: "gap", from: generation.g, to: generation.g, stored: true });
  });
  return parts;
}

/** The state of a generation in one word. */
export function stateOf(generation, { current, ended }) {
  if (generation.g !== current) return "spent";
  return ended ? "ended" : "current";
}

export function generationSentence(generation, lineage) {
  const { g, at, phone, attempt } = generation;
  const state = stateOf(generation, lineage);
  const start = `Generation ${g}${g === 0 ? ", the token of the login" : ""}: ${state}.`;
  if (state === "current") return `${start} Only this token can be exchanged now.`;
  if (state === "ended") return `${start} It was the newest token when the login ended.`;
  if (!at) return `${start} The server did not see its exchange.`;
  return `${start} Exchanged at ${clockTime(at)} ${by(phone)}${attemptOf(attempt)}. Generation ${g + 1} took its place.`;
}

export function againSentence(g, again) {
  const said = outcome(again.outcome);
  return `Generation ${g} again, presented at ${clockTime(again.at)} ${by(again.phone)}${attemptOf(again.attempt)}: ${said.word}. ${said.why}`;
}

export const gapSentence = ({ from, to, stored }) =>
  `Generations ${from} to ${to}: ${stored ? "all spent, without a second presentation." : "before the stored window."}`;

/** One sentence for the whole picture. */
export function lineageSentence(lineage) {
  const { current, ended, device, client, generations } = lineage;
  const who = device || "a device without a name";
  const forks = generations.flatMap(({ g, again }) => again.map((one) => ({ g, ...one })));
  const reused = forks.find((one) => one.outcome === "reuse");
  const repeated = forks.filter((one) => one.outcome === "same_child").length;
  const parts = [`The login of ${who} through ${client} is at generation ${current}.`];
  if (repeated) parts.push(`${repeated === 1 ? "One repetition" : `${repeated} repetitions`} got the same child.`);
  if (reused) {
    const first = generations.find(({ g }) => g === reused.g);
    const told = first.at ? `first ${by(first.phone)} with ${short(first.attempt)}, then` : "the second time";
    parts.push(`Generation ${reused.g} was presented with two attempts: ${told} ${by(reused.phone)} with ${short(reused.attempt)}.`);
  }
  parts.push(ended ? `It ended at ${clockTime(ended.at)}: ${reason(ended.reason)}.` : "It is live.");
  return parts.join(" ");
}

/** The same facts as a list of sentences, for people who do not see the picture. */
export function asList(lineage) {
  const lines = [];
  for (const part of mainLine(lineage)) {
    if (part.kind === "login") lines.push({ key: "login", text: `The login of ${lineage.device || "a device"} through ${lineage.client}.`, request: null });
    else if (part.kind === "gap") lines.push({ key: `gap-${part.from}`, text: gapSentence(part), request: null });
    else {
      lines.push({ key: `g${part.g}`, text: generationSentence(part, lineage), request: part.request_id });
      part.again.forEach((one, index) =>
        lines.push({ key: `g${part.g}-${index}`, text: againSentence(part.g, one), request: one.request_id, tone: outcome(one.outcome).tone }));
    }
  }
  if (lineage.ended) lines.push({ key: "end", text: `The login ended at ${clockTime(lineage.ended.at)}: ${reason(lineage.ended.reason)}.`, tone: "bad", request: null });
  return lines;
}
