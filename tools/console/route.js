// The address of what is shown: `#/page/one`. Each page and each request has a link of its own.
import { store } from "./parts/ui.js";

const PAGES = ["wire", "accounts", "phones", "stories", "mail", "api", "setup"];
/** The pages of the console: those of a stage show what an operator may see. */
export const pages = (mode) => (mode === "stage" ? ["accounts", "metrics"] : PAGES);
export const TITLES = { wire: "Wire", accounts: "Accounts", phones: "Phones", stories: "Stories", mail: "Mail", api: "API", setup: "Setup", metrics: "Metrics", search: "Search" };

const LAST = "baton.console.page";

/** Without an address, the page that was open the last time: at first, the stories. */
export function address() {
  const [page, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  if (!page) return { page: localStorage.getItem(LAST) ?? "stories", one: "", more: "" };
  return TITLES[page] ? { page, one: rest[0] ?? "", more: rest[1] ?? "" } : { page: "stories", one: "", more: "" };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = store(address());
addEventListener("hashchange", () => {
  const now = address();
  if (now.page !== "search") localStorage.setItem(LAST, now.page);
  route.set(now);
});

/** The link to a page, and to one thing on it. */
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;
export const go = (...parts) => {
  location.hash = link(...parts);
};
