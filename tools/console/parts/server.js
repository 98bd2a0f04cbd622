// Requests of the console to its own server. Phones do not use this file: they use the client library.

/** What the server refused, or why it did not answer. `remedy` says what to do. */
export class ServerError extends Error {
  constructor(title, message, remedy, status = 0) {
    super(message);
    Object.assign(this, { title, remedy, status });
  }
}

export const GONE = "The development server does not answer.";
const REMEDY = "Start it with: make dev. This page connects again without a reload.";

/** Send a request to `/_dev`, and return the members of the answer. */
export async function dev(path, { method = "GET", json } = {}) {
  const options = json === undefined ? { method } : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(json) };
  if (method !== "GET" && json === undefined) Object.assign(options, { headers: { "content-type": "application/json" }, body: "{}" });
  let answer;
  try {
    answer = await fetch(`/_dev/${path}`, { ...options, cache: "no-store", credentials: "omit" });
  } catch {
    throw new ServerError(GONE, "", REMEDY);
  }
  const text = await answer.text();
  const members = read(text);
  if (answer.ok) return members;
  const told = members?.detail ?? members?.message ?? (text.slice(0, 200) || "There is no explanation.");
  throw new ServerError(`The server answered ${answer.status}.`, told, "Correct the request, or see the terminal of make dev.", answer.status);
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Encode one part of a path. */
export const part = (text) => encodeURIComponent(text);
