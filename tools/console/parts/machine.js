// The clock and the faults of the development server.
import { dev } from "./server.js";
import { say, store } from "./ui.js";
import { span } from "../rules/words.js";

/** Seconds that the clock of the server is ahead of the true time. */
export const clock = store(0);
export const skipped = () => clock.get();
/** The time of the server, in seconds. */
export const serverNow = () => Date.now() / 1000 + clock.get();

/** What the console shows: a development server, or a stage for its operators. */
export const mode = store({ mode: "local", stage: null, operator: null });
export const readMode = () => dev("mode").then(mode.set);

export const faults = store({ faults: [], known: [] });

const took = ({ skipped: ahead }) => clock.set(Math.round(ahead));

/** Run `work`, and show `done` or the error on the status line. Return the result, or undefined after an error. */
export async function tried(work, done) {
  try {
    const value = await work();
    if (done) say(done);
    return value;
  } catch (error) {
    say(`${error.title ?? "This did not work."} ${error.message} ${error.remedy ?? ""}`.trim());
    return undefined;
  }
}

export const readClock = () => dev("clock").then(took, () => {});
export const readFaults = () => dev("faults").then(faults.set, () => {});

export const skip = (seconds) =>
  tried(async () => {
    took(await dev("clock", { method: "POST", json: { skip: seconds } }));
    say(`The clock is ${span(clock.get())} from the true time.`);
  });

export const addFault = (fault) =>
  tried(async () => {
    const { id } = await dev("faults", { method: "POST", json: fault });
    await readFaults();
    return id;
  });

export const dropFault = (id) =>
  tried(async () => {
    await dev(`faults/${encodeURIComponent(id)}`, { method: "DELETE" });
    await readFaults();
  }, "The fault is removed.");

/** Read again what an event of the stream has changed. */
export function follow(event) {
  if (event.kind === "clock") clock.set(Math.round(event.skipped));
  if (event.kind === "fault") void readFaults();
  if (event.kind === "reset") {
    void readClock();
    void readFaults();
  }
}
