// Events of the server: their order, and which rows the wire log shows. Pure functions.

export const KEPT = 2000;

/** Add new events in the order of their numbers, and keep the newest 2,000. An event with a known number is left out. */
export function merged(events, incoming) {
  const last = events.length ? events[events.length - 1].n : 0;
  const fresh = incoming.filter((event) => event.n > last).sort((a, b) => a.n - b.n);
  const unique = fresh.filter((event, index) => index === 0 || event.n !== fresh[index - 1].n);
  return unique.length ? [...events, ...unique].slice(-KEPT) : events;
}

export const isLost = (event) => event.status === null || event.status === undefined || event.status === 0;
export const isRefusal = (event) => event.kind === "request" && (isLost(event) || event.status >= 400);

/** The path without the prefix of the API. */
export const route = (path) => String(path ?? "").replace(/^\/api(?=\/)/, "").split("?")[0];

/** The rows that a filter leaves, the newest first. */
export const rows = (events, { refusals, onlyRoute, phone }) =>
  events
    .filter((event) => {
      if (event.kind !== "request") return !refusals && !onlyRoute && !phone;
      if (refusals && !isRefusal(event)) return false;
      if (onlyRoute && route(event.path) !== onlyRoute) return false;
      return !phone || event.phone === phone;
    })
    .reverse();

/** The values of a member in all requests, sorted. */
export const values = (events, read) =>
  [...new Set(events.filter((event) => event.kind === "request").map(read).filter(Boolean))].sort();

/** Units as a short text, such as `1w 2r`. Empty without units. */
export function units({ read = 0, write = 0 } = {}) {
  const told = [];
  if (write) told.push(`${tidy(write)}w`);
  if (read) told.push(`${tidy(read)}r`);
  return told.join(" ");
}

export const tidy = (number) => String(Math.round(number * 100) / 100);
