// One request in other forms: a sentence, a curl command, lines beside lines. Pure functions.
import { isLost, route, units } from "./events.js";
import { outcome } from "./words.js";

const OWN = new Set(["host", "connection", "content-length", "accept-encoding", "origin", "referer", "user-agent"]);
const quoted = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;

/** A curl command. Its secrets are masked, and its signature is already used, so it only shows the form of the request. */
export function curl({ method, path, request }, origin) {
  const lines = [`curl -X ${method} ${quoted(origin + path)}`];
  for (const [name, value] of request.headers) {
    if (!OWN.has(name.toLowerCase()) && !name.toLowerCase().startsWith("sec-")) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  if (request.body) lines.push(`--data-raw ${quoted(request.body)}`);
  return lines.join(" \\\n  ");
}

/** The headers that the page can send again. */
export const resent = (headers) =>
  headers.filter(([name]) => !OWN.has(name.toLowerCase()) && !name.toLowerCase().startsWith("sec-"));

/**
 * Two signature bases, line beside line. Lines of secrets have a digest in the server's base; they are not compared.
 * @returns {{ name: string, server: string | null, phone: string | null, differs: boolean }[]}
 */
export function beside(server, phone) {
  const ours = lines(server);
  const theirs = lines(phone);
  const names = [...new Set([...ours.keys(), ...theirs.keys()])];
  return names.map((name) => {
    const [a, b] = [ours.get(name) ?? null, theirs.get(name) ?? null];
    const masked = SECRET.test(name);
    return { name, server: a, phone: b, masked, differs: phone !== null && (masked ? (a === null) !== (b === null) : a !== b) };
  });
}

const SECRET = /^"(authorization|cookie|baton-grant)"/;

function lines(base) {
  const found = new Map();
  for (const line of (base ?? "").split("\n").filter(Boolean)) {
    const cut = line.indexOf(": ");
    found.set(cut < 0 ? line : line.slice(0, cut), cut < 0 ? "" : line.slice(cut + 2));
  }
  return found;
}

/** What happened, in sentences. */
export function told(event) {
  const sentences = [];
  const what = `${event.method} ${route(event.path)}`;
  if (isLost(event)) sentences.push(`${what} had no answer: the fault ${event.fault ?? "of the connection"} closed the connection.`);
  else sentences.push(`${what} was answered with ${event.status}${event.code ? ` ${event.code}` : ""}.`);
  const { exchange } = event;
  if (exchange) sentences.push(exchangeSentence(exchange));
  const cost = units(event.units);
  if (cost) sentences.push(`It used ${cost.replace(/(\d)w/, "$1 write units").replace(/(\d)r/, "$1 read units")}, ${event.units.counted ? "counted by the engine" : "computed from the sizes of the items"}.`);
  return sentences;
}

function exchangeSentence({ generation, attempt, outcome: happened }) {
  if (happened === "exchanged") return `Exchange: generation ${generation} became generation ${generation + 1}. The attempt is ${attempt}.`;
  if (happened === "inactive") return `Exchange: the login had ended before. The attempt is ${attempt}.`;
  const said = outcome(happened);
  return `Exchange of generation ${generation} with attempt ${attempt}: ${said.word}. ${said.why}`;
}

/** Text of a body: JSON is indented. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
