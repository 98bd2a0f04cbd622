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

const KEY = "baton.console.key";

/** Take the key of a stage console out of the address, where it would stay in the history. */
export function takeKey() {
  const key = /^#key=([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1];
  if (!key) return;
  sessionStorage.setItem(KEY, key);
  location.replace("#/accounts");
}

function ownFields() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "baton-console-key": key } : {};
}

/** Send a request to `/_dev`, and return the members of the answer. */
export async function dev(path, { method = "GET", json } = {}) {
  const fields = ownFields();
  const options = json === undefined ? { method, headers: fields } : { method, headers: { ...fields, "content-type": "application/json" }, body: JSON.stringify(json) };
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
  throw new ServerError(`The server answered ${answer.status}.`, told, answer.status === 403 ? "Open the console again from its command." : "Correct the request, or see the terminal of the server.", answer.status);
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
