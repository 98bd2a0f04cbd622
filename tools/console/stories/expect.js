// Compare facts with an expectation. Pure functions.

/** @returns {{ name: string, expected: unknown, found: unknown, ok: boolean }[]} one row for each expected member */
export const compared = (expect, facts) =>
  Object.entries(expect).map(([name, expected]) => ({ name, expected, found: facts[name], ok: JSON.stringify(expected) === JSON.stringify(facts[name]) }));

const NAMES = {
  result: "the app reports", reason: "reason", phone_generation: "the phone has generation", server_generation: "the server is at generation",
  login: "the login is", repeated: "the token was sent again:", answers: "answers:",
};

export const inWords = ({ name, expected }) =>
  name === "login" && expected !== "live" ? `the login has ended: ${text(expected)}` : `${NAMES[name] ?? name} ${text(expected)}`;
export const text = (value) => (Array.isArray(value) ? value.map((one) => String(one).replaceAll("_", " ")).join(", ") || "none" : value === null ? "none" : String(value).replaceAll("_", " "));
