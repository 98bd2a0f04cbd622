// Play a story: one step at a time, or all. A failed expectation stops it.
import { say, store } from "../parts/ui.js";
import { compared } from "./expect.js";
import { Stage } from "./stage.js";
import { story as find } from "./stories.js";

const PAUSE_MS = 900;
const none = { story: null, done: [], busy: false, failed: null, stage: null, playing: false };

/** `done` has the rows of each finished step. `failed` is null, `expectation`, or the text of an error. */
export const play = store(none);

export function begin(name) {
  play.get().stage?.clear();
  play.set({ ...none, story: name, stage: new Stage(name) });
}

const change = (members) => play.set((before) => ({ ...before, ...members }));

export async function next() {
  const { story: name, done, busy, failed, stage } = play.get();
  const steps = find(name).steps;
  if (busy || failed || done.length >= steps.length) return;
  const step = steps[done.length];
  change({ busy: true });
  try {
    const rows = compared(step.expect, await stage.carryOut(step.do));
    if (play.get().stage !== stage) return; // Another story began meanwhile.
    const ok = rows.every((row) => row.ok);
    change({ done: [...done, rows], busy: false, failed: ok ? null : "expectation", playing: play.get().playing && ok });
    say(`Step ${done.length + 1} of ${steps.length}: ${ok ? "as expected" : "not as expected, the story stops"}.`);
  } catch (error) {
    if (play.get().stage !== stage) return;
    change({ busy: false, playing: false, failed: `${error.title ?? ""} ${error.message} ${error.remedy ?? ""}`.trim() });
    say("The story stops.");
  }
}

export async function playAll() {
  const { stage } = play.get();
  change({ playing: true });
  for (;;) {
    await next();
    const now = play.get();
    if (now.stage !== stage || !now.playing) return;
    if (now.failed || now.done.length >= find(now.story).steps.length) return change({ playing: false });
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

export const stop = () => change({ playing: false });
