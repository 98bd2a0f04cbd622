// The stream of events. A browser opens at most six connections to one origin, so one tab (the leader) opens the stream and
// sends the events to the other tabs.
import { store } from "./parts/ui.js";
import { dev } from "./parts/server.js";
import { merged } from "./rules/events.js";

const CHANNEL = "baton.console";
const LOCK = "baton.console.leader";
const AGAIN_MS = 1500;

/** All events that this tab has, the oldest first. */
export const events = store([]);
/** `connecting`, `live` or `lost`. */
export const connection = store("connecting");
/** Whether this tab is the leader. The Setup page shows it. */
export const leading = store(false);

const last = () => events.get().at(-1)?.n ?? 0;

/** Add events. A reset of the server empties the log. */
function take(incoming) {
  const reset = incoming.findLastIndex((event) => event.kind === "reset" && event.n > last());
  if (reset >= 0) events.set([]);
  events.set((before) => merged(before, reset >= 0 ? incoming.slice(reset) : incoming));
}

/** Begin. The tab that gets the lock opens the stream; when it closes, the next tab gets the lock and resumes. */
export function start() {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    if (data.want !== undefined && leading.get()) {
      channel.postMessage({ events: events.get().filter((event) => event.n > data.want), state: connection.get(), whole: true });
    } else if (data.restarted && !leading.get()) {
      events.set([]);
    } else if (data.events && !leading.get()) {
      const gap = data.events.length > 0 && data.events[0].n > last() + 1;
      if (gap && !data.whole) channel.postMessage({ want: last() }); // The answer is whole: it has this event too.
      else take(data.events);
      connection.set(data.state);
    }
  };
  channel.postMessage({ want: last() });
  navigator.locks.request(LOCK, () => {
    leading.set(true);
    return new Promise(() => lead(channel)); // Held until the tab closes.
  });
}

function lead(channel) {
  const state = (now) => {
    connection.set(now);
    channel.postMessage({ events: [], state: now });
  };
  const stream = new EventSource(`/_dev/events?after=${last()}`);
  stream.onopen = () => state("live");
  stream.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    take([event]);
    channel.postMessage({ events: [event], state: "live" });
  };
  stream.onerror = () => {
    stream.close();
    state("lost");
    setTimeout(() => reopen(channel), AGAIN_MS);
  };
}

/** Open the stream again. A restarted server numbers its events from 1 again: then the old events are dropped. */
async function reopen(channel) {
  try {
    const { requests } = await dev("requests?limit=1");
    const newest = requests[0]?.n ?? 0;
    if (newest < events.get().findLast((event) => event.kind === "request")?.n) {
      events.set([]);
      channel.postMessage({ restarted: true });
    }
  } catch {
    // The server does not answer yet. The stream fails too, and calls this function again.
  }
  lead(channel);
}
