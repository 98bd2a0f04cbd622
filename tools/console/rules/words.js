// Times, names and outcomes in words. Pure functions.

/** Milliseconds since 1970, from seconds, milliseconds or a text. */
export const millis = (at) => (typeof at === "number" ? (at < 1e11 ? at * 1000 : at) : Date.parse(at));

const two = (number) => String(number).padStart(2, "0");

/** `14:02:13`, or with milliseconds. In the time zone of the browser. */
export function clockTime(at, precise = false) {
  const date = new Date(millis(at));
  if (Number.isNaN(date.getTime())) return "";
  const text = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return precise ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

export function dateTime(at) {
  const date = new Date(millis(at));
  if (Number.isNaN(date.getTime())) return "";
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockTime(at)}`;
}

/** `+00:16:00`, or with days: `+31 d 00:16:00`. */
export function span(seconds) {
  const whole = Math.round(Math.abs(seconds));
  const days = Math.floor(whole / 86400);
  const rest = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60].map(two).join(":");
  return `${seconds < 0 ? "-" : "+"}${days ? `${days} d ` : ""}${rest}`;
}

/** `14 min`, `2 h`, `31 d`. */
export function left(seconds) {
  if (seconds <= 0) return "0 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export const short = (id, length = 8) => (String(id ?? "").length > length ? `${String(id).slice(0, length)}…` : String(id ?? ""));

/** What happened when a token was presented again. */
export const OUTCOMES = {
  same_child: { word: "same attempt, same child", tone: "ok", why: "A repetition of the same exchange. Baton gave the same child again." },
  superseded: { word: "superseded", tone: "warn", why: "A late repetition: the child has been exchanged since. The login goes on." },
  reuse: { word: "reuse: login ended", tone: "bad", why: "A used token with another attempt: two parties have it. Baton ended the login." },
  ahead: { word: "not issued", tone: "bad", why: "A generation that the server has not issued." },
  wrong_key: { word: "wrong key", tone: "warn", why: "The signature is by another key. The token alone is worth nothing." },
};

export const outcome = (name) => OUTCOMES[name] ?? { word: String(name), tone: "warn", why: "" };

/** Why a login ended. */
export const REASONS = {
  logout: "the person logged out",
  ended_by_owner: "its owner ended it from another device",
  reuse: "two parties used one token",
  ended_everywhere: "the person logged out everywhere",
  password_changed: "the password was changed",
  replaced: "another login replaced it",
  idle: "it was not used for too long",
  expired: "it reached its absolute limit",
  password_reset: "the password was reset",
  account_disabled: "the account was disabled",
  claimed: "the owner of the mailbox claimed the account",
  undone: "the owner undid a change",
  ended_by_operator: "an operator ended it",
  identity_unlinked: "an identity at a provider was unlinked",
};

export const reason = (name) => REASONS[name] ?? String(name ?? "").replaceAll("_", " ");
