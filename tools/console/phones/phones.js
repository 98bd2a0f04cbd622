// The phones of this page. The browser keeps them, so that they survive a reload, and all tabs show the same ones.
import { store } from "../parts/ui.js";
import { Phone } from "./phone.js";

const LIST = "baton.console.phones";

/** `[{phone, view, told}]`: `told` is the outcome of the last action in words. */
export const phones = store([]);
/** Passwords of accounts that this page made. They are of a development server on this machine. */
export const PASSWORD = "copper lantern drifting sideways";

const save = () => localStorage.setItem(LIST, JSON.stringify(phones.get().map(({ phone }) => phone.data)));

export async function readPhones() {
  const known = new Map(phones.get().map((entry) => [entry.phone.data.id, entry]));
  const kept = JSON.parse(localStorage.getItem(LIST) ?? "[]");
  phones.set(await Promise.all(kept.map(async (data) => {
    const entry = known.get(data.id) ?? { phone: new Phone(data), told: null };
    Object.assign(entry.phone.data, data);
    return { ...entry, view: await entry.phone.view() };
  })));
}

addEventListener("storage", ({ key }) => {
  if (key === LIST || key === null || key.startsWith("baton.console.record.")) void readPhones();
});

function nextName() {
  const numbers = phones.get().map(({ phone }) => Number(/^phone (\d+)$/.exec(phone.name)?.[1] ?? 0));
  return `phone ${Math.max(0, ...numbers) + 1}`;
}

/** A name that no phone has: `thief`, or `thief 2`. */
export function freeName(wanted) {
  const taken = new Set(phones.get().map(({ phone }) => phone.name));
  let name = wanted;
  for (let number = 2; taken.has(name); number++) name = `${wanted} ${number}`;
  return name;
}

/** Add a phone. `text` is the record that it begins with: a clone begins with that of another phone. */
export async function addPhone({ name = nextName(), text = null, ...data } = {}) {
  const phone = new Phone({ id: crypto.randomUUID(), name, ...data });
  if (text !== null) phone.storage.replace(text);
  phones.set([...phones.get(), { phone, view: await phone.view(), told: null }]);
  save();
  return phone;
}

export const clonePhone = (phone, name = nextName()) => addPhone({ name, text: phone.storage.text(), email: phone.data.email, of: phone.name });

export function removePhone(phone) {
  phone.erase();
  phones.set(phones.get().filter((entry) => entry.phone !== phone));
  save();
}

export function removeAll() {
  for (const { phone } of phones.get()) phone.erase();
  phones.set([]);
  save();
}

/** Change what is kept of a phone, such as `offline`. */
export function change(phone, members) {
  Object.assign(phone.data, members);
  save();
  return refresh(phone);
}

/** Read the state of a phone again, and show `told`, the outcome of the last action. */
export async function refresh(phone, told) {
  const view = await phone.view();
  phones.set(phones.get().map((entry) => (entry.phone === phone ? { ...entry, view, told: told ?? entry.told } : entry)));
}

/** An error of the client library in words for the page. */
export function inWords(error) {
  const kinds = {
    offline: "No answer in time. The login is kept, and so is the attempt. Try again.",
    answer_lost: "The answer was lost. The call may have happened.",
    not_logged_in: "No person is logged in on this phone.",
    broken_storage: "The record cannot be read.",
  };
  if (error.kind === "logged_out") return { tone: "bad", text: `Logged out: ${error.reason ?? "unknown reason"}.` };
  if (error.kind === "refused") return { tone: "bad", text: `Refused: ${error.code}.` };
  return { tone: "warn", text: kinds[error.kind] ?? `${error.name}: ${error.message}` };
}
